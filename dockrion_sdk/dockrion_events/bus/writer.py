"""Writes to a run's log what a context emits, outside of any execution."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import Future
from typing import Final, Protocol

from ..context import StreamContext
from ..encoding import EventEncoder
from ..errors import (
    BackendUnavailable,
    BusError,
    DockrionError,
    InvalidEvent,
    LogLost,
    RunEnded,
    RunNotFound,
    StreamClosed,
    Superseded,
)
from ..events import AnyEvent, CancelledEvent, EncodedEvent, ErrorEvent, Event, StartedEvent
from ..exit import Exit
from .base import Claim, EventBackend
from .names import run_key
from .notices import ending

RETRY_SECONDS: Final = 1.0
"""The pause before a log that could not be written is tried again."""


class Host(Protocol):
    """What a writer needs of the bus around it."""

    @property
    def backend(self) -> EventBackend: ...

    @property
    def owner(self) -> str: ...

    def launch(self, writer: RunWriter) -> None:
        """Run ``writer.write()`` as a task on the bus's loop. Raises `BackendUnavailable`."""


class RunWriter:
    """The run of one `StreamContext`: what that emits leaves by an exit of its own and is appended.

    Any thread and any event loop may emit; one task, on the bus's loop, writes. While one append is
    under way, what is emitted meanwhile gathers for the next.

    The context is halted until ``started`` is queued and from the terminal event on, so that its emit
    calls need not ask what state the run is in. The terminal event does not stand in the queue: it is
    taken last of all, behind whatever other threads emitted at the same time.
    """

    __slots__ = (
        "_begun",
        "_cause",
        "_context",
        "_ended",
        "_exit",
        "_host",
        "_key",
        "_last",
        "_lock",
        "_started",
    )

    def __init__(self, host: Host, context: StreamContext) -> None:
        self._exit = Exit(context, encoder=EventEncoder(), id_field="run_id")
        context._halted = True
        self._host = host
        self._context = context
        self._key = run_key(host.owner, context.run_id)
        self._lock = threading.Lock()
        self._started: Event | None = None
        self._last: AnyEvent | None = None
        self._cause: Exception | None = None
        self._begun = _milestone()
        self._ended = _milestone()

    @property
    def label(self) -> str:
        """What this is, for the log."""
        return f"run {self._context.run_id}"

    # -- the context's side: any thread, any loop ----------------------------------------------

    async def live(self, event: Event) -> None:
        """Emit an event of the life cycle, and return when it is in the log.

        Cancelling the call does not take the event back. Raises `InvalidEvent` for a second
        ``started`` or where ``started`` is missing, `EventError` where the event cannot be encoded,
        and what an emit call raises where the log does not take it.
        """
        milestone = self._begin(event) if type(event) is StartedEvent else self._end(event)
        await asyncio.wrap_future(milestone)
        if self._cause is not None or self._context.cancelled:
            self._context._too_late(sync=False)

    def _begin(self, event: Event) -> Future[None]:
        with self._lock:
            if self._started is not None or self._context.cancelled:
                if self._context._halted:
                    self._context._too_late(sync=False)
                raise InvalidEvent(f"{self.label} has begun already; emit_started comes once")
            first = self._exit.encoded(event)
            self._host.launch(self)
            self._started = event
            self._context.queue.put(first)
            self._context._halted = False
        return self._begun

    def _end(self, event: Event) -> Future[None]:
        with self._lock:
            if self._context._halted:
                self._context._too_late(sync=False)
            self._last = self._exit.encoded(event)
            self._context._halted = True
        self._exit.nudge()
        return self._ended

    def refusal(self) -> DockrionError:
        """Return what an emit call raises that comes at the wrong time, but for a cancellation."""
        if self._cause is not None:
            error = StreamClosed(f"{self.label} takes nothing more: {self._cause}")
            error.__cause__ = self._cause
            return error
        if self._last is not None:
            return StreamClosed(f"{self.label} has ended; nothing can follow its terminal event")
        return InvalidEvent(f"{self.label} has not begun; emit_started comes first")

    # -- the bus's side: its loop --------------------------------------------------------------

    async def write(self) -> None:
        """Open the run and write until its end is in the log, or nothing may be written any more."""
        self._context.queue.attach()
        try:
            backend, owner = self._host.backend, self._host.owner
            claim = await backend.open_run(self._key, owner=owner, request=b"")
            claim.revoked.add_done_callback(self._revoked)
            await self._write(claim)
        except BusError as error:
            self.fail(error)
        except BaseException:  # the bus has lost patience; or a bug, which its task shows
            self.fail(BusError("its writer was stopped"))
            raise
        finally:
            self._exit.close()

    async def _write(self, claim: Claim) -> None:
        while not claim.revoked.done():
            await self._exit.wait()
            if self._context.cancelled:  # by the program itself
                self._end_with(CancelledEvent())
            last = self._last
            events = self._exit.take(last)
            if events:
                if not await self._append(claim, events):
                    return
                _reach(self._begun)
            if last is not None:
                _reach(self._ended)
                return

    async def _append(self, claim: Claim, events: list[EncodedEvent]) -> bool:
        """Append, however long it takes; False where nothing may follow."""
        while not claim.revoked.done():
            try:
                await self._host.backend.append(claim, events)
            except BackendUnavailable as error:
                # The backend has been patient already. The program learns it; the run gets its end.
                self.fail(error, ErrorEvent("the event log could not be written", "LOG_UNAVAILABLE"))
                await asyncio.wait((claim.revoked,), timeout=RETRY_SECONDS)
            except LogLost as error:
                self.fail(error)
                await self._end_run(ErrorEvent("the store has lost events of this run", "LOG_LOST"))
                return False
            except RunEnded:
                self._cancelled()
                return False
            else:
                return True
        return False

    async def _end_run(self, event: Event) -> None:
        started = self._started
        assert type(started) is StartedEvent
        await self._host.backend.end_run(self._key, ending(self._context.run_id, started, event))

    def _revoked(self, revoked: asyncio.Future[str]) -> None:
        """Tell the program at once that the right to write is gone, also in the middle of an append."""
        why = revoked.result()
        if why == "superseded":
            self.fail(Superseded(f"somebody else writes {self.label}"))
        elif why == "lost":
            self.fail(RunNotFound(f"{self.label} is not kept any more"))
        else:
            self._cancelled()
        self._exit.nudge()

    def _cancelled(self) -> None:
        """Stop the program's code: somebody else has ended the run."""
        if self._cause is None:
            self._context.cancel()
            self._settle()

    def abandon(self, cause: BusError, end: ErrorEvent) -> None:
        """End the run by ``end``, unless its own end is on its way; later emit calls raise."""
        if self._last is None:
            self.fail(cause, end)

    def fail(self, cause: BusError, end: ErrorEvent | None = None) -> None:
        """Make emit calls raise, those that wait too. The first cause counts, and none after the end.

        ``end`` is the run's last event then, where it has no other.
        """
        with self._lock:
            if self._ended.done():
                return
            self._cause = cause
            self._exit.close()
        if end is not None:
            self._end_with(end)
        self._settle()

    def _end_with(self, event: Event) -> None:
        """Make ``event`` the run's last, where it has no other."""
        with self._lock:
            if self._last is None:
                self._last = self._exit.encoded(event)

    def _settle(self) -> None:
        _reach(self._begun)
        _reach(self._ended)


def _milestone() -> Future[None]:
    """Return a future that any loop can wait for, and that no waiter can cancel."""
    future: Future[None] = Future()
    future.set_running_or_notify_cancel()
    return future


def _reach(milestone: Future[None]) -> None:
    if not milestone.done():
        milestone.set_result(None)
