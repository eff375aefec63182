"""What a follower of a run asks for: where to begin, and for how long; the same over every wire."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from litestar.connection import ASGIConnection

from dockrion_events.bus import Cursor

from ..problems import Problem
from ..service import Service

LONGEST_TIMEOUT: Final = 24 * 3600.0
AnyConnection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


def position(connection: AnyConnection) -> Cursor:
    """Return the cursor behind which the client wants to read on. Raises `Problem`.

    The epoch in ``from_sequence`` is that of the event before: the last one that the client has seen.
    """
    text = connection.query_params.get("from_sequence")
    first = Cursor(0) if text is None else _cursor("from_sequence", text)
    # An EventSource that has seen no id may send an empty header: it has seen nothing.
    seen = connection.headers.get("last-event-id")
    if seen:
        return _cursor("Last-Event-ID", seen)
    return Cursor(max(first - 1, 0), first.epoch)


def _cursor(name: str, text: str) -> Cursor:
    try:
        return Cursor.parse(text)
    except ValueError:
        told = "the sequence of an event, an integer from 0 and below 2^63, or <sequence>.<epoch>"
        raise Problem(400, "INVALID_CURSOR", f"{name}: {told}") from None


def timeout(connection: AnyConnection, service: Service) -> float:
    """Return for how many seconds the client wants to follow. Raises `Problem`."""
    text = connection.query_params.get("timeout")
    if text is None:
        return service.dockfile.streaming.connection.default_timeout
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not 0 < seconds <= LONGEST_TIMEOUT:
        told = f"timeout: seconds, more than 0 and at most {LONGEST_TIMEOUT:g}"
        raise Problem(400, "INVALID_TIMEOUT", told)
    return seconds
