"""Serving one agent: load it, listen, say where."""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dockrion_sdk import Dockfile

from ..app import create_app
from ..output import allow_waiting, unblocked_output
from ..server import bind, serve
from ..service import Service
from .agent import not_started, read_dockfile
from .announce import announcement, url
from .failure import Failure, Teller
from .logs import log_to_stderr
from .waiting import waiting


@dataclass(frozen=True)
class Settings:
    """What `dockrion run` was told; ``host``, ``port`` and ``playground`` go before those of the Dockfile.

    ``executing`` says whether it executes the runs it accepts. On ``metrics_port`` the process is watched.
    ``workers`` is the number of processes that serve.
    """

    path: Path
    env_file: Path | None = None
    host: str | None = None
    port: int | None = None
    verbose: bool = False
    executing: bool = True
    playground: bool | None = None
    metrics_port: int | None = None
    workers: int = 1


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
    with unblocked_output():
        log = log_to_stderr(teller)
        dockfile = _dockfile_for(settings, grace, teller)
        log.show_as(dockfile.observability.logs)
        allow_waiting(dockfile.expose.limits.output_bytes)
        expose = dockfile.expose
        monitor = watched(dockfile, expose.host, settings.metrics_port)
        with waiting("loading the agent"):
            app = create_app(dockfile, executing=settings.executing, monitor=monitor)
        sock = listening or listen(expose.host, expose.port)

        def started() -> None:
            log.starting = False
            text = announcement(app, expose.host, sock.getsockname()[1])
            note = memory_note(app.state.service, dockfile) if settings.workers > 1 else None
            text = "\n".join((text, *([f"  warning {note}"] if note else [])))
            if on_started is not None:
                on_started(text)
            else:
                announce("\n".join((text, *metrics_line(expose.host, monitor))))

        with sock:
            try:
                return serve(app, sock, on_started=started)
            except Exception as error:
                if error is app.state.startup_error:
                    raise not_started(error) from error
                raise


def _dockfile_for(settings: Settings, grace: float | None, teller: Teller) -> Dockfile:
    """Return the Dockfile as the command line wants it."""
    dockfile = read_dockfile(settings.path, settings.env_file, teller)
    expose = dockfile.expose
    told = {"host": settings.host, "port": settings.port, "playground": settings.playground}
    changed: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if grace is not None:
        changed["shutdown_grace"] = min(grace, expose.shutdown_grace)
    dockfile = dockfile.model_copy(update={"expose": expose.model_copy(update=changed)})
    if not settings.executing:
        needs_shared_store(dockfile, "--no-executor leaves runs to other processes")
    return dockfile


def memory_note(service: Service, dockfile: Dockfile) -> str | None:
    """Say that conversations are kept in the memory of one process, where they are."""
    if not service.agent.keeps_threads_in_memory:
        return None
    return (
        f"{dockfile.agent.name} keeps conversations in the memory of each process: another process does not "
        "know them, and its end forgets them; give the graph a checkpointer that they share"
    )


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
