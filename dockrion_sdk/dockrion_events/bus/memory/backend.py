"""The event backend that keeps runs in this process."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import islice

from ...errors import BackendUnavailable, BusError, LogLost, RunEnded, RunExists, RunNotFound, Superseded
from ...events import TERMINAL, EncodedEvent
from ..base import (
    Claim,
    Ending,
    EventBackend,
    Follower,
    RunRecord,
    RunState,
    RunSummary,
    StoreUsage,
    check_batch,
    check_limits,
    newest_first,
)
from ..notices import completed
from .run import MemoryFollower, Run
from .space import Space


class MemoryBackend(EventBackend):
    """Runs in dicts and lists; a method never waits between looking and changing, so each is one step.

    ``max_events_per_run`` events of a log are kept at least, and up to 512 more.
    ``stream_ttl_seconds`` after its end a run is gone. ``max_bytes`` bounds requests, logs and records
    together, by an estimate of what they take as Python objects.
    """

    name = "memory"
    durable = False

    def __init__(
        self,
        *,
        max_events_per_run: int = 10_000,
        stream_ttl_seconds: float = 3600,
        max_bytes: int = 512 * 1024 * 1024,
        max_waiting: int = 10_000,
        owner_share: float = 1.0,
    ) -> None:
        if max_events_per_run < 1:
            raise ValueError(f"max_events_per_run is {max_events_per_run}; it has to be 1 or more")
        if not stream_ttl_seconds >= 0:
            raise ValueError(f"stream_ttl_seconds is {stream_ttl_seconds}; it has to be 0 or more")
        check_limits(max_waiting=max_waiting, owner_share=owner_share)
        if max_bytes < 1:
            raise ValueError(f"max_bytes is {max_bytes}; it has to be 1 or more")
        self._space = Space(max_bytes=max_bytes, max_waiting=max_waiting, owner_share=owner_share)
        self._runs = self._space.runs
        self._limit = max_events_per_run
        self._ttl = stream_ttl_seconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False
        self._leased: dict[str, Run] = {}
        self._first_expiry = math.inf  # no lease expires before
        self._claimers: set[asyncio.Future[None]] = set()
        self._remover: asyncio.TimerHandle | None = None

    async def open(self) -> list[str]:
        if self._closed:
            raise BackendUnavailable("the memory backend is closed")
        self._loop = asyncio.get_running_loop()
        return []

    async def close(self) -> None:
        self._closed = True
        if self._remover is not None:
            self._remover.cancel()
            self._remover = None
        self._space.clear()
        self._leased.clear()
        self._wake_claimers()

    async def ping(self) -> None:
        self._opened()

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._closed or self._loop is None:
            raise BackendUnavailable(f"the memory backend is {'closed' if self._closed else 'not open'}")
        return self._loop

    def _run(self, key: str) -> Run:
        run = self._runs.get(key)
        if run is None:
            self._opened()
            raise RunNotFound(f"there is no run {key!r}")
        return run

    # -- runs ----------------------------------------------------------------------------------

    async def create_run(
        self, key: str, *, owner: str, request: bytes, thread: str = ""
    ) -> tuple[RunRecord, bool]:
        run = self._runs.get(key)
        if run is not None:
            return run.record(), False
        self._opened()
        self._space.admit_waiting(owner)
        run = self._new_run(key, owner, request, thread)
        self._accept(run)
        return run.record(), True

    async def open_run(self, key: str, *, owner: str, request: bytes) -> Claim:
        if key in self._runs:
            raise RunExists(f"there is a run {key!r} already")
        self._opened()
        return self._new_run(key, owner, request).begin()

    def _new_run(self, key: str, owner: str, request: bytes, thread: str = "") -> Run:
        space = self._space
        run = Run(key, space.owner(owner), request, self._limit, thread)
        space.admit(run.of, run.weight)
        space.add(run)
        return run

    def _accept(self, run: Run) -> None:
        self._space.wait(run)
        self._wake_claimers()

    async def get_run(self, key: str) -> RunRecord:
        return self._run(key).record()

    async def list_runs(
        self, owner: str, *, limit: int, before: RunSummary | None = None
    ) -> list[RunSummary]:
        behind = None if before is None else (before.created_at, before.key)
        return [run.summary() for run in islice(self._newest_first(owner, behind), limit)]

    async def run_states(self, owner: str, *, limit: int = 10_000) -> list[RunState]:
        return newest_first([run.state() for run in islice(self._newest_first(owner), limit)])

    def _newest_first(self, owner: str, before: tuple[datetime, str] | None = None) -> Iterator[Run]:
        self._opened()
        known = self._space.owners.get(owner)
        return (self._runs[key] for key in known.index.newest_first(before)) if known else iter(())

    def usage(self) -> StoreUsage:
        """Return how much memory is used, of how much, and how many runs were removed to make room."""
        space = self._space
        return StoreUsage(bytes=space.bytes, max_bytes=space.max_bytes, evicted=space.evicted)

    async def end_run(self, key: str, ending: Ending) -> RunRecord:
        run = self._run(key)
        if run.terminal is None:
            run.revoke("cancelled")
            events = completed(ending, run.log.last)
            run.log.append(events)
            run.wake()
            self._end(run, events[-1])
        return run.record()

    def _end(self, run: Run, terminal: EncodedEvent) -> None:
        run.end(terminal)
        run.log.weigh()
        run.of.fits()  # or others go
        self._space.end(run)
        self._leased.pop(run.key, None)
        loop = self._opened()
        if run.log.last > 2:  # the last one stays an object, and one before it gains nothing
            # Behind the followers that were waiting: they take the last events as they are.
            loop.call_soon(run.log.compact)
        run.remove_at = loop.time() + self._ttl
        if self._remover is None:
            self._remove_later(loop)

    def _remove_later(self, loop: asyncio.AbstractEventLoop) -> None:
        earliest = next(iter(self._space.ended.values()), None)
        self._remover = None if earliest is None else loop.call_at(earliest.remove_at, self._remove, loop)

    def _remove(self, loop: asyncio.AbstractEventLoop) -> None:
        """Remove the runs whose time is over; the timer is that of the earliest, or of one that is gone."""
        now, ended = loop.time(), self._space.ended
        while (run := next(iter(ended.values()), None)) is not None and run.remove_at <= now:
            self._space.remove(run)
        self._remove_later(loop)

    # -- executing -----------------------------------------------------------------------------

    async def claim(
        self, executor: str, *, accepted: int, expired: int, lease_seconds: float, timeout: float
    ) -> list[Claim]:
        deadline = time.monotonic() + timeout
        while True:
            self._opened()
            runs = self._take_expired(expired)
            for run in runs:
                run.lose()
            waiting = self._space.waiting
            while waiting and accepted > 0:
                accepted -= 1
                run = next(iter(waiting.values()))
                self._space.leave(run)
                runs.append(run)
            for run in runs:
                self._lease(run, lease_seconds)
            now = time.monotonic()
            if runs or now >= deadline:
                return [run.begin() for run in runs]
            await self._wait(min(deadline, self._first_expiry if expired > 0 else math.inf) - now)

    async def count_accepted(self) -> int:
        self._opened()
        return len(self._space.waiting)

    def _take_expired(self, limit: int) -> list[Run]:
        now = time.monotonic()
        if limit <= 0 or now < self._first_expiry:
            return []
        expired = [run for run in self._leased.values() if _expiry(run) <= now]
        expired.sort(key=_expiry)
        self._first_expiry = min(map(_expiry, self._leased.values()), default=math.inf)
        return expired[:limit]

    def _lease(self, run: Run, seconds: float) -> None:
        run.lease_until = time.monotonic() + seconds
        self._leased[run.key] = run
        if run.lease_until < self._first_expiry:
            self._first_expiry = run.lease_until
            self._wake_claimers()  # they wait for the first expiry

    async def _wait(self, seconds: float) -> None:
        """Wait until something may be there to claim, or the time is over."""
        loop = self._opened()
        arrival: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(seconds, _set, arrival)
        self._claimers.add(arrival)
        try:
            await arrival
        finally:
            timer.cancel()
            self._claimers.discard(arrival)

    def _wake_claimers(self) -> None:
        for arrival in self._claimers:
            _set(arrival)

    async def renew(self, claims: Sequence[Claim], *, lease_seconds: float) -> None:
        self._opened()
        for claim in claims:
            run = self._runs.get(claim.record.key)
            if run is None:
                claim.revoke("lost")
            elif run.token != claim.token:
                claim.revoke("superseded")
            elif run.lease_until is not None:
                self._lease(run, lease_seconds)

    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        if not events:
            return
        run = self._runs.get(claim.record.key)
        if run is None:
            claim.revoke("lost")
            run = self._run(claim.record.key)
        if len(events) > 1:
            check_batch(events)
        if run.claim is not claim or events[0].sequence != run.log.last + 1:
            events = _not_appended(run, claim, events)
            if not events:
                return
        run.log.append(events)
        if events[-1].type in TERMINAL:
            run.wake()
            self._end(run, events[-1])
        elif run.waiting:
            run.arrived()

    async def release(self, claim: Claim) -> None:
        run = self._runs.get(claim.record.key)
        self._opened()
        if run is None or run.terminal is not None or run.token != claim.token:
            return
        self._leased.pop(run.key, None)
        run.release()
        self._accept(run)

    # -- reading -------------------------------------------------------------------------------

    async def follow(self, key: str, *, after: int) -> Follower:
        return MemoryFollower(self._run(key), after)


def _expiry(run: Run) -> float:
    return math.inf if run.lease_until is None else run.lease_until


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def _not_appended(run: Run, claim: Claim, events: Sequence[EncodedEvent]) -> Sequence[EncodedEvent]:
    """Return those events that the log lacks; the ones before them are in it, byte for byte.

    Raises where the claim may not append, or where the events do not fit to the log's.
    """
    if not events[0].sequence:
        raise ValueError("an event has no sequence yet; only complete ones can be appended")
    if claim.token != run.token:
        claim.revoke("superseded")
        raise _refusal(run, Superseded(f"somebody else executes the run {run.key!r}"))
    ahead = events[0].sequence - run.log.last - 1
    if ahead > 0:
        raise _refusal(run, LogLost(f"{ahead} events are missing in the log of the run {run.key!r}"))
    known, rest = events[:-ahead], events[-ahead:]
    if known and not run.log.holds(known):
        raise _refusal(run, Superseded(f"the log of the run {run.key!r} has other events there"))
    if rest and run.terminal is not None:
        raise _refusal(run, Superseded())
    return rest


def _refusal(run: Run, error: BusError) -> BusError:
    """Return the error for a run that goes on, or the one for a run that has ended."""
    if run.terminal is None:
        return error
    return RunEnded(f"the run {run.key!r} has ended already, as {run.status}")
