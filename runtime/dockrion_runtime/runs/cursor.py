"""What a follower of a run asks for: where to begin, and for how long; the same over every wire."""

from __future__ import annotations

import math
from typing import Any, Final, TypeAlias

from litestar.connection import ASGIConnection

from ..problems import Problem
from ..service import Service

LONGEST_TIMEOUT: Final = 24 * 3600.0
_END_OF_CURSORS: Final = 2**63

AnyConnection: TypeAlias = ASGIConnection[Any, Any, Any, Any]


def position(connection: AnyConnection) -> int:
    """Return the sequence behind which the client wants to read on. Raises `Problem`."""
    text = connection.query_params.get("from_sequence")
    after = 0 if text is None else max(_unsigned("from_sequence", text) - 1, 0)
    # An EventSource that has seen no id may send an empty header: it has seen nothing.
    seen = connection.headers.get("last-event-id")
    return _unsigned("Last-Event-ID", seen) if seen else after


def _unsigned(name: str, text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) < 20 and int(text) < _END_OF_CURSORS:
        return int(text)
    raise Problem(400, "INVALID_CURSOR", f"{name}: an unsigned integer below 2^63, the sequence of an event")


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
