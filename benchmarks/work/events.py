"""Events as a run's executor writes them: complete, encoded, numbered from 1."""

from __future__ import annotations

import time

from dockrion_events import EncodedEvent

AT = "2026-01-01T00:00:00.000Z"
RUN_ID = "4be0643f-1d98-573b-97cd-ca98a65347dd"


def event(sequence: int, kind: str = "token", content: str = "lorem ") -> EncodedEvent:
    json = b'{"type":"%b","content":"%b","timestamp":"%b","run_id":"%b","sequence":%d}' % (
        kind.encode(), content.encode(), AT.encode(), RUN_ID.encode(), sequence,
    )  # fmt: skip
    return EncodedEvent(kind, json, sequence)


def timed(sequence: int) -> EncodedEvent:
    """Return a token whose text is the moment of its making, in nanoseconds."""
    return event(sequence, content=str(time.monotonic_ns()))


def batches(events: int, size: int) -> list[list[EncodedEvent]]:
    """Return so many tokens in batches of ``size``; the last event is a ``complete``."""
    made = [event(number) for number in range(1, events)]
    made.append(event(events, "complete"))
    return [made[start : start + size] for start in range(0, events, size)]
