"""`dockrion run --workers N`: several processes that serve one socket, and one that looks after them."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from typing import Any, Final

import typer

from .agent import read_dockfile
from .failure import FAILED, Teller, told
from .logs import log_to_stderr
from .serving import Settings, announce, listen, needs_shared_store, serve_agent

log = logging.getLogger("dockrion")

PAUSE_SECONDS: Final = 1.0
"""The least time between two starts of the same worker."""

PATIENCE_SECONDS: Final = 5.0
"""How much longer than the grace period a worker may take to end before it is killed."""

_spawn = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    """A serving process; ``started`` once it has said so."""

    process: SpawnProcess
    link: Connection
    born: float
    started: bool = False


def serve_by(count: int, settings: Settings, teller: Teller) -> int:
    """Serve by ``count`` processes until a signal comes, and return the exit code.

    A process that dies is replaced; one that cannot even start ends them all.
    """
    shown = log_to_stderr(teller)
    dockfile = read_dockfile(settings.path, settings.env_file, teller)
    shown.show_as(dockfile.observability.logs)
    if dockfile.streaming.async_runs:
        needs_shared_store(dockfile, "workers share their runs")
    expose = dockfile.expose
    sock = listen(
        expose.host if settings.host is None else settings.host,
        expose.port if settings.port is None else settings.port,
    )
    with sock:
        return _Supervisor(count, settings, sock).run(expose.shutdown_grace + PATIENCE_SECONDS)


class _Supervisor:
    def __init__(self, count: int, settings: Settings, sock: socket.socket) -> None:
        self._count = count
        self._settings = settings
        self._sock = sock
        self._workers: list[_Worker] = []
        self._announced = False
        self._code = 0

    def run(self, patience: float) -> int:
        woken, waker = socket.socketpair()
        waker.setblocking(False)
        signal.set_wakeup_fd(waker.fileno())
        for sig in (signal.SIGINT, signal.SIGTERM):
            signal.signal(sig, lambda *_: None)
        with woken, waker:
            self._workers = [self._start(index) for index in range(self._count)]
            while self._look_after(wait([woken, *self._things()]), woken):
                pass
            self._end(patience)
        return self._code

    def _things(self) -> list[Any]:
        links = [worker.link for worker in self._workers if not worker.started]
        return [*links, *(worker.process.sentinel for worker in self._workers)]

    def _look_after(self, ready: list[Any], woken: socket.socket) -> bool:
        """See to what has happened; False where all is to end."""
        if woken in ready:
            return False
        for index, worker in enumerate(self._workers):
            if worker.link in ready and not worker.started:
                self._hear(worker)
            if worker.process.sentinel in ready:
                worker.process.join()
                if not worker.started:
                    self._code = worker.process.exitcode or FAILED
                    return False
                log.warning("worker %s ended (%s); starting another", worker.process.pid, _ending(worker))
                time.sleep(max(0.0, worker.born + PAUSE_SECONDS - time.monotonic()))
                self._workers[index] = self._start(index)
        return True

    def _hear(self, worker: _Worker) -> None:
        try:
            text = worker.link.recv()
        except EOFError:  # it has died, which its sentinel says too
            return
        worker.started = True
        if not self._announced:
            self._announced = True
            first = self._settings.metrics_port
            ports = (
                "" if first is None else f", with metrics on the ports {first} to {first + self._count - 1}"
            )
            announce(f"{text}\n  by {self._count} processes{ports}")

    def _start(self, index: int) -> _Worker:
        link, theirs = _spawn.Pipe()
        settings = self._settings
        if settings.metrics_port is not None:
            settings = replace(settings, metrics_port=settings.metrics_port + index)
        process = _spawn.Process(target=_serve, args=(settings, self._sock, theirs))
        process.start()
        theirs.close()
        return _Worker(process, link, time.monotonic())

    def _end(self, patience: float) -> None:
        deadline = time.monotonic() + patience
        for worker in self._workers:
            worker.process.terminate()
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                log.warning("worker %s did not end in time; killing it", worker.process.pid)
                worker.process.kill()
                worker.process.join()


def _ending(worker: _Worker) -> str:
    code = worker.process.exitcode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _serve(settings: Settings, sock: socket.socket, link: Connection) -> None:
    """Serve, in a process of its own, until the supervisor says so or is gone."""
    os.setpgrp()  # Ctrl-C is the supervisor's to hear
    threading.Thread(target=_end_with, args=(link,), daemon=True).start()
    try:
        with told(settings.verbose) as teller:
            code = serve_agent(settings, teller, listening=sock, on_started=link.send)
    except typer.Exit as failed:
        code = failed.exit_code
    sys.exit(code)


def _end_with(link: Connection) -> None:
    """End this process when the supervisor has gone without a word."""
    try:
        link.recv()
    except EOFError:
        os.kill(os.getpid(), signal.SIGTERM)
