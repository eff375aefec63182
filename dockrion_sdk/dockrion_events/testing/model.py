"""What a run has to be by what was done to it: the model beside which `machine` drives a backend."""

from __future__ import annotations

from ..bus.base import ENDED, STATUS_OF_TERMINAL, Claim, Follower, RunStatus
from ..events import TERMINAL, EncodedEvent, RestartedEvent
from .backend.support import complete, encoded, opening, tokens


class ModelRun:
    """What has to be true of a run: its status, its whole log, and who may append."""

    def __init__(self, key: str) -> None:
        self.key: str = key
        self.status: RunStatus = "accepted"
        self.log: list[EncodedEvent] = []
        self.holder: Claim | None = None
        self.leased: bool = False
        self.attempt: int = 0
        self.handed_back: bool = False
        self.epochs: dict[int, str] = {}

    def seen(self, events: list[EncodedEvent], epoch: str) -> None:
        """Note the epoch that a reader was given with these events; it has to be the same for all readers."""
        for event in events:
            known = self.epochs.setdefault(event.sequence or 0, epoch)
            assert known == epoch, f"the epoch of event {event.sequence} is {epoch!r}, and was {known!r}"

    @property
    def ended(self) -> bool:
        return self.status in ENDED

    def claimed(self, claim: Claim, *, leased: bool = True) -> None:
        assert self.holder is None or claim.token > self.holder.token
        self.holder, self.leased, self.status = claim, leased, "running"
        self.attempt += 1
        assert (claim.record.attempt, claim.record.status) == (self.attempt, "running")
        assert claim.record.last_sequence == len(self.log)

    def following(self, count: int, *, end: bool) -> list[EncodedEvent]:
        """Return events that may be appended."""
        last = len(self.log)
        if last == 0:
            events = opening(self.key, count)
        elif self.log[-1].type != "restarted" and self.attempt > 1 and count == 1:
            events = encoded(self.key, [RestartedEvent(self.attempt)], after=last)
        else:
            events = tokens(self.key, count, after=last, text=f"attempt {self.attempt}, word")
        return [*events, complete(self.key, after=last + len(events))] if end else events

    def appended(self, events: list[EncodedEvent]) -> None:
        self.log += events
        if self.log[-1].type in TERMINAL:
            self.status = STATUS_OF_TERMINAL[self.log[-1].type]


class Writer:
    """A claim, and the place in the log that its events begin at."""

    def __init__(self, run: ModelRun, claim: Claim) -> None:
        self.run: ModelRun = run
        self.claim: Claim = claim
        self.begin: int = len(run.log)

    @property
    def may_append(self) -> bool:
        return self.run.holder is self.claim and self.run.status == "running"


class Reader:
    """A follower, and whose log it follows."""

    def __init__(self, run: ModelRun, follower: Follower) -> None:
        self.run: ModelRun = run
        self.follower: Follower = follower
