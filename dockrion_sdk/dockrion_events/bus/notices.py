"""The events that a backend makes by itself: for one reader, or to end a run from outside."""

from __future__ import annotations

from ..encoding import encode_json
from ..events import EncodedEvent, ErrorEvent, Event, GapEvent
from .base import Ending

RUN_LOST = "RUN_LOST"
"""The code of the ``error`` event that a follower gets whose run is gone."""


def gap(requested: int, first_available: int) -> EncodedEvent:
    """Return the event that says which sequences a reader cannot have."""
    return _unnumbered(GapEvent(requested=requested, first_available=first_available))


def run_lost() -> EncodedEvent:
    """Return the event that ends the following of a run that is not kept any more."""
    return _unnumbered(ErrorEvent(error="the run is not kept any more", code=RUN_LOST))


def completed(ending: Ending, last_sequence: int) -> list[EncodedEvent]:
    """Return the events that end a log which has ``last_sequence`` events so far."""
    drafts = [ending.terminal] if last_sequence else [ending.started, ending.terminal]
    return [
        EncodedEvent(draft.type, b"%b%d}" % (draft.json, sequence), sequence)
        for sequence, draft in enumerate(drafts, last_sequence + 1)
    ]


def _unnumbered(event: Event) -> EncodedEvent:
    return EncodedEvent(event.type, encode_json(event), None)
