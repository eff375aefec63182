"""The processes under test, as the one that measures sees them."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Self

from .machine import ROOT, SERVER_CORE, cpu_seconds, memory_bytes, pinned

START_SECONDS: Final = 60.0
STOP_SECONDS: Final = 15.0
_FOREIGN: Final = ("LANGSMITH_", "LANGCHAIN_", "DOCKRION_")  # settings that would change what is measured


class Child:
    """A process of ours on one core, the server's if no other is given; ended when the block ends."""

    def __init__(
        self,
        role: str,
        *arguments: str,
        core: int = SERVER_CORE,
        settings: Mapping[str, str] | None = None,
        **options: Any,
    ) -> None:
        environment = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
        environment |= settings or {}
        command = [sys.executable, "-m", "benchmarks.child", role, *arguments]
        with pinned(core):  # a child stays where it was started
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, text=True, **options)
        if os.sched_getaffinity(self.pid) != {core}:
            raise RuntimeError("the process is not on its own core")

    @property
    def pid(self) -> int:
        return self._process.pid

    def cpu_seconds(self) -> float:
        """Return the processor time it has taken so far."""
        return cpu_seconds(self.pid)

    def memory_bytes(self) -> int:
        """Return its resident memory."""
        return memory_bytes(self.pid)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Server(Child):
    """A server on a free port of the loopback interface: ``raw``, a ``handler``, a ``graph`` or ``runs``.

    ``settings`` are environment variables that its Dockfile asks for; ``send_buffer`` is what the
    kernel keeps of a connection's output, where it is not to decide that by itself.
    """

    def __init__(self, role: str, agent: str = "", *, send_buffer: int = 0, **settings: str) -> None:
        self.role = role
        with socket.create_server(("127.0.0.1", 0), backlog=2048) as listening:
            if send_buffer:
                listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, send_buffer)
            self.port: int = listening.getsockname()[1]
            descriptor = listening.fileno()
            settings["BENCHMARK_AGENT"] = agent
            super().__init__(role, str(descriptor), settings=settings, pass_fds=[descriptor])

    def __enter__(self) -> Self:
        try:
            self._wait_until_ready()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _wait_until_ready(self) -> None:
        """The socket listens already: the answer to a request comes as soon as there can be one."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=START_SECONDS) as connection:
            connection.sendall(b"GET /ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            answer = connection.recv(4096)
        if not answer.startswith(b"HTTP/1.1 200 "):
            raise RuntimeError(f"the {self.role} server is not ready: {answer[:200]!r}")


@dataclass(frozen=True)
class Took:
    """Seconds by the clock, and of processor time."""

    seconds: float
    cpu_seconds: float


class Worker(Child):
    """A process that runs the framework, or a store of runs, without a server."""

    def __init__(self, core: int = SERVER_CORE) -> None:
        super().__init__("worker", core=core, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, name: str, **arguments: Any) -> Took:
        """Let it run a command of ``child.COMMANDS``; return what that took."""
        return Took(*self.ask(name, **arguments))

    def ask(self, name: str, **arguments: Any) -> Any:
        """Let it run a command, and return its answer."""
        self.begin(name, **arguments)
        return self.answer()

    def begin(self, name: str, **arguments: Any) -> None:
        """Let it run a command, without waiting for it; one at a time."""
        pipe = self._process.stdin
        assert pipe is not None
        pipe.write(json.dumps({"call": name, **arguments}) + "\n")
        pipe.flush()

    def answer(self) -> Any:
        """Wait for the command to end, and return its answer."""
        pipe = self._process.stdout
        assert pipe is not None
        answer = pipe.readline()
        if not answer:
            raise RuntimeError("the worker ended in mid-command")
        return json.loads(answer)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()  # its loop over the commands ends
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            super().__exit__(kind, error, trace)
