"""What agent code holds: the context of the execution it runs in."""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from . import build
from .backends.base import StreamingBackend
from .current import context_scope
from .errors import DockrionWarning, EventError, RunCancelled, StreamClosed
from .events import (
    MANDATORY,
    TERMINAL,
    AnyEvent,
    CancelledEvent,
    CompleteEvent,
    CustomEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    HeartbeatEvent,
    StartedEvent,
)
from .filter import EventsFilter

if TYPE_CHECKING:
    from .backends.queue import QueueBackend
    from .encoding import EventEncoder

P = ParamSpec("P")
R = TypeVar("R")

_NOT_SENT = MANDATORY | {HeartbeatEvent.type}


class StreamContext:
    """Emits the events of one execution.

    Every event has an ``async`` method and, but for those of the life cycle, a ``sync_`` twin. The
    ``sync_`` methods may be called from any thread, the event loop's own included, and need no
    running loop. Events that the filter does not allow are dropped before they are built.

    An async call waits while the consumer is far behind, and so does a ``sync_`` call in a thread
    that is not the event loop's. Emitting raises `InvalidEvent`, `EventTooLarge` or
    `NotSerialisable` on the line that is to blame, and after a cancellation ``RunCancelled`` (from
    ``sync_`` methods) or ``asyncio.CancelledError``.

    Within an execution the life cycle belongs to the runtime: ``emit_started``, ``emit_complete``,
    ``emit_error`` and ``emit_cancelled`` do nothing there but warn, once each. Outside, events wait
    until `drain_queued_events` takes them.
    """

    __slots__ = (
        "__weakref__",
        "_backend",
        "_cancelled",
        "_encoder",
        "_events_filter",
        "_halted",
        "_heartbeat",
        "_managed",
        "_out",
        "_queue",
        "_run_id",
        "_sequence",
        "_streamed",
        "_token",
        "_tokens",
        "_warned",
    )

    def __init__(
        self,
        run_id: str,
        *,
        events_filter: EventsFilter | None = None,
        streaming_backend: StreamingBackend | None = None,
    ) -> None:
        # Here, because it brings in asyncio: code that merely asks for the current context does
        # without, and it runs inside the user's agent.
        from .backends.queue import QueueBackend

        self._run_id = run_id
        self._events_filter = events_filter if events_filter is not None else EventsFilter()
        self._tokens = self._events_filter.is_allowed("token")
        self._backend = streaming_backend
        self._queue = QueueBackend()
        self._out: Callable[[AnyEvent], bool] = self._queue.put
        if streaming_backend is not None:
            self._out = self._routed
        self._encoder: EventEncoder | None = None
        self._heartbeat: Callable[[], None] | None = None
        self._cancelled = False
        self._halted = False
        self._token: Callable[[str, str | None], AnyEvent] = build.token_event
        self._managed = False
        self._streamed = False
        self._sequence = 0
        self._warned: tuple[str, ...] = ()

    # -- what it is ----------------------------------------------------------------------------

    @property
    def run_id(self) -> str:
        """The identifier of this execution: a run's id, or a direct stream's request id."""
        return self._run_id

    @property
    def queue_mode(self) -> bool:
        """Whether events wait in the context until they are drained."""
        return True

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

    def attach(self, backend: StreamingBackend, *, own_path: bool = False) -> None:
        """Make ``backend`` the one that is asked first, unless the context has one already.

        ``own_path`` says that the backend would do nothing but put the events of this context into
        this context's queue; then it need not be asked.
        """
        if self._backend is None:
            self._backend = backend
            if not own_path:
                self._out = self._routed

    def cancel(self) -> None:
        """Tell the code of this execution to stop; for whoever runs it. Its next emit raises."""
        self._cancelled = self._halted = True
        self._queue.close()

    def drain_queued_events(self) -> list[Event]:
        """Take the events that wait, in order and numbered.

        Raises `RuntimeError` while a stream is draining the context: each event leaves once.
        """
        if self._streamed:
            raise RuntimeError("the events of this context leave through its stream; iterate that instead")
        events = []
        for event in self._queue.drain():
            plain = event.decode() if isinstance(event, EncodedEvent) else event
            self._sequence += 1
            plain.sequence = self._sequence
            plain.run_id = self._run_id
            events.append(plain)
        return events

    # -- asynchronous emitters -----------------------------------------------------------------

    async def emit_token(self, content: str, finish_reason: str | None = None) -> None:
        """Emit a piece of generated text."""
        if self._tokens:
            if self._halted:
                self._too_late(sync=False)
            elif self._out(self._token(content, finish_reason)):
                await self._room()

    async def emit_step(
        self,
        node_name: str,
        duration_ms: float | None = None,
        input_keys: Iterable[str] | None = None,
        output_keys: Iterable[str] | None = None,
    ) -> None:
        """Emit the end of a step; ``duration_ms`` in milliseconds."""
        if self._events_filter.is_allowed("step"):
            await self._send(build.step_event(node_name, duration_ms, input_keys, output_keys))

    async def emit_progress(self, step: str, progress: float, message: str | None = None) -> None:
        """Emit progress, clamped to 0.0-1.0."""
        if self._events_filter.is_allowed("progress"):
            await self._send(build.progress_event(step, progress, message))

    async def checkpoint(self, name: str, data: Any) -> None:
        """Emit a named intermediate result."""
        if self._events_filter.is_allowed("checkpoint"):
            await self._send(build.checkpoint_event(name, data))

    async def emit(self, event_type: str, data: Any = None, **fields: Any) -> None:
        """Emit a custom event, or a built-in one by its name.

        ``emit("fraud", {"score": 1})``, ``emit("custom:fraud", score=1)`` and a mix mean the same;
        fields win over equal keys of ``data``.
        """
        name = build.canonical_type(event_type)
        if self._events_filter.is_allowed(name):
            await self._send(build.named_event(name, data, fields))

    async def emit_heartbeat(self) -> None:
        """Send a sign of life to whoever is connected, now; not numbered."""
        if self._halted:
            self._too_late(sync=False)
        if self._heartbeat is not None:
            self._heartbeat()

    async def send(self, event: Event) -> None:
        """Emit a copy of an event object.

        Mandatory events and heartbeats are not the agent's to send: ignored. Raises `InvalidEvent`
        for a field or a name that an emit call would have refused.
        """
        if self._may_send(event):
            await self._send(build.sent_event(event))

    # -- synchronous twins ---------------------------------------------------------------------

    def sync_emit_token(self, content: str, finish_reason: str | None = None) -> None:
        """Emit a piece of generated text."""
        if self._tokens:
            if self._halted:
                self._too_late(sync=True)
            elif self._out(self._token(content, finish_reason)):
                self._wait_for_room()
        elif self._cancelled:
            self._too_late(sync=True)

    def sync_emit_step(
        self,
        node_name: str,
        duration_ms: float | None = None,
        input_keys: Iterable[str] | None = None,
        output_keys: Iterable[str] | None = None,
    ) -> None:
        """Emit the end of a step; ``duration_ms`` in milliseconds."""
        if self._wanted("step"):
            self._sync_send(build.step_event(node_name, duration_ms, input_keys, output_keys))

    def sync_emit_progress(self, step: str, progress: float, message: str | None = None) -> None:
        """Emit progress, clamped to 0.0-1.0."""
        if self._wanted("progress"):
            self._sync_send(build.progress_event(step, progress, message))

    def sync_checkpoint(self, name: str, data: Any) -> None:
        """Emit a named intermediate result."""
        if self._wanted("checkpoint"):
            self._sync_send(build.checkpoint_event(name, data))

    def sync_emit(self, event_type: str, data: Any = None, **fields: Any) -> None:
        """Emit a custom event, or a built-in one by its name; see `emit`."""
        name = build.canonical_type(event_type)
        if self._wanted(name):
            self._sync_send(build.named_event(name, data, fields))

    def sync_emit_heartbeat(self) -> None:
        """Send a sign of life to whoever is connected, now; not numbered."""
        if self._halted:
            self._too_late(sync=True)
        if self._heartbeat is not None:
            self._heartbeat()

    def sync_send(self, event: Event) -> None:
        """Emit an event object; see `send`."""
        if self._may_send(event):
            self._sync_send(build.sent_event(event))
        elif self._cancelled:
            self._too_late(sync=True)

    # -- life cycle, outside executions --------------------------------------------------------

    async def emit_started(self, agent_name: str, framework: str | None = None) -> None:
        """Begin the stream; only outside an execution."""
        if self._owns_life_cycle("emit_started"):
            await self._send(StartedEvent(agent_name, framework))

    async def emit_complete(
        self, output: Any, latency_seconds: float, metadata: dict[str, Any] | None = None
    ) -> None:
        """End the stream with a result; only outside an execution."""
        if self._owns_life_cycle("emit_complete"):
            await self._send(CompleteEvent(output, latency_seconds, metadata or {}))

    async def emit_error(self, error: str, code: str | None = None, details: Any = None) -> None:
        """End the stream with a failure; only outside an execution."""
        if self._owns_life_cycle("emit_error"):
            await self._send(ErrorEvent(str(error), code or "AGENT_ERROR", details))

    async def emit_cancelled(self, reason: str | None = None) -> None:
        """End the stream as cancelled; only outside an execution."""
        if self._owns_life_cycle("emit_cancelled"):
            await self._send(CancelledEvent(reason))

    # -- threads -------------------------------------------------------------------------------

    def wrap(self, function: Callable[P, R]) -> Callable[P, R]:
        """Return ``function``, carrying this context (and the caller's other context variables).

        For threads that do not copy the context by themselves: ``threading.Thread``, a bare
        ``ThreadPoolExecutor``, ``loop.run_in_executor``.
        """
        snapshot = copy_context()
        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def carried(*args: P.args, **kwargs: P.kwargs) -> Any:
                with context_scope(self):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", carried)

        @functools.wraps(function)
        def carry(*args: P.args, **kwargs: P.kwargs) -> R:
            def call() -> R:
                with context_scope(self):
                    return function(*args, **kwargs)

            return snapshot.copy().run(call)

        return carry

    def relay(self, event: AnyEvent) -> bool:
        """Queue an event that was emitted through another context; for streaming backends.

        False, and nothing happens, where this execution is over or would not send it: its filter does
        not allow it, the event belongs to the other's life cycle, or it cannot be encoded.
        """
        if event.type in _NOT_SENT or not self._events_filter.is_allowed(event.type):
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

    def _routed(self, item: AnyEvent) -> bool:
        """Ask the streaming backend first; say whether the queue is crowded."""
        if self._backend is None or not self._backend.emit(item):
            return self._queue.put(item)
        return self._queue.crowded

    def _put(self, event: Event, sync: bool) -> None:
        if self._halted:
            self._too_late(sync)
            return
        self._out(event if self._encoder is None else self._encoder.encode(event))

    async def _send(self, event: Event) -> None:
        self._put(event, False)
        if not self._managed and event.type in TERMINAL:
            self._halted = True
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

    def _owns_life_cycle(self, call: str) -> bool:
        if not self._managed:
            return True
        if call not in self._warned:
            self._warned += (call,)
            warnings.warn(
                f"{call}() was ignored: within an execution the life cycle belongs to the runtime, which "
                "emits started and the terminal event itself",
                DockrionWarning,
                stacklevel=3,
            )
        return False
