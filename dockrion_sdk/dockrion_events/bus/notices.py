"""The events that no execution emits: a backend's for one reader, and what ends a run from outside."""

from __future__ import annotations

from ..encoding import EventEncoder, encode_json
from ..events import EncodedEvent, ErrorEvent, Event, GapEvent, StartedEvent
from ..forms import envelope
from .base import Ending
from .names import run_id_of

RUN_LOST = "RUN_LOST"
"""The code of the ``error`` event that a follower gets whose run is gone."""


def gap(key: str, requested: int, first_available: int) -> EncodedEvent:
    """Return the event that says which sequences of a run a reader cannot have."""
    run_id = run_id_of(key)
    return _unnumbered(GapEvent(run_id=run_id, requested=requested, first_available=first_available))


def run_lost(key: str) -> EncodedEvent:
    """Return the event that ends the following of a run that is not kept any more."""
    return _unnumbered(ErrorEvent(run_id=run_id_of(key), error="the run is not kept any more", code=RUN_LOST))


def ending(run_id: str, started: StartedEvent, terminal: Event) -> Ending:
    """Return what ends the run that clients know as ``run_id``, from outside of its execution."""
    encoder, tail = EventEncoder(), envelope("run_id", run_id).json
    drafts = [encoder.encode(event) for event in (started, terminal)]
    for draft in drafts:
        draft.json += tail
    return Ending(*drafts)


def completed(ending: Ending, last_sequence: int) -> list[EncodedEvent]:
    """Return the events that end a log which has ``last_sequence`` events so far."""
    drafts = [ending.terminal] if last_sequence else [ending.started, ending.terminal]
    return [
        EncodedEvent(draft.type, b"%b%d}" % (draft.json, sequence), sequence)
        for sequence, draft in enumerate(drafts, last_sequence + 1)
    ]


def _unnumbered(event: Event) -> EncodedEvent:
    return EncodedEvent(event.type, encode_json(event), None)
