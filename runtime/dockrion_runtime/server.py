"""The process: uvicorn, its signals, and an end in time."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp
from uvicorn._types import ASGI3Application, ASGISendEvent
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from .connection import CONNECTION
from .forks import ForkSafeServer, keep_from_children
from .process import INTERRUPTED, LAST_SECONDS, Ending, handling, held_by, leave
from .service import Service
from .wires import line

SETTLING_SECONDS: Final = 0.05
"""How long responses that are complete get to be taken off the books before anything is said."""

CLOSING_SECONDS: Final = 0.3
"""How long uvicorn waits for connections to close once everything has been told to end."""

log = logging.getLogger("dockrion")


class Protocol(HttpToolsProtocol):
    """uvicorn's HTTP protocol, with a `Connection` in the scope of each request.

    Of a connection that is lost uvicorn tells the request that came last, which, where requests are sent
    without waiting for answers, is not the one that is being answered: its agent would run on for nobody.
    """

    _answering: RequestResponseCycle | None = None
    current: Connection | None = None
    """That of the request in ``cycle``; None once another is being read, or waits behind it."""

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.current = None

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self._answering = cycle
        connection = Connection(self)
        cycle.scope["extensions"] = {CONNECTION: connection}  # type: ignore[dict-item]  # typed for dicts only
        if cycle is self.cycle:
            self.current = connection
        super()._start_asgi_task(cycle, app)

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        cycle = self._answering
        if cycle is not None and not cycle.response_complete:
            cycle.disconnected = True
            cycle.message_event.set()
        # They lead back to here: in a circle, all of them would wait for the garbage collector.
        self._answering = self.current = None
        self.cycle = self.scope = None  # type: ignore[assignment]  # as before a request

    def _should_upgrade(self) -> bool:
        return self.scope["method"] == "GET" and super()._should_upgrade()  # RFC 6455, section 4.1


class Connection:
    """The connection of one request; see `dockrion_runtime.connection`.

    It stands in the request's scope and does not hold it: in a circle, what belongs to each request would
    wait for the garbage collector.
    """

    __slots__ = ("_protocol",)

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol

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
    """uvicorn's WebSocket protocol, with its connection's ``abort`` in the scope, and an end in time.

    A transport that is closed waits for its reader to take what is buffered: where that has stopped
    reading, for ever.
    """

    _ending: asyncio.TimerHandle | None = None

    async def run_asgi(self) -> None:
        self.scope["extensions"][line.ABORT] = self.transport.abort  # type: ignore[assignment]
        try:
            await super().run_asgi()
        finally:
            self._end_in_time()

    async def send(self, message: ASGISendEvent) -> None:
        await super().send(message)
        if message["type"] == "websocket.http.response.body" and not message.get("more_body", False):
            self.handshake_complete = True  # or uvicorn logs each refusal as a fault of ours

    def keepalive_timeout(self) -> None:
        super().keepalive_timeout()
        self._end_in_time()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        if self._ending is not None:
            self._ending.cancel()

    def _end_in_time(self) -> None:
        if self._ending is None and not self.disconnected:
            self._ending = self.loop.call_later(line.SEND_DEADLINE, self.transport.abort)


class Server(ForkSafeServer):
    """uvicorn's server with a drain: the first signal refuses new work and lets streams end.

    ``ending``, where given, ends the process in time once there was a signal. ``code`` is the exit code.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        service: Service,
        on_started: Callable[[], None] | None = None,
        ending: Ending | None = None,
    ) -> None:
        super().__init__(config)
        self._service = service
        self._on_started = on_started
        self._ending = ending
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._signal: int | None = None
        self.code: int = 0

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        self._loop = asyncio.get_running_loop()
        await super().startup(sockets)
        # What is loaded by now stays: full collections need not look at it again, and there are
        # hundreds of thousands of objects in an agent's libraries.
        gc.collect()
        gc.freeze()
        # A graph makes thousands of objects in each execution and drops them again: looking for cycles
        # after every few hundred of them is a twentieth of the work.
        gc.set_threshold(10_000, 20, 20)
        if self._on_started is not None:
            self._on_started()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        with handling(self.handle_exit):
            yield

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends the process without waiting, a third one at once."""
        grace = self._service.dockfile.expose.shutdown_grace
        if self._signal is None:
            self._signal = sig
            self._end_within(grace + LAST_SECONDS)
            if self._ending is not None:
                self._ending.repeated(sig)
            if self._loop is None:
                self.should_exit = True
                return
            self._service.draining = True
            self._loop.call_soon_threadsafe(self._begin_to_drain)
        elif self._ending is None or self._ending.repeated(sig):
            self._end_within(0.0 if self.code else 2 * LAST_SECONDS, 128 + sig)
            self.code = 128 + sig
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._begin_to_drain, 0.0)

    def _end_within(self, seconds: float, code: int = 0) -> None:
        if self._ending is not None:
            self._ending.within(seconds, code)

    def _begin_to_drain(self, grace: float | None = None) -> None:
        """Drain, within ``grace`` seconds in place of the Dockfile's; a drain under way is replaced."""
        assert self._loop is not None
        if self._draining is not None:
            self._draining.cancel()
        self._draining = self._loop.create_task(self._drain(grace))

    async def _drain(self, grace: float | None) -> None:
        if grace is None:
            grace = self._service.dockfile.expose.shutdown_grace
            await self._service.idle_within(SETTLING_SECONDS)
            if executing := self._service.executing:
                hint = "; press Ctrl-C again to stop now" if self._signal == signal.SIGINT else ""
                log.info("shutting down: %d executions have up to %g s to end%s", executing, grace, hint)
        try:
            await self._service.drain(grace)
        except Exception:
            log.exception("the end of what is executed failed")
        self.should_exit = True


def bind(host: str, port: int) -> socket.socket:
    """Return a listening socket. Raises `OSError` with a message that says where it failed."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
        sock.listen(2048)
    except OSError as error:
        sock.close()
        raise OSError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    keep_from_children(sock)
    return sock


def server_config(app: ASGIApp, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for an app of ours; ``options`` are uvicorn's own."""
    return uvicorn.Config(
        app,
        http=Protocol,
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        ws=SocketProtocol,
        timeout_graceful_shutdown=CLOSING_SECONDS,  # type: ignore[arg-type]  # any number of seconds will do
        log_config=None,
        access_log=False,
        reset_contextvars=True,  # or one request's ids are in the context of the next on its connection
        **options,
    )


def serve(app: Litestar, sock: socket.socket, *, on_started: Callable[[], None] | None = None) -> int:
    """Serve on ``sock`` until a signal comes; return the exit code.

    ``on_started`` is called once requests are answered. Raises what kept the app from starting. The
    process ends even where cancelled code holds threads or tasks that nobody can stop.
    """
    service: Service = app.state.service
    config = server_config(app, ws_max_size=service.dockfile.expose.max_body_bytes)
    ending = Ending()
    server = Server(config, service, on_started, ending)
    keep_from_children(sock)  # it may come from another process
    with asyncio.Runner(loop_factory=server.config.get_loop_factory()) as runner:
        try:
            runner.run(server.serve(sockets=[sock]))
        except SystemExit:
            if app.state.startup_error is not None:
                raise app.state.startup_error from None
            raise
        ending.last(server.code)
        held = held_by(runner)
        if held:
            log.warning("%s; they end with the process", held)
            leave(server.code)
    if server.code == INTERRUPTED:
        raise KeyboardInterrupt
    return server.code
