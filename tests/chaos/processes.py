"""Processes of ours: `dockrion run` and `dockrion worker`, to be killed, stopped and started again."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from ..servers.redis import free_port

START_PATIENCE = 40.0
_ANNOUNCED = b"Ctrl-C stops it"


class DidNotStart(Exception):
    """A process ended before it was ready."""


class Instance:
    """One process over a project; the same port each time it is started."""

    def __init__(
        self, project: Path, *options: str, worker: bool = False, env: Mapping[str, str] | None = None
    ) -> None:
        self.worker = worker
        self.port = free_port()
        self.log = project / f"{'worker' if worker else 'server'}-{self.port}.log"
        arguments = (
            ["worker", str(project)] if worker else ["run", str(project), "--port", str(self.port), *options]
        )
        self._command = [sys.executable, "-m", "dockrion_runtime.cli", *arguments]
        self._env = _environment(env or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._read_from = 0

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "it was not started"
        return self._process

    @property
    def pid(self) -> int:
        return self.process.pid

    def start(self) -> None:
        """Start without waiting for anything."""
        self._read_from = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self._env
            )

    async def ready(self) -> None:
        """Return when it says that it serves. Raises `DidNotStart`."""
        async with asyncio.timeout(START_PATIENCE):
            while _ANNOUNCED not in self._told():
                if self.process.poll() is not None:
                    raise DidNotStart(self._told().decode(errors="replace")[-2000:])
                await asyncio.sleep(0.02)  # it tells by its output, which is a file

    def _told(self) -> bytes:
        with self.log.open("rb") as log:
            log.seek(self._read_from)
            return log.read()

    def signal(self, sig: int) -> None:
        self.process.send_signal(sig)

    def kill(self) -> None:
        """End it at once, as a crash would, and also where it is stopped."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(START_PATIENCE)

    async def ended(self, seconds: float) -> int:
        """Return the exit code once it has ended."""
        return await asyncio.to_thread(self.process.wait, seconds)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("DOCKRION_")}
    if "PYTHONPATH" in env:
        env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
    return {**env, **more}


@asynccontextmanager
async def alive(instances: Iterable[Instance]) -> AsyncIterator[list[Instance]]:
    """Start instances and yield when all are ready; kills them on the way out."""
    started = list(instances)
    try:
        for instance in started:
            instance.start()
        await asyncio.gather(*(instance.ready() for instance in started))
        yield started
    finally:
        for instance in started:
            instance.kill()


def project(
    folder: Path, agent: str, /, *, name: str = "tested", redis: str | None = None, **sections: Any
) -> Path:
    """Write a project whose ``agent.py`` has a ``handle``, with its runs in Redis if there is one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.py").write_text(agent)
    streaming = {"async_runs": True, **sections.pop("streaming", {})}
    if redis is not None:
        streaming = {"backend": "redis", **streaming, "redis": {"url": redis, **streaming.get("redis", {})}}
    given = sections.pop("agent", {})
    entry = {} if "entrypoint" in given else {"handler": "agent:handle"}
    dockfile = {
        "version": "1.0",
        "agent": {"name": name, **entry, **given},
        "expose": {"host": "127.0.0.1", **sections.pop("expose", {})},
        "streaming": streaming,
        **sections,
    }
    (folder / "Dockfile.yaml").write_text(json.dumps(dockfile, indent=1))
    return folder


STOP, GO_ON = signal.SIGSTOP, signal.SIGCONT
