"""What `dockrion worker` does: runs are executed, and nobody is served."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from contextlib import AsyncExitStack
from pathlib import Path
from types import FrameType

from dockrion_events import BackendUnavailable
from dockrion_sdk import Dockfile

from ..assembly import alive, assemble, watching
from ..auth import authenticator
from ..monitor import monitored
from ..output import allow_waiting, unblocked_output
from ..process import INTERRUPTED, LAST_SECONDS, Ending, handling, held_by, leave
from ..service import Service
from .agent import not_started, read_dockfile
from .failure import Teller
from .logs import log_to_stderr
from .serving import announce, memory_note, metrics_line, needs_shared_store, watched

log = logging.getLogger("dockrion")


def work(path: Path, env_file: Path | None, teller: Teller, metrics_port: int | None) -> int:
    """Execute runs until a signal comes and return the exit code.

    The process is watched on ``metrics_port`` where there is one.
    """
    with unblocked_output():
        shown = log_to_stderr(teller)
        dockfile = read_dockfile(path, env_file, teller)
        shown.show_as(dockfile.observability.logs)
        allow_waiting(dockfile.expose.limits.output_bytes)
        needs_shared_store(dockfile, "a worker executes the runs of other processes")
        return _Worker(dockfile).run(watched(dockfile, dockfile.expose.host, metrics_port))


class _Worker:
    """One process that executes runs, and its end in time."""

    def __init__(self, dockfile: Dockfile) -> None:
        self._dockfile = dockfile
        self._grace = dockfile.expose.shutdown_grace
        self._ending = Ending()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._now = asyncio.Event()
        self._signal: int | None = None
        self._code = 0

    def run(self, monitor: socket.socket | None) -> int:
        """Run to the end; the process ends even where cancelled code holds threads that nobody can stop."""
        with asyncio.Runner() as runner:
            runner.run(self._work(monitor))
            self._ending.last(self._code)
            if held_by(runner):
                leave(self._code)
        if self._code == INTERRUPTED:
            raise KeyboardInterrupt
        return self._code

    async def _work(self, monitor: socket.socket | None) -> None:
        dockfile = self._dockfile
        guard = authenticator(dockfile, os.environ)
        secrets = tuple(guard.secrets) if guard else ()  # they must not show in what agents say either
        service, runs = assemble(dockfile, os.environ, secrets=secrets)
        assert runs is not None
        assert runs.executor is not None
        self._loop = asyncio.get_running_loop()
        async with AsyncExitStack() as stack:
            stack.enter_context(handling(self._hear))
            try:
                await stack.enter_async_context(alive(service, runs))
            except BackendUnavailable:
                raise
            except Exception as error:
                raise not_started(error) from error
            stack.enter_context(watching(service, runs))
            if monitor is not None:
                await stack.enter_async_context(monitored(monitor, service, runs, guard))
            limit = dockfile.streaming.runs.max_concurrent
            lines = [f"{dockfile.agent.name}: executing up to {limit} runs at once"]
            if note := memory_note(service, dockfile):
                lines.append(f"  warning {note}")
            announce("\n".join((*lines, *metrics_line(dockfile.expose.host, monitor))))
            await self._stopped.wait()
            await self._drain(service)

    async def _drain(self, service: Service) -> None:
        service.draining = True
        if executing := service.executing:
            hint = "; press Ctrl-C again to stop now" if self._signal == signal.SIGINT else ""
            log.info("shutting down: %d runs have up to %g s to end%s", executing, self._grace, hint)
        draining = asyncio.create_task(service.drain(self._grace))
        hurrying = asyncio.create_task(self._now.wait())
        await asyncio.wait((draining, hurrying), return_when=asyncio.FIRST_COMPLETED)
        hurrying.cancel()
        draining.cancel()  # in a hurry, what is left is given up when the store is closed

    def _hear(self, sig: int, _: FrameType | None) -> None:
        """Take a signal: the first begins to drain, a second one hurries, a third one ends at once."""
        assert self._loop is not None
        if self._signal is None:
            self._signal = sig
            self._ending.repeated(sig)
            self._ending.within(self._grace + LAST_SECONDS)
            self._loop.call_soon_threadsafe(self._stopped.set)
        elif self._ending.repeated(sig):
            self._ending.within(0.0 if self._code else 2 * LAST_SECONDS, 128 + sig)
            self._code = 128 + sig
            self._loop.call_soon_threadsafe(self._now.set)
