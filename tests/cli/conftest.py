"""The real command, as a process of its own, with a deadline."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest

DEADLINE = 30.0
COMMAND = [sys.executable, "-m", "dockrion_runtime.cli"]
_CLEARED = (
    "ASK_DOCS_FOLDER",
    "COLUMNS",
    "DOCKRION_API_KEY",
    "DOCKRION_MODEL",
    "DOCKRION_URL",
    "FORCE_COLOR",
    "NO_COLOR",
)


def until(condition: Callable[[], Any], what: str = "the condition") -> Any:
    """Wait until ``condition`` gives something true, and return that."""
    deadline = time.monotonic() + DEADLINE
    while not (found := condition()):
        assert time.monotonic() < deadline, f"{what} did not become true within {DEADLINE:g} s"
        time.sleep(0.02)
    return found


@dataclass
class Served:
    """A `dockrion run` that answers requests."""

    process: subprocess.Popen[bytes]
    url: str
    out: Path
    err: Path

    def post(self, path: str, payload: Any, **options: Any) -> httpx.Response:
        return httpx.post(f"{self.url}{path}", json=payload, timeout=DEADLINE, **options)

    def events(self, payload: Any, **options: Any) -> list[dict[str, Any]]:
        """Stream one execution to its end."""
        with (
            httpx.Client(timeout=DEADLINE) as client,
            httpx_sse.connect_sse(
                client, "POST", f"{self.url}/invoke/stream", json=payload, **options
            ) as source,
        ):
            source.response.raise_for_status()
            return [event.json() for event in source.iter_sse()]

    def stop(self, sig: int = signal.SIGTERM) -> int:
        """Send a signal and return the exit code."""
        self.process.send_signal(sig)
        return self.process.wait(DEADLINE)


class Dockrion:
    """Runs `dockrion` in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self._served = 0

    def environment(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        env = {name: value for name, value in os.environ.items() if name not in _CLEARED}
        if "PYTHONPATH" in env:  # the command runs in another directory
            env["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, env["PYTHONPATH"].split(os.pathsep)))
        return {**env, **(more or {})}

    def __call__(
        self, *arguments: str, code: int = 0, stdin: str = "", env: Mapping[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run a command to its end and hold it to its exit code."""
        done = subprocess.run(
            [*COMMAND, *arguments],
            cwd=self.directory,
            env=self.environment(env),
            input=stdin,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        assert done.returncode == code, f"{arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        if "--verbose" not in arguments:
            assert "Traceback" not in done.stderr
        return done

    @contextmanager
    def started(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
        """Start a command without waiting for anything; it is ended on the way out."""
        self._served += 1
        out, err = (self.directory / f"{kind}-{self._served}.txt" for kind in ("out", "err"))
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = subprocess.Popen(
                [*COMMAND, *arguments],
                cwd=self.directory,
                env=self.environment(env),
                stdin=subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
            )
        try:
            yield Served(process, "", out, err)
        finally:
            if process.poll() is None:
                process.terminate()
                try:
                    process.wait(DEADLINE)
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()

    @contextmanager
    def run(self, *arguments: str, env: Mapping[str, str] | None = None) -> Iterator[Served]:
        """Serve on a free port; yields when the command says that it serves."""
        with self.started("run", "--port", "0", *arguments, env=env) as served:

            def announced() -> str | None:
                text = served.out.read_text()
                if "Ctrl-C stops it" in text:
                    return next(line for line in text.splitlines() if " is served at " in line)
                assert served.process.poll() is None, served.err.read_text()
                return None

            served.url = until(announced, "dockrion run").split()[-1]
            yield served

    def project(self, files: Mapping[str, str], name: str = ".") -> Path:
        """Write a project's files."""
        directory = self.directory / name
        for path, text in files.items():
            file = directory / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        return directory


class Terminal:
    """A command whose stdin, stdout and stderr are a terminal."""

    def __init__(
        self,
        dockrion: Dockrion,
        *arguments: str,
        command: Sequence[str] = COMMAND,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
        self.process = subprocess.Popen(
            [*command, *arguments],
            cwd=dockrion.directory,
            env=dockrion.environment({"TERM": "xterm-256color", **(env or {})}),
            stdin=slave,
            stdout=slave,
            stderr=slave,
        )
        os.close(slave)
        self.text = ""

    def read(self, until: Callable[[str], bool] = lambda _: False) -> str:
        """Read until the text so far is right, or to the end."""
        deadline = time.monotonic() + DEADLINE
        while not until(self.text):
            assert time.monotonic() < deadline, self.text
            if select.select([self._master], [], [], 0.1)[0]:
                try:
                    data = os.read(self._master, 65536)
                except OSError:  # how Linux tells of the end
                    break
                if not data:
                    break
                self.text += data.decode()
        return self.text

    def write(self, text: str) -> None:
        """Type something."""
        os.write(self._master, text.encode())

    def end(self) -> int:
        try:
            self.read()
            return self.process.wait(DEADLINE)
        finally:
            os.close(self._master)
            if self.process.poll() is None:
                self.process.kill()
                self.process.wait()


def drawn_last(text: str) -> str:
    """Return what stands on the screen at the end, without colours."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text.rpartition("\x1b[2K")[2]).replace("\r", "")


@pytest.fixture
def dockrion(tmp_path: Path) -> Dockrion:
    return Dockrion(tmp_path)


@pytest.fixture
def wait_until() -> Callable[..., Any]:
    return until
