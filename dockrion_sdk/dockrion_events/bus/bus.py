"""The event bus as programs use it: typed events over an event backend."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Final, Self

from ..context import StreamContext
from ..errors import BackendUnavailable, BusError, RunNotFound
from ..events import ErrorEvent, StreamEvent
from .base import EventBackend, Follower
from .names import ID_RULE, is_id, run_key
from .writer import RunWriter

log: logging.Logger = logging.getLogger("dockrion")

CLOSE_SECONDS: Final = 5.0
"""How long `EventBus.close` waits for what is still to be written."""


class EventBus:
    """Writes runs, and reads them, in whatever process their store can be reached from.

    ::

        async with EventBus(backend) as bus:
            context = StreamContext("report-7", bus=bus)
            await context.emit_started("reporter")
            context.sync_emit_progress("collecting", 0.5)
            await context.emit_complete({"pages": 12}, latency_seconds=1.5)

            async for event in bus.subscribe("report-7"):
                print(event.sequence, event.type)

    A context of a bus writes one run, from ``emit_started``, which opens it, to the terminal event;
    see `StreamContext`. A server with the same store shows the run as it shows its own, to the owner
    that the bus is made for, and cancels it.

    ``async with`` (or `open` and `close`) is needed before runs are written or read; the bus then
    belongs to that event loop, while contexts may emit from any thread. A backend that is open already
    stays open; any other is opened and closed with the bus.

    Leaving the ``async with`` ends the runs that have no end yet in an ``error`` with the code
    ``EXECUTOR_LOST``: nobody will write them any more, and their readers must not wait for ever. A
    process that is killed cannot do so; its runs stay open until somebody cancels them or the
    store lets them go.
    """

    def __init__(self, backend: EventBackend, *, owner: str = "") -> None:
        self._backend = backend
        self._owner = owner
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opened_it = False
        self._closed = False
        self._writing: dict[asyncio.Task[None], RunWriter] = {}
        self._followers: set[Follower] = set()

    @property
    def backend(self) -> EventBackend:
        """Where the runs are."""
        return self._backend

    @property
    def owner(self) -> str:
        """Whose runs these are: to a server, the name of an API key; without keys, the empty string."""
        return self._owner

    # -- life ----------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the backend, unless it is open. Raises `BackendUnavailable`; also once the bus was closed."""
        if self._closed:
            raise BackendUnavailable("the bus is closed")
        if self._loop is not None:
            return
        try:
            await self._backend.ping()
        except BackendUnavailable:
            for line in await self._backend.open():
                log.warning("%s", line)
            self._opened_it = True
        self._loop = asyncio.get_running_loop()

    async def close(self) -> None:
        """End the runs that are still written here, end what is read, and close what `open` opened."""
        if self._closed:
            return
        self._closed = True
        try:
            await self._end_runs()
        finally:
            for task in self._writing:  # only where waiting for them was cancelled
                task.cancel()
            for follower in self._followers:
                follower.close()
            if self._opened_it:
                await self._backend.close()

    async def _end_runs(self) -> None:
        for writer in self._writing.values():
            writer.abandon(
                BusError("the bus was closed"),
                ErrorEvent("the program closed the bus before the run had an end", "EXECUTOR_LOST"),
            )
        writing = dict(self._writing)
        if not writing:
            return
        _, late = await asyncio.wait(writing, timeout=CLOSE_SECONDS)
        for task in late:
            log.warning("%s: its end could not be written within %g s", writing[task].label, CLOSE_SECONDS)
            task.cancel()
        if late:
            await asyncio.wait(late)

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    # -- reading -------------------------------------------------------------------------------

    def subscribe(self, run_id: str, *, from_sequence: int = 0) -> AsyncIterator[StreamEvent]:
        """Iterate over a run's events: those that are stored, then live ones, each once and in order.

        Begins with the event ``from_sequence``, by default with the first, and ends after the
        terminal one, or when the bus is closed. A `GapEvent` stands for events that are not kept any
        more. Each subscription has its own objects; leaving it costs the run nothing. Without ``async
        with`` around an `aclosing`, a loop that is left early is forgotten when it is collected.

        The iteration raises `RunNotFound`, and `BackendUnavailable` where the log could not be read for
        longer than the backend is patient.
        """
        if from_sequence < 0:
            raise ValueError(f"from_sequence is {from_sequence}; the first event has the sequence 1")
        return self._follow(run_id, max(from_sequence - 1, 0))

    async def _follow(self, run_id: str, after: int) -> AsyncIterator[StreamEvent]:
        self._opened()
        if not is_id(run_id):
            raise RunNotFound(f"there is no run {run_id!r}")
        follower = await self._backend.follow(run_key(self._owner, run_id), after=after)
        self._followers.add(follower)
        try:
            while not follower.ended:
                for event in await follower.next_batch():
                    yield event.decode()
        finally:
            self._followers.discard(follower)
            follower.close()

    # -- writing -------------------------------------------------------------------------------

    def writer(self, context: StreamContext) -> RunWriter:
        """Return what writes the run of a new context; for `StreamContext`. Nothing happens yet.

        Raises ``ValueError`` where the context's ``run_id`` cannot name a run.
        """
        if not is_id(context.run_id):
            raise ValueError(f"run_id {context.run_id[:128]!r}: {ID_RULE}")
        return RunWriter(self, context)

    def launch(self, writer: RunWriter) -> None:
        """Let a run be written, on the bus's loop; for the writer, in any thread.

        Raises `BackendUnavailable` where the bus is not open.
        """
        loop = self._opened()
        try:
            loop.call_soon_threadsafe(self._launch, loop, writer)
        except RuntimeError:  # the loop is closed
            raise BackendUnavailable("the bus's event loop has ended") from None

    def _launch(self, loop: asyncio.AbstractEventLoop, writer: RunWriter) -> None:
        if self._closed:
            writer.fail(BackendUnavailable("the bus is closed"))
            return
        task = loop.create_task(writer.write())
        self._writing[task] = writer
        task.add_done_callback(self._written)

    def _written(self, task: asyncio.Task[None]) -> None:
        writer = self._writing.pop(task)
        if not task.cancelled() and task.exception() is not None:
            log.error("%s: its writer failed", writer.label, exc_info=task.exception())

    def _opened(self) -> asyncio.AbstractEventLoop:
        if self._closed or self._loop is None:
            state = "closed" if self._closed else "not open; use it as: async with EventBus(backend) as bus"
            raise BackendUnavailable(f"the bus is {state}")
        return self._loop
