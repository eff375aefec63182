"""Which request, run and trace the running code belongs to; what the lines of the log are told apart by."""

from __future__ import annotations

from collections.abc import Mapping
from contextvars import ContextVar
from typing import Final

_NONE: Final[Mapping[str, str]] = {}

_ids: ContextVar[Mapping[str, str]] = ContextVar("dockrion_ids", default=_NONE)


def correlate(**ids: str) -> None:
    """Add ids (``request_id``, ``run_id``, ``trace_id``) to those of this context.

    The agent runs in a copy of it, so its own lines have them too, also in threads that copy the context.
    """
    _ids.set({**_ids.get(), **ids})


def current_ids() -> Mapping[str, str]:
    """Return the ids of this context, by name."""
    return _ids.get()
