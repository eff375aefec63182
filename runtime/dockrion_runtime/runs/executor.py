"""The executor: claims accepted runs, executes them, and writes their events to the log."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import uuid
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, Protocol

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

from ..stream import CLOSE_PATIENCE, Execution
from .request import run_id_of

log = logging.getLogger("dockrion")

CLAIM_SECONDS: Final = 0.5
"""How long one look for accepted runs waits for the first; an executor ends within it."""

ACCEPT_SECONDS: Final = 0.002
"""How long runs that are accepted after one that was begun at once gather, to be claimed together."""

SWEEP_SECONDS: Final = 2.0
"""How often runs are looked for whose executor is gone."""

AT_ONCE: Final = 32
"""Lost runs that one sweep takes."""

MAX_ATTEMPTS: Final = 5
"""Executions of one run after which it counts as one that takes its executor along."""

GATHER_SECONDS: Final = 0.001
"""How long a run's first events gather, so that a short run is one write to the log."""

LAST_SECONDS: Final = 0.3
"""Seconds that runs which do not end in time get to write their last event, or to be stopped."""

RETRY_SECONDS: Final = 1.0
"""The pause before a log that could not be written is tried again."""


class Host(Protocol):
    """What an executor needs of the server around it."""

    async def start_run(self, record: RunRecord, *, resume: bool) -> Execution[EncodedEvent]:
        """Return the execution of a claimed run. Raises what its request or agent makes impossible."""

    def started_event(self) -> StartedEvent:
        """Return the first event of a run that ends before it could begin."""


class Executor:
    """Executes up to ``max_concurrent`` runs at once, each by one claim.

    Events are written as they come: while one write is under way, what the agent emits meanwhile
    gathers for the next. A log that cannot be written holds the agent up, by the queue's back-pressure,
    and when the store gives up the run ends in an error as soon as it can be written.

    ``on_lost`` says what becomes of runs whose executor is gone: ``fail``, ``restart`` or ``resume``.
    """

    def __init__(
        self,
        backend: EventBackend,
        host: Host,
        *,
        max_concurrent: int,
        lease_seconds: float,
        on_lost: str,
    ) -> None:
        self.name = f"{socket.gethostname()}-{os.getpid()}-{uuid.uuid4().hex[:8]}"
        self._backend = backend
        self._host = host
        self._max_concurrent = max_concurrent
        self._lease_seconds = lease_seconds
        self._on_lost = on_lost
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
        await self._idle_within(grace)
        if self._running:
            log.info("%d runs did not end in time; they are %s", len(self._running), self._fate)
            self._parting = True
            for execution in list(self._executions.values()):
                self._part_with(execution)
            await self._idle_within(LAST_SECONDS)
        with suppress(TimeoutError, BackendUnavailable):
            # A claim that is under way is not cancelled, or its run would be left behind.
            async with asyncio.timeout(2 * CLAIM_SECONDS), self._claiming:
                if not self._backend.durable:
                    await self._cancel_accepted()
        rest = [*self._loops, *self._running]
        for task in rest:
            task.cancel()
        if rest:
            await asyncio.wait(rest, timeout=LAST_SECONDS)

    # -- the three loops -----------------------------------------------------------------------

    async def _for_ever(self, step: Callable[[], Any]) -> None:
        """Repeat ``step``; a store that does not answer is no reason to end."""
        failing = False
        while True:
            try:
                await step()
                if failing:
                    log.info("executor: the store answers again")
                failing = False
            except BackendUnavailable as error:
                if not failing:
                    log.warning("executor: %s", error)
                failing = True
                await asyncio.sleep(RETRY_SECONDS)

    async def _accept(self) -> None:
        free = self._max_concurrent - len(self._running)
        if self._stopping or free <= 0:
            self._changed.clear()
            await self._changed.wait()
            return
        if await self._claim(accepted=free, expired=0, timeout=CLAIM_SECONDS):
            await asyncio.sleep(ACCEPT_SECONDS)

    async def _claim(self, *, accepted: int, expired: int, timeout: float) -> bool:
        """Begin what can be claimed; say whether there was something."""
        async with self._claiming:
            claims = await self._backend.claim(
                self.name,
                accepted=accepted,
                expired=expired,
                lease_seconds=self._lease_seconds,
                timeout=timeout,
            )
            for claim in claims:
                if self._stopping:
                    await self._backend.release(claim)
                else:
                    self._begin(claim)
            return bool(claims)

    async def _sweep(self) -> None:
        await asyncio.sleep(SWEEP_SECONDS)
        free = self._max_concurrent - len(self._running)
        expired = AT_ONCE if self._on_lost == "fail" else min(free, AT_ONCE)
        if self._stopping or expired <= 0:
            return
        await self._claim(accepted=0, expired=expired, timeout=0)

    async def _renew(self) -> None:
        await asyncio.sleep(self._lease_seconds / 3)
        claims = list(self._running.values())
        if claims:
            await self._backend.renew(claims, lease_seconds=self._lease_seconds)

    # -- one run -------------------------------------------------------------------------------

    def _begin(self, claim: Claim) -> None:
        task = asyncio.create_task(self._run(claim))
        self._running[task] = claim
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        claim = self._running.pop(task)
        self._changed.set()
        if not task.cancelled() and task.exception() is not None:
            log.error("run %s: the executor failed", run_id_of(claim.record.key), exc_info=task.exception())

    async def _run(self, claim: Claim) -> None:
        record = claim.record
        refusal = self._refusal(record)
        if refusal is None:
            resume = self._on_lost == "resume" and record.attempt > 1
            try:
                execution = await self._host.start_run(record, resume=resume)
            except Exception:
                log.exception("run %s: it could not begin", run_id_of(record.key))
                refusal = ErrorEvent("the run could not begin; the server's log says why", "INTERNAL_ERROR")
        if refusal is not None:
            await self._end(claim, refusal)
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
                await asyncio.shield(asyncio.create_task(execution.aclose(patience)))
        if hand_back:
            await self._backend.release(claim)

    def _refusal(self, record: RunRecord) -> ErrorEvent | None:
        """Return why a run that somebody else was executing is not executed again."""
        if record.attempt < 2:
            return None
        if self._on_lost == "fail":
            return ErrorEvent("the process that executed the run is gone", "EXECUTOR_LOST")
        if record.attempt > MAX_ATTEMPTS:
            return ErrorEvent(f"{MAX_ATTEMPTS} processes that executed the run are gone", "EXECUTOR_LOST")
        return None

    async def _write(self, claim: Claim, execution: Execution[EncodedEvent]) -> bool:
        """Write events until the terminal one is in the log, or the right to write is gone.

        Returns True where the run is to be handed back unfinished.
        """
        await execution.wait()
        await execution.gather(GATHER_SECONDS)
        while not execution.ended and not claim.revoked.done():
            if self._parting and self._hands_back:
                return True
            events = execution.take()
            if events and not await self._append(claim, events, execution):
                break
            if not execution.ended:
                await execution.wait()
        return False

    async def _append(
        self, claim: Claim, events: list[EncodedEvent], execution: Execution[EncodedEvent]
    ) -> bool:
        """Append, however long it takes; False where nothing may follow."""
        while not claim.revoked.done():
            try:
                await self._backend.append(claim, events)
            except BackendUnavailable as error:
                log.warning("%s: %s", execution.label, error)
                execution.stop(ErrorEvent("the event log could not be written", "LOG_UNAVAILABLE"))
                execution.halt()
                if self._parting:
                    return False
                await asyncio.wait((claim.revoked,), timeout=RETRY_SECONDS)
            except LogLost:
                log.error("%s: the store has lost events of its log", execution.label)
                await self._end(claim, ErrorEvent("the store has lost events of this run", "LOG_LOST"))
                return False
            except (RunEnded, Superseded, RunNotFound) as error:
                log.info("%s: stopped, %s", execution.label, error)
                return False
            else:
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
    def _hands_back(self) -> bool:
        return self._backend.durable and self._on_lost != "fail"

    @property
    def _fate(self) -> str:
        if self._hands_back:
            return "handed back"
        return "ended as failed" if self._backend.durable else "cancelled"

    def _part_with(self, execution: Execution[EncodedEvent]) -> None:
        if self._hands_back:
            execution.nudge()
        elif self._backend.durable:
            execution.stop(ErrorEvent("the process that executed the run was shut down", "EXECUTOR_LOST"))
        else:
            execution.stop(CancelledEvent("shutdown"))

    async def _idle_within(self, seconds: float) -> None:
        if self._running:
            await asyncio.wait(self._running, timeout=seconds)
