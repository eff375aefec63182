"""What agent code holds: the context of the execution it runs in."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from contextvars import copy_context
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from . import build
from .backends.base import StreamingBackend
from .current import context_scope
from .emitters import Emitters
from .events import CancelledEvent, CompleteEvent, EncodedEvent, ErrorEvent, Event, StartedEvent
from .filter import EventsFilter

if TYPE_CHECKING:
    from .bus.bus import EventBus

P = ParamSpec("P")
R = TypeVar("R")


class StreamContext(Emitters):
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

    Outside an execution and with a ``bus``, the context writes the run ``run_id`` by itself. It begins
    with ``emit_started`` and ends with one of the three others, all of which return when their event is
    in the log and do not ask the streaming backend; every other emit call in between only queues its
    event, encoded, and the log gets it soon, in order. Out of turn a call raises `InvalidEvent` or,
    after the end, `StreamClosed`. Where the log refuses, the next emit call raises: what a cancelled
    execution raises if somebody has cancelled the run, else `StreamClosed` from the error that is the
    cause (`RunExists`, `Superseded`, `BackendUnavailable` and so on).
    """

    __slots__ = ()

    def __init__(
        self,
        run_id: str,
        *,
        bus: EventBus | None = None,
        events_filter: EventsFilter | None = None,
        streaming_backend: StreamingBackend | None = None,
    ) -> None:
        super().__init__(run_id, events_filter=events_filter, streaming_backend=streaming_backend)
        if bus is not None:
            self._writer = bus.writer(self)

    def drain_queued_events(self) -> list[Event]:
        """Take the events that wait, in order and numbered.

        Raises `RuntimeError` where they leave by another way: each event leaves once.
        """
        if self._in_run:
            raise RuntimeError(
                "the events of this context go to the log of its run; subscribe to that instead"
            )
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
        await self._live("emit_started", StartedEvent(agent_name, framework))

    async def emit_complete(
        self, output: Any, latency_seconds: float, metadata: dict[str, Any] | None = None
    ) -> None:
        """End the stream with a result; only outside an execution."""
        await self._live("emit_complete", CompleteEvent(output, latency_seconds, metadata or {}))

    async def emit_error(self, error: str, code: str | None = None, details: Any = None) -> None:
        """End the stream with a failure; only outside an execution."""
        await self._live("emit_error", ErrorEvent(str(error), code or "AGENT_ERROR", details))

    async def emit_cancelled(self, reason: str | None = None) -> None:
        """End the stream as cancelled; only outside an execution."""
        await self._live("emit_cancelled", CancelledEvent(reason))

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
