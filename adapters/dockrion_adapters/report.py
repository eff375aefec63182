"""How an adapter passes on what a framework tells it: where nobody can be blamed, something is sent."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final

import msgspec

from dockrion_events import (
    AnyEvent,
    Event,
    EventError,
    Exit,
    ReasoningEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
)


def reporter(exit_: Exit | None) -> Callable[[AnyEvent], None]:
    """Return what puts events into the exit; without one there must be none.

    The framework made the event where nobody could be told that it cannot be sent: too large a text
    leaves in pieces, and in place of a value that cannot be encoded its type is named.
    """
    return partial(_push, exit_)


def _push(exit_: Exit | None, event: AnyEvent) -> None:
    assert exit_ is not None  # without one, the filter lets nothing through
    try:
        exit_.push(event)
    except EventError:
        pieces = halves(event)
        if pieces:
            for piece in pieces:
                _push(exit_, piece)
        elif isinstance(event, Event):
            _push_stand_in(exit_, event)


def _push_stand_in(exit_: Exit, event: Event) -> None:
    """Push an event without the first of its values or, where that is not enough, without two of them."""
    for _ in range(2):
        event = stand_in(event)
        with suppress(EventError):
            exit_.push(event)
            return


_TEXTS: Final = ((TokenEvent, "content"), (ReasoningEvent, "content"), (ToolCallEvent, "arguments_delta"))
_NOT_SENT: Final = "<not serialisable>"
_VALUES: Final = (
    (Event, "data"),
    (ToolCallEvent, "arguments"),
    (ToolResultEvent, "artifact"),
    (ToolResultEvent, "content"),
    (UsageEvent, "details"),
)


def halves(event: AnyEvent) -> list[Event]:
    """Return the two halves of an event that is a piece of a text; nothing for any other."""
    for kind, field in _TEXTS:
        if isinstance(event, kind):
            text = getattr(event, field)
            middle = len(text or "") // 2
            if not middle:
                return []
            first = {field: text[:middle], **({"finish_reason": None} if kind is TokenEvent else {})}
            return [
                msgspec.structs.replace(event, **first),
                msgspec.structs.replace(event, **{field: text[middle:]}),
            ]
    return []


def stand_in(event: Event) -> Event:
    """Return an event in place of one that cannot be encoded: what it is, without what it carries."""
    for kind, field in _VALUES:
        value = getattr(event, field, None) if isinstance(event, kind) else None
        if value is not None and not (isinstance(value, dict) and value.get("repr") == _NOT_SENT):
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            described = {"type": name, "repr": _NOT_SENT}
            return msgspec.structs.replace(event, **{field: described})
    bulky = {name: None for name in ("input_keys", "output_keys") if hasattr(event, name)}
    return msgspec.structs.replace(event, **bulky)
