"""The way of an event from an emitting call to the exit of its execution."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import TYPE_CHECKING

from . import build
from .backends.base import StreamingBackend
from .errors import DockrionWarning, EventError, RunCancelled, StreamClosed
from .events import (
    MANDATORY,
    TERMINAL,
    AnyEvent,
    CustomEvent,
    EncodedEvent,
    Event,
    HeartbeatEvent,
)
from .filter import EventsFilter

if TYPE_CHECKING:
    from .backends.queue import QueueBackend
    from .bus.writer import RunWriter
    from .encoding import EventEncoder

_NOT_SENT = MANDATORY | {HeartbeatEvent.type}


@cache
def _queue_class() -> type[QueueBackend]:
    # Late, because it brings in asyncio: code that merely asks for the current context does without,
    # and it runs inside the user's agent.
    from .backends.queue import QueueBackend

    return QueueBackend


def _routed(backend: StreamingBackend, queue: QueueBackend, item: AnyEvent) -> bool:
    """Ask the streaming backend first; say whether the queue is crowded.

    A function: a context that held a method of its own would wait for the garbage collector.
    """
    if not backend.emit(item):
        return queue.put(item)
    return queue.crowded


def message_or_type(error: BaseException) -> str:
    """Return an exception's message, or its type if it has none."""
    return str(error) or type(error).__name__


class WayOut:
    """What a `StreamContext` is underneath its emitters: filter, encoder, backend and queue.

    The state of one execution, what whoever runs it does to it, and what is common to all emit calls.
    """

    __slots__ = (
        "__weakref__",
        "_backend",
        "_cancelled",
        "_encoder",
        "_events_filter",
        "_halted",
        "_heartbeat",
        "_in_run",
        "_managed",
        "_out",
        "_queue",
        "_run_id",
        "_sequence",
        "_streamed",
        "_token",
        "_tokens",
        "_warned",
        "_writer",
        "describe_error",
    )

    def __init__(
        self,
        run_id: str,
        *,
        events_filter: EventsFilter | None = None,
        streaming_backend: StreamingBackend | None = None,
    ) -> None:
        self._run_id = run_id
        self._events_filter = events_filter if events_filter is not None else EventsFilter()
        self._tokens = self._events_filter.is_allowed("token")
        self._backend = streaming_backend
        self._queue = _queue_class()()
        self._out: Callable[[AnyEvent], bool] = self._queue.put
        if streaming_backend is not None:
            self._out = partial(_routed, streaming_backend, self._queue)
        self._encoder: EventEncoder | None = None
        self._heartbeat: Callable[[], None] | None = None
        self._cancelled = False
        self._halted = False
        self._token: Callable[[str, str | None], AnyEvent] = build.token_event
        self._managed = False
        self._in_run = False
        self._writer: RunWriter | None = None
        self._streamed = False
        self._sequence = 0
        self._warned: tuple[str, ...] = ()
        self.describe_error: Callable[[BaseException], str] = message_or_type
        """Returns what events say of an exception that does not end the execution, such as a tool's.

        Whoever runs the execution may replace it: a server keeps exceptions' messages from its clients.
        """

    # -- what it is ----------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The identifier of this execution: a run's id, or a direct stream's request id."""
        return self._run_id

    @property
    def queue_mode(self) -> bool:
        """Whether events wait in the context until they are drained; in a run they end in its log."""
        return not self._in_run

    @property
    def events_filter(self) -> EventsFilter:
        """Which events may leave."""
        return self._events_filter

    @property
    def streaming_backend(self) -> StreamingBackend | None:
        """The backend that is asked first to take an event."""
        return self._backend

    @property
    def queue(self) -> QueueBackend:
        """The context's own path: where events go that the streaming backend does not take."""
        return self._queue

    @property
    def cancelled(self) -> bool:
        """Whether the execution was cancelled; long synchronous work looks here now and then."""
        return self._cancelled

    # -- whoever runs it -----------------------------------------------------------------------

    def attach(self, backend: StreamingBackend, *, own_path: bool = False) -> None:
        """Make ``backend`` the one that is asked first, unless the context has one already.

        ``own_path`` says that the backend would do nothing but put the events of this context into
        this context's queue; then it need not be asked.
        """
        if self._backend is None:
            self._backend = backend
            if not own_path:
                self._out = partial(_routed, backend, self._queue)

    def cancel(self) -> None:
        """Tell the code of this execution to stop; for whoever runs it. Its next emit raises."""
        self._cancelled = self._halted = True
        self._queue.close()

    def relay(self, event: AnyEvent) -> bool:
        """Queue an event that was emitted through another context; for streaming backends.

        False, and nothing happens, where this execution is over (or has not begun) or would not send it:
        its filter does not allow it, the event belongs to the other's life cycle, or it cannot be encoded.
        """
        if self._halted or event.type in _NOT_SENT or not self._events_filter.is_allowed(event.type):
            return False
        encoder = self._encoder
        if isinstance(event, EncodedEvent):
            if encoder is None and self._streamed:
                event = event.decode()
        elif encoder is not None:
            try:
                event = encoder.encode(event)
            except EventError:
                return False
        return self._queue.emit(event)

    # -- the way out ---------------------------------------------------------------------------

    def _put(self, event: Event, sync: bool) -> None:
        if self._halted:
            self._too_late(sync)
            return
        self._out(event if self._encoder is None else self._encoder.encode(event))

    async def _send(self, event: Event) -> None:
        self._put(event, False)
        if self._queue.crowded:
            await self._room()

    def _sync_send(self, event: Event) -> None:
        self._put(event, True)
        if self._queue.crowded:
            self._wait_for_room()

    async def _room(self) -> None:
        await self._queue.room()
        if self._cancelled:
            self._too_late(sync=False)

    def _wait_for_room(self) -> None:
        self._queue.wait_for_room()
        if self._cancelled:
            self._too_late(sync=True)

    def _too_late(self, sync: bool) -> None:
        """Raise what a call must raise that comes too late."""
        if self._cancelled:
            if sync:
                raise RunCancelled(f"execution {self._run_id} was cancelled")
            from asyncio import CancelledError  # loaded already: this is a coroutine

            raise CancelledError(f"execution {self._run_id} was cancelled")
        if self._writer is not None:
            raise self._writer.refusal()
        if not self._managed:
            raise StreamClosed(
                f"the stream of {self._run_id} has ended; nothing can follow its terminal event"
            )

    def _may_send(self, event: Event) -> bool:
        if isinstance(event, CustomEvent):
            build.check_custom_type(event.type)
        return event.type not in _NOT_SENT and self._events_filter.is_allowed(event.type)

    def _wanted(self, event_type: str) -> bool:
        if self._cancelled:
            self._too_late(sync=True)
        return self._events_filter.is_allowed(event_type)

    async def _live(self, call: str, event: Event) -> None:
        """Emit an event of the life cycle, for the emit method that is named ``call``."""
        if self._writer is not None:
            await self._writer.live(event)
        elif not self._managed:
            self._put(event, False)
            self._halted = event.type in TERMINAL
        elif call not in self._warned:
            self._warned += (call,)
            warnings.warn(
                f"{call}() was ignored: within an execution the life cycle belongs to the runtime, which "
                "emits started and the terminal event itself",
                DockrionWarning,
                stacklevel=3,
            )
