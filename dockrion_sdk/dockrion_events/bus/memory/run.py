"""A run in memory, and the readers of its log."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime
from typing import Final, Literal

from ...events import EncodedEvent
from ..base import STATUS_OF_TERMINAL, Claim, RunRecord, RunState, RunStatus, RunSummary
from ..notices import gap, run_lost
from .log import Log
from .space import RUN_BYTES, Owner

GATHER_SECONDS: Final = 0.001
"""Events that follow a wake-up of the followers within this time gather until it is over."""


class Run:
    """What is kept of a run.

    ``claim`` is the newest one while somebody holds it, and ``token`` counts all there were.
    ``lease_until`` is a reading of ``time.monotonic``; None where there is no lease. ``remove_at`` is
    the loop's time at which it has been kept for long enough, once it has ended. ``weight`` is what it
    takes of the memory besides its log.
    """

    __slots__ = (
        "_gathering",
        "_woken_at",
        "attempt",
        "base",
        "claim",
        "created_at",
        "ended_at",
        "gone",
        "key",
        "lease_until",
        "log",
        "losses",
        "of",
        "remove_at",
        "request",
        "started_at",
        "status",
        "terminal",
        "thread",
        "token",
        "waiting",
        "weight",
    )

    def __init__(self, key: str, of: Owner, request: bytes, limit: int, thread: str = "") -> None:
        self.key: str = key
        self.of: Owner = of
        self.request: bytes = request
        self.thread: str = thread
        self.weight: int = RUN_BYTES + len(request)
        self.remove_at: float = 0.0
        self.status: RunStatus = "accepted"
        self.created_at: datetime = datetime.now(UTC)
        self.started_at: datetime | None = None
        self.ended_at: datetime | None = None
        self.attempt: int = 0
        self.losses: int = 0
        self.base: int = 0  # the sequence of the last event before those of the newest claim
        self.token: int = 0
        self.claim: Claim | None = None
        self.lease_until: float | None = None
        self.terminal: EncodedEvent | None = None
        self.gone: Literal["lost", "closed"] | None = None
        self.log: Log = Log(limit, of)
        self.waiting: dict[MemoryFollower, None] = {}  # in the order of their coming
        self._woken_at = float("-inf")
        self._gathering: asyncio.TimerHandle | None = None

    def record(self) -> RunRecord:
        return RunRecord(
            key=self.key,
            owner=self.of.name,
            status=self.status,
            request=self.request,
            thread=self.thread,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            attempt=self.attempt,
            losses=self.losses,
            first_sequence=self.log.first,
            last_sequence=self.log.last,
            terminal=self.terminal,
        )

    def summary(self) -> RunSummary:
        return RunSummary(
            key=self.key,
            owner=self.of.name,
            status=self.status,
            thread=self.thread,
            created_at=self.created_at,
            started_at=self.started_at,
            ended_at=self.ended_at,
            attempt=self.attempt,
            losses=self.losses,
            first_sequence=self.log.first,
            last_sequence=self.log.last,
        )

    def state(self) -> RunState:
        changed_at = self.ended_at or self.started_at or self.created_at
        return RunState(key=self.key, status=self.status, changed_at=changed_at, thread=self.thread)

    def begin(self) -> Claim:
        """Make the next claim; the one before it is superseded."""
        self.revoke("superseded")
        self.token += 1
        self.attempt += 1
        self.base = self.log.last
        self.status = "running"
        if self.started_at is None:
            self.started_at = datetime.now(UTC)
        future: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.claim = Claim(self.record(), self.token, future)
        return self.claim

    def lose(self) -> None:
        """Count the loss of the newest claim's holder, where it had appended something."""
        self.losses += self.log.last > self.base

    def end(self, terminal: EncodedEvent) -> None:
        """Take the state that the terminal event, which is in the log already, leads to."""
        self.terminal = terminal
        self.status = STATUS_OF_TERMINAL[terminal.type]
        self.ended_at = datetime.now(UTC)
        self.lease_until = self.claim = None

    def revoke(self, why: str) -> None:
        """Take the claim away from who holds it."""
        if self.claim is not None:
            self.claim.revoke(why)
            self.claim = None

    def arrived(self) -> None:
        """Let the followers know of new events: at once after a silence, in a burst once a millisecond.

        Waking a follower costs more than appending; with twenty of them, nothing else would be done.
        """
        if self._gathering is not None:
            return
        now = time.monotonic()
        if now - self._woken_at >= GATHER_SECONDS:
            self._woken_at = now
            self.wake()
        else:
            loop = asyncio.get_running_loop()
            self._gathering = loop.call_later(GATHER_SECONDS, self._gathered)

    def _gathered(self) -> None:
        self._gathering = None
        self._woken_at = time.monotonic()
        self.wake()

    def wake(self) -> None:
        """Wake every follower that waits; however many events come until it runs, it is woken once."""
        waiting, self.waiting = self.waiting, {}
        for follower in waiting:
            follower.wake()

    def release(self) -> None:
        """Hand the run back: whoever held the claim may not append any more."""
        self.claim = self.lease_until = None
        self.token += 1
        self.status = "accepted"

    def drop(self, why: Literal["lost", "closed"]) -> None:
        """Let go of everything, even where a follower is kept; it learns it when it reads on."""
        self.gone = why
        self.revoke("lost")
        self.request = b""
        self.terminal = None
        self.log.clear()
        self.wake()


class MemoryFollower:
    """A cursor, and a future while its reader waits; see `dockrion_events.bus.Follower`."""

    __slots__ = ("_arrival", "_nudged", "_position", "_run")

    def __init__(self, run: Run, after: int) -> None:
        self._run: Run | None = run
        self._position = int(after)
        self._nudged = False
        self._arrival: asyncio.Future[None] | None = None

    @property
    def position(self) -> int:
        return self._position

    @property
    def ended(self) -> bool:
        return self._run is None or self._run.gone == "closed"

    async def next_batch(self) -> list[EncodedEvent]:
        while (run := self._run) is not None:
            batch = self._read(run)
            if batch or self._nudged:
                self._nudged = False
                return batch
            if self._run is not None:
                await self._wait(run)
        return []

    def _read(self, run: Run) -> list[EncodedEvent]:
        """Return what there is behind the position, and let go of the run at its end."""
        log, position = run.log, self._position
        if run.gone is not None:
            self._run = None
            return [run_lost(run.key)] if run.gone == "lost" else []
        if position < log.last:
            start = max(position + 1, log.first)
            batch = log.since(start)
            self._position = start + len(batch) - 1
            if position + 1 < start:
                batch.insert(0, gap(run.key, position + 1, start))
            if self._position == log.last and run.terminal is not None:
                self._run = None
            return batch
        if run.terminal is None:
            return []
        self._run = None
        if position == log.last:
            return []
        self._position = log.last
        return [gap(run.key, position + 1, log.last), run.terminal]

    async def _wait(self, run: Run) -> None:
        self._arrival = asyncio.get_running_loop().create_future()
        run.waiting[self] = None
        try:
            await self._arrival
        finally:
            self._arrival = None
            run.waiting.pop(self, None)

    def wake(self) -> None:
        """Let a waiting `next_batch` look again."""
        if self._arrival is not None and not self._arrival.done():
            self._arrival.set_result(None)

    def nudge(self) -> None:
        self._nudged = True
        self.wake()

    def close(self) -> None:
        self._run = None
        self.wake()
