"""The process: uvicorn, its signals, and an end in time."""

from __future__ import annotations

import asyncio
import gc
import logging
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Final

import uvicorn
from litestar import Litestar
from litestar.types import ASGIApp

from .edge import Edge
from .forks import ForkSafeServer, keep_from_children
from .process import INTERRUPTED, LAST_SECONDS, Ending, handling, held_by, leave
from .service import Service
from .uvicorn_hooks import SocketProtocol, guarded

SETTLING_SECONDS: Final = 0.05
"""How long responses that are complete get to be taken off the books before anything is said."""

CLOSING_SECONDS: Final = 0.3
"""How long uvicorn waits for connections to close once everything has been told to end."""

log = logging.getLogger("dockrion")


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

    async def on_tick(self, counter: int) -> bool:
        """Look after the descriptors once a second; uvicorn calls this ten times in each."""
        if counter % 10 == 0:
            self._service.edge.look_at_descriptors()
        return await super().on_tick(counter)

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
                what = "1 execution has" if executing == 1 else f"{executing} executions have"
                log.info("shutting down: %s up to %g s to end%s", what, grace, hint)
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


def server_config(app: ASGIApp, edge: Edge | None = None, **options: Any) -> uvicorn.Config:
    """Return uvicorn's configuration for an app of ours; ``options`` are uvicorn's own.

    Its connections count against ``edge``, or else against limits of their own.
    """
    edge = Edge() if edge is None else edge
    return uvicorn.Config(
        app,
        http=guarded(edge),  # type: ignore[arg-type]  # uvicorn calls it, and does not care what it is
        lifespan="on",
        server_header=False,
        proxy_headers=False,
        ws=SocketProtocol,
        ws_max_size=edge.message_bytes,
        ws_per_message_deflate=edge.limits.compression,
        ws_ping_interval=edge.limits.ping_seconds,
        ws_ping_timeout=edge.limits.ping_seconds,
        timeout_keep_alive=edge.limits.idle_seconds,  # type: ignore[arg-type]  # any number of seconds will do
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
    config = server_config(app, service.edge)
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
