"""The time of an event."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Final

RESOLUTION: Final = 0.001
"""Seconds within which events may share a timestamp."""

_last_reading = 0.0
_last_timestamp = datetime.fromtimestamp(0, UTC)


def timestamp_now() -> datetime:
    """Return the current time in UTC, to the millisecond.

    Events of one burst share the object: building a ``datetime`` costs more than the rest of a token.
    """
    global _last_reading, _last_timestamp
    reading = time.time()
    if not 0.0 <= reading - _last_reading < RESOLUTION:
        _last_timestamp = datetime.fromtimestamp(reading, UTC)
        _last_reading = reading
    return _last_timestamp
