"""The WebSocket wire: executions begun and watched on one socket, and runs followed on another.

Events are JSON text frames, with the very bytes that a Server-Sent Event has as its ``data``. A client that
is refused before the handshake gets the same problem document as over HTTP in its place; afterwards a frame
``{"type": "problem", "problem": {…}, "request_id": …}``. The codes of a close by the server:

==== =======================================================================================
1000 the run's last event was sent
1001 the server shuts down, or the time that was asked for is over: come back
1002 a frame broke the protocol
1003 a binary frame came
1007 a text frame was not UTF-8
1008 a frame came where none is expected
1009 a message was larger than ``expose.limits.message_bytes``
1011 the client did not answer a ping in time
==== =======================================================================================
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final

import msgspec
from msgspec import UNSET

from dockrion_events import CancelledEvent, HeartbeatEvent, as_text, encode_json
from dockrion_events.bus.names import ID_RULE, THREAD_ID_RULE, is_id, is_thread_id

from ..json_text import check_growth, read_float, whole_characters
from ..observability.correlation import correlate
from ..problems import Problem, problem_body
from ..service import Service
from ..stream import Execution
from .line import GOING_AWAY, Line

log = logging.getLogger("dockrion")


class Message(msgspec.Struct, forbid_unknown_fields=True):
    """A client's frame: the payload of an execution to begin, or the ``request_id`` of one to cancel."""

    payload: Any = UNSET
    request_id: str | None = None
    thread_id: str | None = None
    cancel: str | None = None


_decode = msgspec.json.Decoder(Message, float_hook=read_float).decode


class Session:
    """One socket's executions, told apart by their ``request_id``.

    When the socket goes, all of them are stopped.
    """

    def __init__(self, service: Service, line: Line, owner: str) -> None:
        self._service = service
        self._line = line
        self._limits = service.dockfile.expose.limits
        self._owner = owner
        self._executions: dict[str, Execution[str]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def take(self, text: str) -> None:
        """Do what a client's frame says; what is wrong with it is told to the client."""
        request_id: str | None = None
        try:
            message = _read(text, self._limits.json_growth)
            request_id = message.request_id or message.cancel
            if message.cancel is not None:
                self._cancel(message.cancel)
            else:
                await self._begin(message)
        except Problem as problem:
            self._service.observability.meter.problems[str(problem.status)] += 1
            await self._line.send([told(problem, request_id)])

    async def leave_off(self) -> None:
        """Close the socket; what was executed has had its time."""
        await self._line.close(GOING_AWAY, "the server shuts down")

    async def close(self) -> None:
        """Stop everything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _begin(self, message: Message) -> None:
        service = self._service
        if message.payload is UNSET:
            raise Problem(400, "INVALID_MESSAGE", f"neither payload nor cancel; {_EXPECTED}")
        request_id = message.request_id or service.new_request_id()
        if not is_id(request_id):
            raise Problem(400, "INVALID_REQUEST_ID", f"request_id: {ID_RULE}")
        if message.thread_id is not None and not is_thread_id(message.thread_id):
            raise Problem(400, "INVALID_THREAD_ID", f"thread_id: {THREAD_ID_RULE}")
        if request_id in self._executions:
            raise Problem(409, "REQUEST_EXISTS", f"{request_id} is being executed on this socket")
        most = self._limits.socket_executions
        if len(self._executions) >= most:
            raise Problem(429, "TOO_MANY_REQUESTS", f"this socket has {most} executions already")
        service.check_payload(message.payload)
        config = service.config(self._owner, message.thread_id)
        await service.check_input(message.payload, config)
        service.enter()
        try:
            context = service.context(request_id, watched=True)
            execution = service.execute(message.payload, config, context, as_text)
        except BaseException:
            service.leave()
            raise
        self._executions[request_id] = execution
        task = asyncio.create_task(self._watch(execution))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _cancel(self, request_id: str) -> None:
        execution = self._executions.get(request_id)
        if execution is None:
            raise Problem(404, "REQUEST_NOT_FOUND", f"nothing is executed as {request_id[:128]!r} here")
        execution.stop(CancelledEvent("client"))

    async def _watch(self, execution: Execution[str]) -> None:
        """Send an execution's events to its end, and a heartbeat after silence."""
        correlate(request_id=execution.id)
        loop = asyncio.get_running_loop()
        interval = self._service.dockfile.streaming.events.heartbeat_interval
        beats = self._service.events_filter.is_allowed("heartbeat")
        beat = loop.call_later(interval, execution.ask_heartbeat) if beats else None
        try:
            while not execution.ended:
                await execution.wait()
                texts = execution.take()
                if execution.take_heartbeat() and beats and not texts:
                    texts.append(encode_json(HeartbeatEvent(request_id=execution.id)).decode())
                if texts:
                    await self._line.send(texts)
                if beat is not None:
                    beat.cancel()
                    beat = loop.call_later(interval, execution.ask_heartbeat)
        except ConnectionError:
            pass
        finally:
            if beat is not None:
                beat.cancel()
            del self._executions[execution.id]
            await asyncio.shield(asyncio.create_task(self._stop(execution)))

    async def _stop(self, execution: Execution[str]) -> None:
        try:
            await execution.aclose()
        finally:
            self._service.forget(execution)


def told(problem: Problem, request_id: str | None = None) -> str:
    """Return the frame that tells a client of a problem."""
    document = msgspec.Raw(problem_body(problem))
    frame: dict[str, Any] = {"type": "problem", "problem": document}
    if request_id is not None:
        frame["request_id"] = request_id
    return msgspec.json.encode(frame).decode()


_EXPECTED: Final = (
    'send {"payload": {…}} with request_id and thread_id if you like, or {"cancel": "<request_id>"}'
)


def _read(text: str, growth: int) -> Message:
    data = text.encode()
    check_growth(data, growth, name="the message")
    try:
        return _message(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise Problem(400, "INVALID_MESSAGE", f"no valid message: {error}; {_EXPECTED}") from None


def _message(data: bytes) -> Message:
    try:
        return _decode(data)
    except msgspec.DecodeError:
        mended = whole_characters(data)
        if mended == data:
            raise
        return _decode(mended)
