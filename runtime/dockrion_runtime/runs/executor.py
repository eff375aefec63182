"""The executor: claims accepted runs, executes them, and writes their events to the log."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

from dockrion_adapters import abandoned_threads
from dockrion_adapters.threads import MAX_THREADS
from dockrion_events import (
    BackendUnavailable,
    CancelledEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    LogLost,
    RunEnded,
    RunNotFound,
    StartedEvent,
    Superseded,
)
from dockrion_events.bus import Claim, EventBackend, RunRecord, ending
from dockrion_events.bus.names import run_id_of

from ..observability.meter import Meter
from ..stream import CLOSE_PATIENCE, EndStatus, Execution
from .fate import Fate

log = logging.getLogger("dockrion")

CLAIM_SECONDS: Final = 0.5
"""How long one look for accepted runs waits for the first; an executor ends within it."""

GATHER_EACH: Final = 0.0005
GATHER_RUNS: Final = 0.002
"""How long runs that are accepted behind others gather, to be claimed together: half a millisecond for
each that was claimed before them, and never longer than this. The first of them begins at once."""

SWEEP_SECONDS: Final = 2.0
"""How often runs are looked for whose executor is gone."""

AT_ONCE: Final = 32
"""Lost runs that one sweep takes."""

GATHER_SECONDS: Final = 0.001
"""How long a run's first events gather, so that a short run is one write to the log."""

LAST_SECONDS: Final = 0.3
"""Seconds that runs which do not end in time get to write their last event, or to be stopped."""

RETRY_SECONDS: Final = 1.0
"""The pause, at most, before a store that did not answer is asked again."""

ABANDONED_SECONDS: Final = 0.5
"""How often it is looked whether worker threads that take the places are free again."""

LOG_PATIENCE: Final = 10.0
"""How long a run waits for a log that cannot be written before it fails."""


class Host(Protocol):
    """What an executor needs of the server around it."""

    async def start_run(self, record: RunRecord, *, resume: bool) -> Execution[EncodedEvent]:
        """Return the execution of a claimed run. Raises what its request or agent makes impossible."""

    def started_event(self) -> StartedEvent:
        """Return the first event of a run that ends before it could begin."""


class Executor:
    """Executes up to ``max_concurrent`` runs at once, each by one claim.

    Events are written as they come: while one write is under way, what the agent emits meanwhile
    gathers for the next. A log that cannot be written holds the agent up, by the queue's back-pressure.
    After `LOG_PATIENCE` the agent is stopped, and the run ends in an error as soon as it can be written.

    ``on_lost`` says what becomes of runs whose executor is gone: ``fail``, ``restart`` or ``resume``. One
    that was lost more than once is executed alone (see `Fate.alone`): meanwhile nothing is claimed, and what
    was begun before ends first.

    A worker thread that is held by cancelled code takes one of the places. Where all threads are, a run that
    was claimed is handed back.
    """

    def __init__(
        self,
        backend: EventBackend,
        host: Host,
        *,
        max_concurrent: int,
        lease_seconds: float,
        on_lost: str,
        threads: int = MAX_THREADS,
        meter: Meter | None = None,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._backend = backend
        self._host = host
        self._max_concurrent = max_concurrent
        self._threads = threads
        self._lease_seconds = lease_seconds
        self._fate = Fate(on_lost, durable=backend.durable)
        self._meter = meter or Meter()
        self._alone: set[asyncio.Task[Any]] = set()
        """The tasks of runs that are to be executed alone, while they wait for that and while they are."""
        self._one_alone = asyncio.Lock()
        self._parted = asyncio.Event()
        self._renewed_at = 0.0
        self._running: dict[asyncio.Task[None], Claim] = {}
        self._executions: dict[Claim, Execution[EncodedEvent]] = {}
        self._loops: list[asyncio.Task[None]] = []
        self._changed = asyncio.Event()
        self._stopping = False
        self._parting = False
        self._claiming = asyncio.Lock()

    @property
    def active(self) -> int:
        """How many runs are being executed."""
        return len(self._running)

    def claims(self) -> list[Claim]:
        """Return the claims on the runs that are being executed; may be called from any thread."""
        return list(self._running.values())

    def start(self) -> None:
        """Begin to claim and execute."""
        for loop in (self._accept, self._renew, self._sweep):
            self._loops.append(asyncio.create_task(self._for_ever(loop)))

    async def stop(self, grace: float) -> None:
        """Claim no more, let what runs end within ``grace`` seconds, and then part with the rest.

        What becomes of the rest is what would become of it if this process were killed, but at once;
        where the store ends with the process it is cancelled.
        """
        self._stopping = True
        self._changed.set()
        # A claim that is under way is not cancelled, or its run would be left behind; and it has ended
        # before runs are handed back, or it would be given one of them.
        await asyncio.gather(self._idle_within(grace), self._claim_under_way())
        if self._running:
            log.info("%d runs did not end in time; they are %s", len(self._running), self._fate)
            self._parting = True
            self._parted.set()
            for execution in list(self._executions.values()):
                self._part_with(execution)
            await self._idle_within(2 * LAST_SECONDS)  # to be stopped, and then to be handed back
        if not self._backend.durable:
            with suppress(BackendUnavailable):
                await self._cancel_accepted()
        rest = [*self._loops, *self._running]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=LAST_SECONDS)

    async def _claim_under_way(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(2 * CLAIM_SECONDS), self._claiming:
                pass

    # -- the three loops -----------------------------------------------------------------------

    async def _for_ever(self, step: Callable[[], Any]) -> None:
        """Repeat ``step``; a store that does not answer is no reason to end."""
        failing = False
        while True:
            try:
                await step()
            except BackendUnavailable as error:
                self._meter.store_failures += 1
                if not failing:
                    log.warning("executor: %s", error)
            except Exception:
                if not failing:  # the leases of what is executed depend on these loops
                    log.exception("executor: the store fails")
            else:
                if failing:
                    log.info("executor: the store answers again")
                failing = False
                continue
            failing = True
            await asyncio.sleep(min(RETRY_SECONDS, self._lease_seconds / 6))

    async def _accept(self) -> None:
        if self._stopping or self._free <= 0:
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(ABANDONED_SECONDS if abandoned_threads() else None):
                    await self._changed.wait()
            return
        claimed = await self._claim(lost=False)
        if claimed:
            await asyncio.sleep(min(GATHER_EACH * claimed, GATHER_RUNS))

    async def _sweep(self) -> None:
        await asyncio.sleep(SWEEP_SECONDS)
        await self._claim(lost=True)

    async def _claim(self, *, lost: bool) -> int:
        """Claim and begin runs: those that were accepted, or those whose executor is gone.

        Returns how many there were.
        """
        async with self._claiming:
            wanted = self._free  # looked at only now: while this waited, others were begun
            if lost:
                wanted = AT_ONCE if self._fate.on_lost == "fail" else min(wanted, AT_ONCE)
                if time.monotonic() - self._renewed_at > self._lease_seconds / 2:
                    await self._renew_all()  # or what the loop was too busy for would pass for lost
            if self._stopping or wanted <= 0:
                return 0
            claims = await self._backend.claim(
                self.name,
                accepted=0 if lost else wanted,
                expired=wanted if lost else 0,
                lease_seconds=self._lease_seconds,
                timeout=0 if lost else CLAIM_SECONDS,
            )
            for claim in claims:
                if not self._stopping:
                    self._begin(claim, lost)
                elif not lost:  # a lost one, handed back, would pass for one that had never begun
                    await self._backend.release(claim)
            return len(claims)

    async def _renew(self) -> None:
        await self._renew_all()
        await asyncio.sleep(self._lease_seconds / 3)

    async def _renew_all(self) -> None:
        claims = self.claims()
        if claims:
            await self._backend.renew(claims, lease_seconds=self._lease_seconds)
            self._meter.renewals += len(claims)
        self._renewed_at = time.monotonic()

    # -- one run -------------------------------------------------------------------------------

    def _begin(self, claim: Claim, lost: bool) -> None:
        task = asyncio.get_running_loop().create_task(self._run(claim, lost))
        self._running[task] = claim
        if self._fate.alone(claim.record) and self._fate.refusal(claim.record, lost=lost) is None:
            self._alone.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        claim = self._running.pop(task)
        self._alone.discard(task)
        self._changed.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("run %s: the executor failed", run_id_of(claim.record.key), exc_info=task.exception())

    async def _run(self, claim: Claim, lost: bool) -> None:
        if asyncio.current_task() not in self._alone:
            await self._execute(claim, lost)
            return
        async with self._one_alone:
            if await self._is_alone(claim):
                log.info("run %s: executed alone, it was lost before", run_id_of(claim.record.key))
                await self._execute(claim, lost)
            else:
                await self._backend.release(claim)

    async def _is_alone(self, claim: Claim) -> bool:
        """Wait until nothing else is executed; False where the run is not to be executed here any more.

        Its lease is renewed meanwhile. If this process is lost, that is no loss of this run: it has
        appended nothing yet.
        """
        parting = asyncio.create_task(self._parted.wait())
        try:
            while not (claim.revoked.done() or self._parting):
                others = self._running.keys() - self._alone
                if not others:
                    async with self._claiming:  # a look for runs that began before may still bring some
                        if self._running.keys() <= self._alone:
                            return True
                    continue
                ends: list[asyncio.Future[Any]] = [*others, claim.revoked, parting]
                await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            parting.cancel()
        return False

    async def _execute(self, claim: Claim, lost: bool) -> None:
        execution = await self._started(claim.record, lost)
        if isinstance(execution, Event):
            if isinstance(execution, ErrorEvent):
                self._meter.not_executed(execution.code)
            await self._end(claim, execution)
            return
        self._executions[claim] = execution
        claim.revoked.add_done_callback(lambda _: execution.nudge())
        hand_back = False
        try:
            hand_back = await self._write(claim, execution)
        finally:
            del self._executions[claim]
            if not execution.over:
                patience = LAST_SECONDS if hand_back else CLOSE_PATIENCE
                status: EndStatus = "cancelled" if _cancelled(claim) else "released"
                await asyncio.shield(asyncio.create_task(execution.aclose(patience, status=status)))
        if hand_back:
            await self._backend.release(claim)
        elif _cancelled(claim):
            await execution.discard()

    async def _started(self, record: RunRecord, lost: bool) -> Execution[EncodedEvent] | Event:
        """Return the execution of a run, which has not begun, or the end of one that is not executed."""
        refusal = self._fate.refusal(record, lost=lost)
        if refusal is not None:
            return refusal
        try:
            execution = await self._host.start_run(record, resume=self._fate.resumes(record))
        except Exception:
            log.exception("run %s: it could not begin", run_id_of(record.key))
            return ErrorEvent("the run could not begin; the server's log says why", "INTERNAL_ERROR")
        if self._parting and not self._fate.hands_back:
            await execution.aclose(status="released")
            return self._fate.last_event()
        return execution

    async def _write(self, claim: Claim, execution: Execution[EncodedEvent]) -> bool:
        """Write events until the terminal one is in the log, or the right to write is gone.

        Returns True where the run is to be handed back unfinished.
        """
        if claim.revoked.done() or self._hands_back:
            return self._hands_back  # it never begins
        if abandoned_threads() >= self._threads:
            return True  # others have threads left
        if self._fate.opens_first(claim.record):
            if not await self._append(claim, execution.take_opening(), execution):
                return False
            if self._hands_back:
                return True
        await execution.wait()
        await asyncio.sleep(0)  # an agent that returns at once needs no timer
        if not execution.closing:
            await execution.gather(GATHER_SECONDS)
        while not execution.ended and not claim.revoked.done():
            hand_back = self._hands_back  # what it has emitted until now still goes into the log
            events = execution.take()
            if events and not await self._append(claim, events, execution):
                break
            if execution.ended:
                await execution.discard()  # only now that its end is in the log: nobody resumes it
            else:
                if hand_back:
                    return True
                await execution.wait()
        return False

    async def _append(
        self, claim: Claim, events: list[EncodedEvent], execution: Execution[EncodedEvent]
    ) -> bool:
        """Append, however long it takes; False where nothing may follow."""
        began = time.monotonic()
        while not claim.revoked.done():
            try:
                await self._backend.append(claim, events)
            except BackendUnavailable as error:
                self._meter.store_failures += 1
                log.warning("%s: %s", execution.label, error)
                if self._parting or time.monotonic() - began >= LOG_PATIENCE:
                    execution.stop(ErrorEvent("the event log could not be written", "LOG_UNAVAILABLE"))
                    execution.halt()
                if self._parting:
                    return False
                await asyncio.wait((claim.revoked,), timeout=RETRY_SECONDS)
            except LogLost:
                log.error("%s: the store has lost events of its log", execution.label)
                execution.report("failed", "LOG_LOST")
                await self._end(claim, ErrorEvent("the store has lost events of this run", "LOG_LOST"))
                return False
            except (RunEnded, Superseded, RunNotFound) as error:
                log.info("%s: stopped, %s", execution.label, error)
                return False
            else:
                if self._backend.durable:
                    self._meter.appends.add(time.monotonic() - began)
                return True
        return False

    async def _end(self, claim: Claim, event: Event) -> None:
        """End a run that is not executed here, or not any more."""
        key = claim.record.key
        try:
            await self._backend.end_run(key, ending(run_id_of(key), self._host.started_event(), event))
        except RunNotFound:
            pass

    # -- the end -------------------------------------------------------------------------------

    async def _cancel_accepted(self) -> None:
        """End the runs that have not begun; the store, and with it their place in the queue, ends too."""
        while claims := await self._backend.claim(
            self.name, accepted=1000, expired=0, lease_seconds=self._lease_seconds, timeout=0
        ):
            for claim in claims:
                await self._end(claim, CancelledEvent("shutdown"))

    @property
    def _free(self) -> int:
        if self._alone:
            return 0
        abandoned = abandoned_threads()
        if abandoned >= self._threads:
            return 0
        return self._max_concurrent - len(self._running) - abandoned

    @property
    def _hands_back(self) -> bool:
        return self._parting and self._fate.hands_back

    def _part_with(self, execution: Execution[EncodedEvent]) -> None:
        if self._fate.hands_back:
            execution.nudge()
        else:
            execution.stop(self._fate.last_event())

    async def _idle_within(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)


def _cancelled(claim: Claim) -> bool:
    return claim.revoked.done() and claim.revoked.result() == "cancelled"
