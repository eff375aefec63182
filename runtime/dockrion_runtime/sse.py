"""Server-Sent Events over ASGI: frames to one reader."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, Final

from litestar.types import Receive, Scope, Send

from dockrion_events import EncodedEvent, HeartbeatEvent, encode_json, sse_comment, sse_frame
from dockrion_events.backends.queue import Bell

from .connection import Connection, connection_of
from .edge import Edge
from .stream import Execution

log = logging.getLogger("dockrion")

GATHER_SECONDS: Final = 0.002
"""Events that follow a chunk within this time gather until it is over, unless they are many."""

FEW: Final = 128
"""Events from which on a chunk is worth sending at once."""

_HEADERS = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache, no-transform"),  # a proxy that compresses would hold events back
    (b"x-content-type-options", b"nosniff"),
    (b"x-accel-buffering", b"no"),
]


class EventResponse(ABC):
    """One reader's response: frames from somewhere, signs of life between them, an end in time.

    After ``heartbeat`` seconds without a chunk the reader gets a sign of life: a heartbeat event, or
    a comment where the filter has none. One timer serves both silence and sends that do not end, and
    is not touched for each event. A reader that takes longer than ``unread_seconds`` for one send is dropped,
    which counts at ``edge``.

    A subclass sends in `_send_all`, in a task of its own: it is resumed for each event that comes by
    itself, and would otherwise be resumed through every layer between the server and this response.
    It notes each send in ``_sending_since`` and ``_last_sent`` (loop time; 0.0 between sends).
    """

    __slots__ = (
        "_connection",
        "_edge",
        "_gone",
        "_heartbeat",
        "_heartbeat_events",
        "_last_sent",
        "_send_deadline",
        "_sender",
        "_sending_since",
        "_task",
        "_timer",
    )

    def __init__(self, edge: Edge, *, heartbeat: float, heartbeat_events: bool) -> None:
        self._edge = edge
        self._heartbeat = heartbeat
        self._heartbeat_events = heartbeat_events
        self._send_deadline = edge.limits.unread_seconds
        self._gone = False
        self._last_sent = 0.0
        self._sending_since = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._connection: Connection | None = None
        self._sender: asyncio.Task[None] | None = None
        self._task: asyncio.Task[Any] | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        loop = asyncio.get_running_loop()
        self._connection = connection_of(scope)
        self._task = asyncio.current_task()
        self._last_sent = loop.time()
        self._timer = loop.call_later(min(self._heartbeat, self._send_deadline), self._tick)
        headers = [*_HEADERS, *self._own_headers()]
        if scope.get("http_version") == "1.1" and (b"connection", b"close") not in scope["headers"]:
            headers.append((b"connection", b"keep-alive"))
        self._sender = loop.create_task(self._send_all(send, headers))
        self._sender.add_done_callback(self._sender_ended)
        try:
            # ASGI sends the disconnect when the reader goes away, and when the response is complete.
            while (await receive())["type"] != "http.disconnect":
                pass
            self._gone = True
            self._wake()
            await self._sender
        finally:
            self._gone = True
            self._timer.cancel()
            self._sender.cancel()
            # Closing may be a task of its own: however this one is cancelled, the source is closed.
            closing = self._close()
            if closing is not None:
                await asyncio.shield(loop.create_task(closing))

    @property
    @abstractmethod
    def _label(self) -> str:
        """What this is the response to, for the log."""

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        """Return headers besides those that every such response has."""
        return []

    @abstractmethod
    async def _send_all(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        """Send the response from its start to its end, until the reader is gone."""

    @abstractmethod
    def _wake(self) -> None:
        """Let a sender that waits for events look around: the reader is gone."""

    @abstractmethod
    def _ask_heartbeat(self) -> None:
        """Let the sender send a sign of life."""

    @abstractmethod
    def _close(self) -> Coroutine[Any, Any, None] | None:
        """Let go of the source; return what is still to be awaited for it. The sender is cancelled."""

    def _sign_of_life(self, event: HeartbeatEvent) -> bytes:
        if not self._heartbeat_events:
            return sse_comment("heartbeat")
        return sse_frame(EncodedEvent(event.type, encode_json(event)))

    def _tick(self) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        if self._sending_since:
            due = self._sending_since + self._send_deadline
            if now >= due:
                self._drop()
                return
        else:
            due = self._last_sent + self._heartbeat
            if now >= due:
                self._ask_heartbeat()
                due = now + self._heartbeat
        due = min(due, now + self._send_deadline)
        self._timer = loop.call_at(due, self._tick)

    def _sender_ended(self, sender: asyncio.Task[None]) -> None:
        """See to it that a sender that failed does not leave the response waiting for its reader."""
        failed = not sender.cancelled() and sender.exception() is not None
        if failed and not self._gone:
            self._give_up()

    def _drop(self) -> None:
        """Give up a reader that does not read."""
        log.warning("%s: the reader has stopped reading; closing", self._label)
        self._gone = True
        if self._connection is not None:
            self._connection.drop_unread()
            return
        self._edge.refuse_unread()
        self._give_up()

    def _give_up(self) -> None:
        if self._connection is not None:
            self._connection.abort()  # send and receive return then
        elif self._task is not None:
            self._task.cancel()


class ExecutionResponse(EventResponse):
    """Sends one execution to its one reader, and stops it when the reader goes away.

    Everything that is ready goes out in one chunk. An event after a silence leaves at once; events
    that come faster than five hundred times a second leave together, a chunk every two milliseconds.

    The sending task need not be resumed for an event that comes alone: a callback of the loop writes
    it, where the server offers that, and leaves everything else to the task.
    """

    __slots__ = ("_arrived", "_execution", "_headers", "_on_close", "_ready", "_released", "_send_one")

    def __init__(
        self,
        execution: Execution[bytes],
        edge: Edge,
        *,
        heartbeat: float,
        heartbeat_events: bool,
        on_close: Callable[[], None],
        headers: Sequence[tuple[bytes, bytes]] = (),
    ) -> None:
        super().__init__(edge, heartbeat=heartbeat, heartbeat_events=heartbeat_events)
        self._execution = execution
        self._headers = headers
        self._on_close = on_close
        self._released = False
        self._send_one: Bell | None = None
        self._arrived: asyncio.Future[None] | None = None
        self._ready: list[bytes] = []

    @property
    def _label(self) -> str:
        return self._execution.label

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", self._execution.id.encode()), *self._headers]

    def _wake(self) -> None:
        self._execution.nudge()

    def _ask_heartbeat(self) -> None:
        self._execution.ask_heartbeat()

    async def _send_all(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        execution = self._execution
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        waiting = execution.waiting
        await execution.wait()  # starts the agent
        while not self._gone:
            if waiting():
                # After a disconnect a server's send may return at once; without this an agent that
                # never waits would keep the loop to itself.
                await asyncio.sleep(0)
            elif self._connection is None or execution.closing:
                await execution.wait()
            else:
                await self._more_than_one_event()
            now = loop.time()
            chunks, self._ready = self._ready, []
            if not chunks:
                if now - self._last_sent < GATHER_SECONDS and waiting() < FEW:
                    await execution.gather(GATHER_SECONDS)
                chunks = self._take()
            if self._gone:
                return
            if execution.ended:
                self._release()  # its place is free, whatever the reader makes of the end
            for chunk in chunks:
                self._sending_since = self._last_sent = now
                await send({"type": "http.response.body", "body": chunk, "more_body": True})
                if len(chunks) > 1:
                    now = loop.time()
            self._sending_since = 0.0
            if execution.ended:
                await send({"type": "http.response.body", "body": b"", "more_body": False})
                return

    def _more_than_one_event(self) -> Awaitable[None]:
        """Wait until something comes that the callback leaves to the task."""
        loop = asyncio.get_running_loop()
        if self._send_one is None:
            self._send_one = self._single_sender(loop)
        self._arrived = arrived = loop.create_future()
        self._execution.hang(self._send_one)
        return arrived

    def _single_sender(self, loop: asyncio.AbstractEventLoop) -> Bell:
        """Return what sends an event that came alone and after a silence, and else wakes the task."""
        execution = self._execution
        hang = execution.hang
        time = loop.time

        def send_one() -> None:
            assert self._connection is not None
            arrived = self._arrived
            if arrived is None or arrived.done():  # the task was cancelled
                return
            now = time()
            if not self._gone and now - self._last_sent >= GATHER_SECONDS:
                self._ready = chunks = self._take()
                if len(chunks) == 1 and not execution.ended and self._connection.write(chunks[0]):
                    self._ready = []
                    self._last_sent = now
                    assert self._send_one is not None
                    hang(self._send_one)
                    return
            arrived.set_result(None)

        return Bell(loop, send_one)

    def _take(self) -> list[bytes]:
        chunks = self._execution.take()
        if self._execution.take_heartbeat() and not self._execution.ended:
            chunks.append(self._sign_of_life(HeartbeatEvent(request_id=self._execution.id)))
        return chunks

    def _close(self) -> Coroutine[Any, Any, None] | None:
        self._send_one = None  # it holds this: both would wait for the garbage collector
        return None if self._released else self._stop()

    async def _stop(self) -> None:
        try:
            await self._execution.aclose()
        finally:
            self._release()

    def _release(self) -> None:
        if not self._released:
            self._released = True
            self._on_close()
