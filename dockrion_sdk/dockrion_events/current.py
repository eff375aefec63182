"""Which execution the running code belongs to: one context variable, and the ways to set it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .context import StreamContext

_current: ContextVar[StreamContext | None] = ContextVar("dockrion_context", default=None)


def get_current_context() -> StreamContext | None:
    """Return the context of the execution this code runs in, or None outside of any."""
    return _current.get()


def set_current_context(context: StreamContext | None) -> Token[StreamContext | None]:
    """Make ``context`` the current one here; the token undoes it (``token.var.reset(token)``)."""
    return _current.set(context)


@contextmanager
def context_scope(context: StreamContext | None) -> Iterator[StreamContext | None]:
    """Make ``context`` the current one within the block."""
    token = _current.set(context)
    try:
        yield context
    finally:
        _current.reset(token)
