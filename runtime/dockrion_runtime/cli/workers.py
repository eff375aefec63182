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
from types import FrameType
from typing import Any, Final

import typer

from ..output import allow_waiting, unblocked_output
from ..process import INTERRUPTED, LAST_SECONDS, handling
from .agent import read_dockfile
from .failure import FAILED, Teller, told
from .logs import log_to_stderr
from .serving import Settings, announce, listen, needs_shared_store, serve_agent

log = logging.getLogger("dockrion")

PAUSE_SECONDS: Final = 1.0
"""The least time between two starts of the same worker."""

MARGIN_SECONDS: Final = 0.5
"""How much longer than it allows itself a worker may take to end before it is killed."""

HINT_SECONDS: Final = 0.3
"""How long workers that have nothing to wait for take to end."""

LOOK_SECONDS: Final = 0.5
"""How long one wait lasts: where a wait is not interrupted by signals, it must return by itself."""

MAX_SIGNALS: Final = 16

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
    with unblocked_output():
        shown = log_to_stderr(teller)
        dockfile = read_dockfile(settings.path, settings.env_file, teller)
        shown.show_as(dockfile.observability.logs)
        allow_waiting(dockfile.expose.limits.output_bytes)
        if dockfile.streaming.async_runs:
            needs_shared_store(dockfile, "workers share their runs")
        expose = dockfile.expose
        sock = listen(
            expose.host if settings.host is None else settings.host,
            expose.port if settings.port is None else settings.port,
        )
        with sock:
            supervisor = _Supervisor(count, settings, sock)
            return supervisor.run(expose.shutdown_grace + LAST_SECONDS + MARGIN_SECONDS)


class _Supervisor:
    def __init__(self, count: int, settings: Settings, sock: socket.socket) -> None:
        self._count = count
        self._settings = settings
        self._sock = sock
        self._workers: list[_Worker] = []
        self._announced = False
        self._signals: list[int] = []
        self._code = 0

    def run(self, patience: float) -> int:
        woken, waker = _spawn.Pipe(duplex=False)  # a pipe is what Windows can wait for, too

        def hear(sig: int, _: FrameType | None) -> None:
            if len(self._signals) < MAX_SIGNALS:  # more say nothing new, and the pipe would fill
                self._signals.append(sig)
                waker.send_bytes(b"!")

        with woken, waker, handling(hear):
            self._workers = [self._start(index) for index in range(self._count)]
            while self._look_after(wait([woken, *self._things()], LOOK_SECONDS), woken):
                pass
            self._end(patience, woken)
        return self._code

    def _things(self) -> list[Any]:
        links = [worker.link for worker in self._workers if not worker.started]
        return [*links, *(worker.process.sentinel for worker in self._workers)]

    def _look_after(self, ready: list[Any], woken: Any) -> bool:
        """See to what has happened; False where all is to end."""
        if woken in ready:
            woken.recv_bytes()
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

    def _end(self, patience: float, woken: Any) -> None:
        """Tell the workers to end, again where a signal is repeated, and wait for them in time."""
        deadline = time.monotonic() + patience
        for worker in self._workers:
            worker.process.terminate()
        hint_at = time.monotonic() + HINT_SECONDS if self._signals[:1] == [signal.SIGINT] else float("inf")
        while running := [worker for worker in self._workers if worker.process.exitcode is None]:
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= hint_at:
                log.info("shutting down; press Ctrl-C again to stop now")
                hint_at = float("inf")
            sentinels = [worker.process.sentinel for worker in running]
            if woken in wait([woken, *sentinels], min(LOOK_SECONDS, deadline - now)):
                woken.recv_bytes()
                self._code = 128 + self._signals[-1]
                for worker in running:
                    worker.process.terminate()
        for worker in self._workers:
            if worker.process.exitcode is None:
                log.warning("worker %s did not end in time; killing it", worker.process.pid)
                worker.process.kill()
            worker.process.join()
        if self._code == INTERRUPTED:
            raise KeyboardInterrupt


def _ending(worker: _Worker) -> str:
    code = worker.process.exitcode or 0
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


def _serve(settings: Settings, sock: socket.socket, link: Connection) -> None:
    """Serve, in a process of its own, until the supervisor says so or is gone."""
    if hasattr(os, "setpgrp"):
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
