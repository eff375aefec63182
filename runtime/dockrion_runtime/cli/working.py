"""What `dockrion worker` does: runs are executed, and nobody is served."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from dockrion_events import BackendUnavailable
from dockrion_sdk import Dockfile

from ..assembly import alive, assemble
from ..auth import authenticator
from ..monitor import monitored
from ..process import held_by, leave
from .agent import not_started, read_dockfile
from .failure import Teller
from .logs import log_to_stderr
from .serving import announce, line_by_line, metrics_line, needs_shared_store, watched


def work(path: Path, env_file: Path | None, teller: Teller, metrics_port: int | None) -> None:
    """Execute runs until a signal comes, watched on ``metrics_port`` where there is one."""
    line_by_line()
    log = log_to_stderr(teller)
    dockfile = read_dockfile(path, env_file, teller)
    log.show_as(dockfile.observability.logs)
    needs_shared_store(dockfile, "a worker executes the runs of other processes")
    _run(_work(dockfile, watched(dockfile, dockfile.expose.host, metrics_port)))


async def _work(dockfile: Dockfile, monitor: socket.socket | None) -> None:
    guard = authenticator(dockfile, os.environ)
    secrets = tuple(guard.secrets) if guard else ()  # they must not show in what agents say either
    service, runs = assemble(dockfile, os.environ, secrets=secrets)
    assert runs is not None
    assert runs.executor is not None
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sig, stopped.set)
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(alive(service, runs))
        except BackendUnavailable:
            raise
        except Exception as error:
            raise not_started(error) from error
        if monitor is not None:
            await stack.enter_async_context(monitored(monitor, service, runs, guard))
        limit = dockfile.streaming.runs.max_concurrent
        text = f"{dockfile.agent.name}: executing up to {limit} runs at once"
        announce("\n".join((text, *metrics_line(dockfile.expose.host, monitor))))
        await stopped.wait()
        await service.drain(dockfile.expose.shutdown_grace)


def _run(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end; the process ends even where cancelled code holds threads that nobody can stop."""
    with asyncio.Runner() as runner:
        runner.run(main)
        if held_by(runner):
            leave(0)
