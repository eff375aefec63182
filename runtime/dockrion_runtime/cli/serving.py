"""Serving one agent: load it, listen, say where."""

from __future__ import annotations

import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from dockrion_sdk import Dockfile

from ..app import create_app
from ..server import bind, serve
from .agent import not_started, read_dockfile
from .announce import announcement, url
from .failure import Failure, Teller
from .logs import log_to_stderr
from .waiting import waiting


@dataclass(frozen=True)
class Settings:
    """What `dockrion run` was told; ``host``, ``port`` and ``playground`` go before those of the Dockfile.

    ``executing`` says whether it executes the runs it accepts. On ``metrics_port`` the process is watched.
    """

    path: Path
    env_file: Path | None = None
    host: str | None = None
    port: int | None = None
    verbose: bool = False
    executing: bool = True
    playground: bool | None = None
    metrics_port: int | None = None


def serve_agent(
    settings: Settings,
    teller: Teller,
    *,
    listening: socket.socket | None = None,
    grace: float | None = None,
    on_started: Callable[[str], None] | None = None,
) -> int:
    """Serve until a signal comes and return the exit code.

    ``listening`` is a socket that is bound already; ``grace`` bounds the Dockfile's time for streams to
    end, in seconds. ``on_started`` gets the announcement, which is printed otherwise.
    """
    line_by_line()
    log = log_to_stderr(teller)
    dockfile = read_dockfile(settings.path, settings.env_file, teller)
    log.show_as(dockfile.observability.logs)
    expose = dockfile.expose
    if grace is not None:
        expose = expose.model_copy(update={"shutdown_grace": min(grace, expose.shutdown_grace)})
    if settings.playground is not None:
        expose = expose.model_copy(update={"playground": settings.playground})
    host = expose.host if settings.host is None else settings.host
    port = expose.port if settings.port is None else settings.port
    expose = expose.model_copy(update={"host": host, "port": port})
    dockfile = dockfile.model_copy(update={"expose": expose})
    if not settings.executing:
        needs_shared_store(dockfile, "--no-executor leaves runs to other processes")
    monitor = watched(dockfile, host, settings.metrics_port)
    with waiting("loading the agent"):
        app = create_app(dockfile, executing=settings.executing, monitor=monitor)
    sock = listening or listen(host, port)

    def started() -> None:
        log.starting = False
        text = announcement(app, host, sock.getsockname()[1])
        if on_started is not None:
            on_started(text)
        else:
            announce("\n".join((text, *metrics_line(host, monitor))))

    with sock:
        try:
            return serve(app, sock, on_started=started)
        except Exception as error:
            if error is app.state.startup_error:
                raise not_started(error) from error
            raise


def announce(text: str) -> None:
    """Print what is served."""
    print(text, "Ctrl-C stops it", sep="\n", flush=True)


def needs_shared_store(dockfile: Dockfile, why: str) -> None:
    """Raise `Failure` where runs are kept in the memory of one process."""
    if not dockfile.streaming.async_runs:
        raise Failure(f"{why}, and this Dockfile has none", "set streaming.async_runs: true")
    if dockfile.streaming.backend == "memory":
        raise Failure(
            f"{why}, and streaming.backend: memory keeps them in one", "set streaming.backend: redis"
        )


def listen(host: str, port: int, options: str = "--port or --host") -> socket.socket:
    """Return a listening socket. Raises `Failure`, which names the options that choose another."""
    try:
        return bind(host, port)
    except (OSError, UnicodeError) as error:
        raise Failure(str(error), f"choose another with {options}") from None


def watched(dockfile: Dockfile, host: str, port: int | None) -> socket.socket | None:
    """Return the socket on which the process is watched, if there is to be one. Raises `Failure`."""
    if port is None:
        return None
    if not dockfile.observability.metrics:
        raise Failure("observability.metrics is false, and --metrics-port is given", "leave one of them out")
    return listen(host, port, "--metrics-port")


def metrics_line(host: str, monitor: socket.socket | None) -> list[str]:
    """Say where the metrics of this process alone are, if anywhere."""
    return [] if monitor is None else [f"  metrics {url(host, monitor.getsockname()[1])}/metrics"]


def line_by_line() -> None:
    """Let what the agent prints appear at once, in a pipe too."""
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr]
