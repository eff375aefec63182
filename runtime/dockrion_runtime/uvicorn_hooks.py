"""What uvicorn's public API cannot do: its protocols, with limits and with ways around its slow paths.

All use of uvicorn's, and of its WebSocket library's, private names is in this file. They are listed in
``tests/runtime/test_uvicorn_names.py``, which fails where an upgrade takes one away.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from email.utils import formatdate
from typing import Any, Final

import httptools
import uvicorn
from uvicorn._types import ASGI3Application, ASGIReceiveEvent, ASGISendEvent
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from uvicorn.server import ServerState
from websockets.datastructures import Headers
from websockets.frames import Frame
from websockets.http11 import Response

from .connection import CONNECTION
from .edge import Edge, Guard
from .problems import PROBLEM_JSON, Problem, overloaded, problem_body, title_of
from .wires import line

SHORT_BYTES: Final = 128
"""Bytes that are not looked through for requests without end: not more than `Limits.pipelined` fit in."""

BODY_AHEAD: Final = 16 * 1024
"""Bytes of a body that are read before somebody asks for it; `BODY_ASKED` once somebody does."""

BODY_ASKED: Final = 256 * 1024

REQUEST_BYTES: Final = 4 * 1024
"""About what a waiting request costs besides its head."""

QUEUED_BYTES: Final = 32 * 1024
"""Bytes of waiting requests from which on no more of a connection is read, however few they are."""

LINGER_SECONDS: Final = 1.0
"""How long what a refused client still sends is read and dropped, so that it gets to see the refusal."""

WRITE_BYTES: Final = 64 * 1024
"""Unsent bytes from which on no more pings are answered."""

FRAME_BYTES: Final = 512
"""Bytes of WebSocket frames that are parsed before looking whether a message is waiting already."""

PARSING_SECONDS: Final = 0.002
"""How long frames of one connection are parsed until others get their turn."""

_HEAD_END: Final = b"\n\r\n"
"""What every head ends in: the parser takes no line that ends otherwise."""


class Flow(FlowControl):
    """uvicorn's flow control, with a reason to stop reading that only its owner takes back."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.full = False
        self.asked = False
        """Whether somebody has asked for the body of the newest request."""

    def resume_reading(self) -> None:
        self.asked = True
        if self.read_paused and not self.full:
            super().resume_reading()


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with limits, and with a `Connection` in the scope of each request.

    Of a connection that is lost uvicorn tells the request that came last, which, where requests are sent
    without waiting for answers, is not the one that is being answered: its agent would run on for nobody.
    """

    flow: Flow
    current: Connection | None = None
    """That of the request in ``cycle``; None once another is being read, or waits behind it."""

    def __init__(self, guard: Guard, **options: Any) -> None:
        super().__init__(**options)
        self.guard: Guard | None = guard
        self._edge = guard.edge
        self._limits = limits = guard.edge.limits
        self._head_bytes, self._most_headers = limits.head_bytes, limits.headers
        self._pipelined = limits.pipelined
        self._answering: RequestResponseCycle | None = None
        self._answered: Connection | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False
        self._fault: Problem | None = None  # why a callback of the parser failed
        self._in_head = True
        self._begun = False  # a head has begun and is not complete
        self._progress = False  # what was fed last had the end of a head or of a message, or a part of a body
        self._fed = 0  # bytes since then
        self._feeding = 0
        self._charged = 0
        self._waiting = b""  # requests that are not parsed yet, because enough of them wait

    # -- the connection ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.flow = Flow(transport)
        self._deadline = self.loop.call_later(self._limits.head_seconds, self._head_is_late)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
            if self._answered is not None:
                self._answered.lose()
        self._unset_keepalive_if_required()
        self._set_deadline(None)
        self._charge(0)
        self._leave()

    def _leave(self) -> None:
        """Let go of what leads back to here: in a circle, all of it would wait for the garbage collector."""
        self._answering = self._answered = self.current = self.guard = None
        self.pipeline.clear()
        self.cycle = self.scope = None  # type: ignore[assignment]  # as before a request

    @property
    def reading(self) -> bool:
        return not self.flow.read_paused

    @property
    def awaiting(self) -> bool:
        return self.flow.asked and not self._in_head and not self._refused

    # -- what arrives --------------------------------------------------------------------------------

    def data_received(self, data: bytes | bytearray) -> None:
        if self._refused:
            return
        if self.timeout_keep_alive_task is not None:
            self._unset_keepalive_if_required()
        if self._waiting or ((len(data) > SHORT_BYTES or self.pipeline) and self._are_many(data)):
            self._waiting += data
            self._feed_waiting()
        else:
            self._feed(data)

    def _are_many(self, data: bytes | bytearray) -> bool:
        """Say whether there may be more requests in this than may still wait."""
        room = self._pipelined - len(self.pipeline)
        return data.count(b"\n") > 2 * room and data.count(_HEAD_END) > room

    def _feed_waiting(self) -> None:
        """Parse what waits, request by request, until enough of them wait for their answers."""
        data, at = self._waiting, 0
        self._waiting = b""
        while at < len(data) and self.guard is not None and not self._refused and not self._is_full():
            end = data.find(_HEAD_END, at)
            end = len(data) if end < 0 else end + len(_HEAD_END)
            self._feed(data[at:end])
            at = end
        self._waiting = b"" if self._refused else data[at:]
        self._look_at_queue()

    def _feed(self, data: bytes | bytearray) -> None:
        self._progress = False
        self._feeding = size = len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._should_upgrade():
                self._upgrade(data[upgrade.args[0] :])
                return
        except httptools.HttpParserError:
            fault, self._fault = self._fault, None
            if fault is None:
                self._edge.count_malformed("requests")
                fault = Problem(400, "BAD_REQUEST", "this is not valid HTTP")
            self._refuse(fault)
            return
        if self._progress:
            self._fed = 0
            if self._in_head and not self._begun and not self.pipeline and not self._charged:
                return  # a whole request, as they mostly are
        else:
            self._fed += size
        self._look_at_parts()

    def _look_at_parts(self) -> None:
        """Hold a request that has not come to its end to the limits."""
        if self._fed > self._head_bytes or (
            self.headers is not None and len(self.headers) > self._most_headers
        ):
            self._refuse(self._too_large())
            return
        if self._in_head and (self._fed or self._begun) and self._deadline is None:
            self._set_deadline(self._limits.head_seconds, self._head_is_late)
        self._look_at_memory()

    def _look_at_memory(self) -> None:
        """Count what is held for requests that nobody reads yet; refuse the client if all hold too much."""
        held = self._fed + (len(self.cycle.body) if self.cycle is not None else 0) + self._queued_bytes()
        answering = self._answering if self._is_answering() else None
        if answering is not None:
            held += _head_bytes(answering)
        if held != self._charged:
            self._charge(held)
            over = self._edge.buffered > self._edge.buffered_bytes and held > 2 * REQUEST_BYTES
            if over and not self._is_asked_for_body():
                self._edge.refuse("buffered", "too much is being received at once; clients are refused")
                if answering is not None and (self._in_head or self.pipeline or answering.response_started):
                    self.transport.abort()  # its requests would be kept until it reads what is sent to it
                else:
                    self._refuse(overloaded("too much is being received; try again in a moment"))

    def _is_asked_for_body(self) -> bool:
        """Say whether what arrives is the body that somebody waits for, who has been let in."""
        cycle = self.cycle
        return self.flow.asked and not self.pipeline and cycle is not None and cycle.more_body

    def _charge(self, held: int) -> None:
        self._edge.buffered += held - self._charged
        self._charged = held

    def _upgrade(self, more: bytes | bytearray) -> None:
        if not self._is_answering():
            self.handle_websocket_upgrade(more)
            return
        self._in_head = True
        self._refuse(Problem(400, "BAD_REQUEST", "a WebSocket cannot be opened behind unanswered requests"))

    def handle_websocket_upgrade(self, more: bytes | bytearray = b"") -> None:
        """Hand the connection over to the WebSocket protocol: the request once more, and what follows it."""
        assert self.guard is not None
        assert self.ws_protocol_class is not None
        self.connections.discard(self)
        self._set_deadline(None)
        self._charge(0)
        head = [self.scope["method"].encode(), b" ", self.url, b" HTTP/1.1\r\n"]
        for name, value in self.scope["headers"]:
            head += (name, b": ", value, b"\r\n")
        head.append(b"\r\n")
        sockets: Any = self.ws_protocol_class
        protocol = sockets(config=self.config, server_state=self.server_state, app_state=self.app_state)
        protocol.edge, protocol.guard = self._edge, self.guard
        self.guard.hand_over(protocol)
        protocol.connection_made(self.transport)
        protocol.data_received(b"".join(head))
        if more:
            protocol.data_received(more)
        self._leave()
        self.parser = None  # type: ignore[assignment]  # as after the end of a connection

    def _should_upgrade(self) -> bool:
        return self.scope["method"] == "GET" and super()._should_upgrade()  # RFC 6455, section 4.1

    def _unsupported_upgrade_warning(self) -> None:
        """Nothing is wrong: the request is answered as if it had asked for no upgrade."""

    # -- the parser's callbacks ----------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.current = None
        self._begun = True
        self.flow.asked = False

    def on_headers_complete(self) -> None:
        if len(self.headers) > self._most_headers or (
            self._fed + self._feeding > self._head_bytes and self._head_size() > self._head_bytes
        ):
            self._fault = self._too_large()
            raise self._fault
        before = self.cycle
        super().on_headers_complete()
        self._in_head = self._begun = False
        self._progress = True
        if self._deadline is not None:
            self._set_deadline(None)
            if self.guard is not None:
                self.guard.used()
        if self.cycle is not before:
            self.headers = []  # for trailers, which nobody asks for
            if self.pipeline:
                self._look_at_queue()

    def on_body(self, body: bytes) -> None:
        self._progress = True
        cycle = self.cycle
        if cycle.response_complete or cycle.disconnected:
            return
        cycle.body += body
        if len(cycle.body) > (BODY_ASKED if self.flow.asked else BODY_AHEAD):
            self.flow.pause_reading()
        cycle.message_event.set()

    def on_message_complete(self) -> None:
        self._in_head = self._progress = True
        cycle = self.cycle
        if cycle is None or (self.parser.should_upgrade() and self._should_upgrade()):
            return
        if not cycle.response_complete:
            cycle.more_body = False
            cycle.message_event.set()
        elif self._deadline is not None:  # the body has ended behind its answer: the next head may come
            self._set_deadline(None)
            self._unset_keepalive_if_required()
            last = self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, last)

    def _head_size(self) -> int:
        return len(self.url) + sum([len(name) + len(value) + 4 for name, value in self.headers])

    def _too_large(self) -> Problem:
        limits = self._limits
        told = f"a request's head has at most {limits.head_bytes:,} bytes and {limits.headers} headers"
        return Problem(431, "HEAD_TOO_LARGE", told)

    # -- the queue of requests -----------------------------------------------------------------------

    def _queued_bytes(self) -> int:
        """About the bytes of the requests that wait for the answers before them."""
        if not self.pipeline:
            return 0
        return sum([REQUEST_BYTES + len(cycle.body) + _head_bytes(cycle) for cycle, _ in self.pipeline])

    def _is_full(self) -> bool:
        waiting = len(self.pipeline)
        return waiting >= self._pipelined or (waiting > 0 and self._queued_bytes() > QUEUED_BYTES)

    def _look_at_queue(self) -> None:
        """Read on while there is room for a request to wait, so that a client that leaves is noticed."""
        full = bool(self._waiting) or self._is_full()
        if full:
            self._edge.held += not self.flow.full
            self.flow.full = True
            self.flow.pause_reading()
        elif self.flow.full or self.pipeline:
            self.flow.full = False
            if self.cycle is None or len(self.cycle.body) <= BODY_AHEAD:
                asked = self.flow.asked
                self.flow.resume_reading()
                self.flow.asked = asked

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        connection = Connection(self)
        self._answered = connection
        cycle.scope["extensions"] = {CONNECTION: connection}  # type: ignore[dict-item]  # typed for dicts only
        if cycle is self.cycle:
            self.current = connection
        super()._start_asgi_task(cycle, app)

    def on_response_complete(self) -> None:
        super().on_response_complete()  # begins the next one
        if self.transport.is_closing():
            if self.guard is not None:
                self.guard.watch_unread()
            return
        if self._waiting or self.flow.full:
            self._feed_waiting()
        cycle = self.cycle
        if cycle is not None and cycle.response_complete:
            self._answering = self._answered = None
            if cycle.more_body:
                cycle.body = bytearray()
                self._set_deadline(self._limits.body_seconds, self._body_is_late)
            elif not self._begun:  # the half of what an idle connection would hold
                self.cycle = self.scope = self.headers = self.current = None  # type: ignore[assignment]
            if self._charged:
                self._look_at_memory()

    # -- the end of a connection ---------------------------------------------------------------------

    def timeout_keep_alive_handler(self) -> None:
        if self.transport.get_write_buffer_size() and self.guard is not None:
            self.guard.watch_unread()  # it has not taken its last answer, and closing would wait for that
            again = self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, again)
        else:
            self._edge.idle += not self.transport.is_closing()
            super().timeout_keep_alive_handler()

    def _set_deadline(self, seconds: float | None, call: Callable[[], None] | None = None) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
        self._deadline = None if seconds is None or call is None else self.loop.call_later(seconds, call)

    def _head_is_late(self) -> None:
        self._deadline = None
        if self.transport.is_closing():
            return
        if self._is_answering():  # what is being sent goes on, and the head may come behind it
            self._set_deadline(self._limits.head_seconds, self._head_is_late)
            return
        self._edge.refuse("head", "connections whose request does not arrive in time are closed")
        if self._begun or self._fed:
            seconds = f"{self._limits.head_seconds:g} s"
            self._refuse(Problem(408, "HEAD_TIMEOUT", f"the request's head did not arrive within {seconds}"))
        else:
            self.transport.close()

    def _body_is_late(self) -> None:
        """The request was answered, and its body still comes."""
        self._deadline = None
        self._edge.refuse("pending", "connections whose body does not end are closed")
        self.transport.abort()

    def _is_answering(self) -> bool:
        return self._answering is not None and not self._answering.response_complete

    def _refuse(self, problem: Problem) -> None:
        """Answer a request that cannot be read, behind the answers that are due, and end the connection."""
        self._refused = True
        self._waiting = b""
        self.parser = None  # type: ignore[assignment]  # it holds what it has read of a head; nothing follows
        self._charge(0)
        if problem.status == 431:
            self._edge.refuse("head", "requests with a head that is too large are refused")
        cycle, in_head = self.cycle, self._in_head or self._begun
        if self._is_answering():
            if in_head:  # the one that is refused is not among those to be answered
                cycle.keep_alive = False
                return
            cycle.disconnected = True
            cycle.message_event.set()
            if cycle is not self._answering or cycle.response_started:
                self.transport.close()
                return
        elif not in_head:  # it was answered before its body
            self.transport.close()
            return
        self._answer_and_end(problem)

    def _answer_and_end(self, problem: Problem) -> None:
        body = problem_body(problem)
        headers = {"content-type": PROBLEM_JSON, "content-length": len(body), "connection": "close"}
        lines = [f"{name.lower()}: {value}\r\n" for name, value in {**headers, **problem.headers}.items()]
        head = STATUS_LINE[problem.status] + "".join(lines).encode()
        self.transport.write(head + b"\r\n" + body)
        self._unset_keepalive_if_required()
        self.flow.full = False
        self.flow.resume_reading()
        self._set_deadline(LINGER_SECONDS, self.transport.abort)
        self.transport.write_eof()


def _head_bytes(cycle: RequestResponseCycle) -> int:
    """Return about how many bytes a request's head takes: its URL is kept as a whole and in parts."""
    scope = cycle.scope
    url = 3 * len(scope["raw_path"]) + 2 * len(scope["query_string"])
    return url + sum([len(name) + len(value) for name, value in scope["headers"]])


class Connection:
    """The connection of one request; see `dockrion_runtime.connection`.

    It stands in the request's scope and does not hold it: in a circle, what belongs to each request would
    wait for the garbage collector.
    """

    __slots__ = ("_lost", "_protocol", "_when_lost")

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self._lost = False
        self._when_lost: Callable[[], None] | None = None

    def _cycle(self) -> RequestResponseCycle | None:
        """Return what answers this request; None once its client has sent the next one, or has gone."""
        protocol = self._protocol
        return protocol.cycle if protocol.current is self else None

    def abort(self) -> None:
        """Drop the connection, whatever is still to be sent.

        Raising in a response leaves the socket open where the reader has stopped reading, because
        the transport waits for it to take what is buffered.
        """
        self._protocol.transport.abort()

    def drop_unread(self) -> None:
        """Drop the connection because its client does not read, and count that, once."""
        if self._protocol.guard is not None:
            self._protocol.guard.drop_unread()

    @property
    def lost(self) -> bool:
        """Whether the client has gone."""
        return self._lost

    def when_lost(self, call: Callable[[], None] | None) -> None:
        """Have something called once the client has gone; None takes that back."""
        self._when_lost = call

    def lose(self) -> None:
        """Say that the client has gone."""
        self._lost = True
        if self._when_lost is not None:
            self._when_lost()

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> bool:
        """Send a whole answer now, as ``send`` would; False where only ``send`` can.

        Head and body are one write: as two they are two packets, and cost the kernel twice.
        """
        protocol, cycle = self._protocol, self._cycle()
        if (
            cycle is None
            or cycle.disconnected
            or cycle.response_started
            or not cycle.keep_alive
            or cycle.waiting_for_100_continue
            or protocol.flow.write_paused
            or cycle.scope["method"] == "HEAD"
        ):
            return False
        cycle.response_started = cycle.response_complete = True
        parts = [STATUS_LINE[status]]
        for name, value in (*cycle.default_headers, *headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"\r\n", body)
        protocol.transport.write(b"".join(parts))
        cycle.message_event.set()
        cycle.on_response()
        return True

    def take_body(self) -> bytes | None:
        """Return the request's body, once, where all of it is there; None where it has to be received."""
        cycle = self._cycle()
        if cycle is None or cycle.more_body or cycle.disconnected:
            return None
        body = bytes(cycle.body)
        cycle.body = bytearray()
        self._protocol.flow.resume_reading()  # a large one has stopped it, and a disconnect would not be seen
        return body

    def write(self, body: bytes) -> bool:
        """Send a part of a streamed body now, as ``send`` would; False where only ``send`` can.

        That is where the reader is behind or gone, and where the body has no chunks.
        """
        protocol, cycle = self._protocol, self._cycle()
        if (
            cycle is None
            or cycle.disconnected
            or cycle.response_complete
            or not cycle.chunked_encoding
            or protocol.flow.write_paused
        ):
            return False
        protocol.transport.write(b"%x\r\n%b\r\n" % (len(body), body))
        return True


class SocketProtocol(WebSocketsSansIOProtocol):
    """uvicorn's WebSocket protocol, with limits, its connection's ``abort`` in the scope, and an end in time.

    A transport that is closed waits for its reader to take what is buffered: where that has stopped
    reading, for ever.
    """

    edge: Edge
    guard: Guard | None = None
    awaiting = False
    _ending: asyncio.TimerHandle | None = None
    _held = b""  # received and not parsed: the handshake is not decided, or a message waits, or a pong does
    _lost = False
    _refused = False  # what follows is read and dropped, so that the client gets to see why
    _choked = False  # the client sends pings and does not read what answers them

    @property
    def reading(self) -> bool:
        return not self.read_paused and not self._choked and not self._held

    async def run_asgi(self) -> None:
        self.scope["extensions"][line.ABORT] = self._abort  # type: ignore[assignment]
        try:
            await super().run_asgi()
        finally:
            self._end_in_time()

    # -- what arrives --------------------------------------------------------------------------------

    def data_received(self, data: bytes | bytearray) -> None:
        if self._refused:
            return
        if not self.handshake_initiated:
            super().data_received(bytes(data))
            if not self.handshake_initiated:  # the library has refused it by itself
                self.edge.count_malformed("requests for a WebSocket")
                self._refused = self.handshake_complete = self.close_sent = True
                told = b"".join(self.conn.data_to_send())  # it has no words for a handshake with a body
                self.transport.write(
                    told or STATUS_LINE[400] + b"content-length: 0\r\nconnection: close\r\n\r\n"
                )
                self.transport.write_eof()
                self._ending = self.loop.call_later(LINGER_SECONDS, self.transport.abort)
        elif not self.transport.is_closing():
            self._held += data
            self._parse_held()

    def _parse_held(self) -> None:
        """Parse frames until one is a message that waits, or the time is over; none before the handshake."""
        data, at = self._held, 0
        until = self.loop.time() + PARSING_SECONDS
        while at < len(data) and self.handshake_complete and not self.transport.is_closing():
            if self.read_paused or self._choked:
                break
            if self.loop.time() > until:
                self.loop.call_soon(self._go_on)
                break
            super().data_received(data[at : at + FRAME_BYTES])
            at += FRAME_BYTES
        self._held = b"" if self.transport.is_closing() else data[at:]
        if self._held and not self.transport.is_closing():
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Parse what is held, and read more where nothing is left of it."""
        if self._held and not self.transport.is_closing():
            self._parse_held()
            if self.reading and not self.transport.is_closing():
                self.transport.resume_reading()

    def handle_cont(self, event: Frame) -> None:
        """Keep a message's fragments in one piece: however many there are, it costs its bytes."""
        if not isinstance(self.frames[0], bytearray):
            self.frames[0] = bytearray(self.frames[0])  # type: ignore[call-overload]  # or each would copy all
        self.frames[0] += event.data
        if event.fin:
            self.send_receive_event_to_app()

    def send_receive_event_to_app(self) -> None:
        if self.curr_msg_data_type == "text" and not self.close_sent:
            try:
                self.frames[0].decode()
            except UnicodeDecodeError:
                self.conn.fail(1007)
                self.handle_parser_exception()
                return
        super().send_receive_event_to_app()

    def handle_ping(self) -> None:
        super().handle_ping()
        if not self._choked and self.transport.get_write_buffer_size() > WRITE_BYTES:
            self._choked = True
            self.transport.pause_reading()

    def resume_writing(self) -> None:
        super().resume_writing()
        if self._choked:
            self._choked = False
            self._go_on()
            if self.reading and not self.transport.is_closing():
                self.transport.resume_reading()

    def handle_parser_exception(self) -> None:
        """Close with the code of what was wrong."""
        if self.conn.close_sent is not None and self.conn.close_sent.code == 1009:
            self.edge.refuse("message", "WebSocket messages that are too large are refused")
        else:
            self.edge.count_malformed("WebSocket frames")
        super().handle_parser_exception()

    async def receive(self) -> ASGIReceiveEvent:
        message = await super().receive()
        if self._held and not self.transport.is_closing():
            self.transport.pause_reading()  # the line above has resumed it
            await asyncio.sleep(0)  # messages that are there already must not keep the loop to themselves
            self._go_on()
        return message

    # -- what is sent --------------------------------------------------------------------------------

    async def send(self, message: ASGISendEvent) -> None:
        if message["type"] == "websocket.http.response.body" and self.initial_response is not None:
            self._send_refusal(message["body"], message.get("more_body", False))
        else:
            await super().send(message)
        if message["type"] != "websocket.send":
            self._go_on()

    def _send_refusal(self, body: bytes, more_body: bool) -> None:
        """Answer the handshake with a response. uvicorn before 0.52.1 sends some of its headers twice."""
        assert self.initial_response is not None
        status, given, before = self.initial_response
        body = before + body
        self.initial_response = (status, given, body)
        if more_body:
            return
        self.handshake_complete = True  # or uvicorn logs each refusal as a fault of ours
        self.close_sent = True
        self.queue.put_nowait({"type": "websocket.disconnect", "code": 1006})
        headers = Headers(given)
        headers.setdefault("Date", formatdate(usegmt=True))
        headers.setdefault("Connection", "close")
        headers.setdefault("Content-Length", str(len(body)))
        self.conn.send_response(Response(status, title_of(status), headers, body))
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.transport.close()

    def keepalive_timeout(self) -> None:
        self.edge.refuse("silent", "WebSockets that answer no ping are closed")
        super().keepalive_timeout()
        self._end_in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._lost = True
        if self._ending is not None:
            self._ending.cancel()
        self.guard = None
        # What is left of a socket waits for the garbage collector, and data would wait with it.
        self._held = b""
        self.frames = []
        self.conn.reader.discard()

    def _end_in_time(self) -> None:
        if self._ending is None and not self._lost:
            self._ending = self.loop.call_later(self.edge.limits.unread_seconds, self._abort, True)

    def _abort(self, unread: bool = False) -> None:
        """Drop the connection, perhaps because its client does not read."""
        if unread and self.guard is not None:
            self.guard.drop_unread()
        else:
            self.transport.abort()


def guarded(edge: Edge) -> Callable[..., asyncio.BufferedProtocol]:
    """Return what makes the protocol of a new connection, as uvicorn calls it."""

    def make(
        config: uvicorn.Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
    ) -> Guard:
        options = {"config": config, "server_state": server_state, "app_state": app_state, "_loop": _loop}
        return Guard(edge, lambda guard: Protocol(guard, **options))

    return make
