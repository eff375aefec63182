"""What is counted: plain numbers, which cost next to nothing until somebody asks for them.

All of it belongs to the server's event loop: what counts and what reads runs there, so nothing is locked.
Per-event work is done once for each batch that leaves an execution.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from time import monotonic
from typing import Any, Final, Literal, TypeAlias

from dockrion_events import EVENT_CLASSES, EncodedEvent
from dockrion_events.forms import MANY, Envelope, Form, as_encoded, stretches

from ..model_failures import MODEL_CODES
from ..stream import EndStatus

Kind: TypeAlias = Literal["invoke", "stream", "run"]

KINDS: Final[tuple[Kind, ...]] = ("invoke", "stream", "run")

CUSTOM: Final = "custom"
"""The one label for all events of the agent's own: their names are the agent's, and without end."""

CODES: Final = frozenset(
    {
        "AGENT_ERROR", "EXECUTOR_LOST", "INTERNAL_ERROR", "LOG_LOST", "LOG_UNAVAILABLE", "NOT_SERIALISABLE",
        "OUTPUT_INVALID", "OUTPUT_TOO_LARGE", "OVERLOADED", "RUN_TIMEOUT", *MODEL_CODES,
    }
)  # fmt: skip
"""Codes of failures that are ours; an adapter may have others, which count as `OTHER`."""

OTHER: Final = "OTHER"

DURATIONS: Final = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 900, 3600)
WAITS: Final = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
EXACT: Final = 16
"""Events of a stream up to which each gap between tokens is timed. Of later tokens that come by themselves
one gap in eight is, and counts for eight: timing all of them costs more than the rest of the counting."""

ROUND_TRIPS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


class Buckets:
    """A histogram: how many values were at most each of ``bounds``, and their sum. In seconds."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float, times: int = 1) -> None:
        """Count a value, so many times."""
        self.counts[bisect_left(self.bounds, value)] += times
        self.sum += value * times


SHORTENING: Final = ("a2a_page_bytes", "a2a_tasks", "max_event_bytes")
"""The limits that shorten an answer, rather than refuse it."""


class Meter:
    """The numbers of one app."""

    def __init__(self) -> None:
        names = [name for name in EVENT_CLASSES if name not in ("gap", "heartbeat")]
        self.events: dict[str, list[int]] = {name: [0, 0] for name in (*names, CUSTOM)}
        """How many events of each type left executions, and the bytes of their JSON."""
        self.first_event = Buckets(WAITS)
        self.between_tokens = Buckets(WAITS)
        self.active: Counter[Kind] = Counter()
        self.ended: Counter[tuple[Kind, EndStatus]] = Counter()
        self.durations: dict[Kind, Buckets] = {kind: Buckets(DURATIONS) for kind in KINDS}
        self.failures: Counter[str] = Counter()
        self.problems: Counter[str] = Counter()  # by HTTP status
        self.shortened: Counter[str] = Counter(dict.fromkeys(SHORTENING, 0))
        self.gaps = 0
        self.runs_accepted = 0
        self.runs_cancelled = 0
        self.runs_refused: Counter[str] = Counter()  # by the code of the answer
        self.appends = Buckets(ROUND_TRIPS)
        self.loop_lag = Buckets(WAITS)
        self.renewals = 0
        self.store_failures = 0

    def watch(self, kind: Kind) -> Watch:
        """Return what counts an execution that begins now."""
        return Watch(self, kind)

    def count_gap(self, events: list[EncodedEvent]) -> None:
        """Count a batch for a reader of a run that begins with a gap, which alone has no sequence."""
        if events and events[0].sequence is None:
            self.gaps += 1

    def not_executed(self, code: str) -> None:
        """Count a run that failed before it could be executed."""
        self.ended["run", "failed"] += 1
        self.failed(code)

    def failed(self, code: str | None) -> None:
        """Count a failure by its code."""
        self.failures[code if code in CODES else OTHER] += 1


class Watch:
    """Counts one execution; a `Watcher`."""

    __slots__ = ("_began", "_events", "_form", "_gaps", "_kind", "_meter", "_seen", "_told")

    def __init__(self, meter: Meter, kind: Kind) -> None:
        self._meter = meter
        self._events = meter.events
        self._gaps = meter.between_tokens
        self._kind: Kind = kind
        self._form: Form = as_encoded
        self._began = monotonic()
        self._seen = 0
        self._told = 0.0  # when the last token left
        meter.active[kind] += 1

    def watching(self, form: Form) -> Form:
        self._form = form
        return self._leave

    def enter(self) -> None:
        """Nothing is to be done in the execution's own context."""

    def end(self, status: EndStatus, code: str | None = None) -> None:
        meter, kind = self._meter, self._kind
        meter.active[kind] -= 1
        meter.ended[kind, status] += 1
        meter.durations[kind].add(monotonic() - self._began)
        if status == "failed":
            meter.failed(code)

    def _leave(self, events: list[EncodedEvent], envelope: Envelope, sequence: int) -> list[Any]:
        totals = self._events
        count = len(events)
        if count == 1:  # on its own, and every nanosecond counts
            (event,) = events
            kind = event.type
            total = totals[kind if kind in totals else CUSTOM]
            total[0] += 1
            total[1] += len(event.json)
            seen = self._seen
            if seen < EXACT:
                self._time(1, kind == "token")
            else:
                self._seen = seen = seen + 1
                if seen & 7 == 6:
                    self._told = monotonic() if kind == "token" else 0.0
                elif seen & 7 == 7 and kind == "token" and self._told:
                    self._gaps.add(monotonic() - self._told, 8)
                    self._told = 0.0
            return self._form(events, envelope, sequence)
        tokens = self._count_few(events) if count < MANY else self._count_many(events)
        if tokens or self._seen < 2:
            self._time(count, tokens)
        return self._form(events, envelope, sequence)

    def _count_few(self, events: list[EncodedEvent]) -> int:
        """Count events one by one; return how many are tokens."""
        totals = self._events
        tokens = 0
        for event in events:
            kind = event.type
            total = totals[kind if kind in totals else CUSTOM]
            total[0] += 1
            total[1] += len(event.json)
            tokens += kind == "token"
        return tokens

    def _count_many(self, events: list[EncodedEvent]) -> int:
        """Count events by stretches of one type; return how many are tokens."""
        totals = self._events
        kinds = [event.type for event in events]
        found = stretches(kinds)
        if not found:
            return self._count_few(events)
        at = 0
        for kind, times in found:
            total = totals[kind if kind in totals else CUSTOM]
            total[0] += times
            total[1] += sum([len(event.json) for event in events[at : at + times]])
            at += times
        return kinds.count("token")

    def _time(self, count: int, tokens: int) -> None:
        """Take the time of a batch. Tokens that leave together share the time since those before them."""
        now = monotonic()
        seen = self._seen
        self._seen = seen + count
        if seen < 2 <= self._seen:
            self._meter.first_event.add(now - self._began)
        if tokens:
            gaps = tokens if self._told else tokens - 1
            if gaps:
                self._gaps.add((now - (self._told or now)) / gaps, gaps)
            self._told = now
