"""A real server process to attack, and a watch on what the attack costs it.

`serving` starts ``dockrion run`` over a project of the test's own. `Watch` asks for ``/health`` on a
connection of its own every few milliseconds and reads the process's memory, for as long as its block lasts.

All clients are plain sockets on the loopback, so that a test decides byte by byte what is sent.
"""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

DEADLINE = 30.0
MIB = 1 << 20
KEY = "0123456789abcdef0123456789abcdef"
"""The API key of a server with ``keys=True``."""

AUTHORISED = (f"X-API-Key: {KEY}",)
"""The header lines of a client that has a key."""

AGENT = '''
import asyncio
import time

held = before = 0.0


def tick(loop):
    global held, before
    now = time.thread_time()
    held, before = max(held, now - before), now
    loop.call_later(0.001, tick, loop)


async def handle(payload, context):
    """Emit tokens, and return what was asked for."""
    global held, before
    if "held" in payload:
        if not before:
            before = time.thread_time()
            tick(asyncio.get_running_loop())
        told, held = held, 0.0
        return told
    for number in range(payload.get("tokens", 1)):
        await context.emit_token("x" * payload.get("size", 1))
        await asyncio.sleep(payload.get("pause", 0))
    if payload.get("hang"):
        await asyncio.Event().wait()
    return {"said": "y" * payload.get("output", 0)}
'''

_LISTENING = re.compile(r"http://(?:127\.0\.0\.1|localhost|\[::1\]|0\.0\.0\.0):(\d+)")


@dataclass
class Target:
    """A server process that is up."""

    process: subprocess.Popen[bytes]
    port: int
    out: Path
    err: Path
    keys: bool
    _clients: ExitStack = field(default_factory=ExitStack)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def rss(self) -> int:
        """The bytes that the process holds in memory."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        (kibibytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
        return int(kibibytes) * 1024

    @property
    def descriptors(self) -> int:
        """How many descriptors the process has open."""
        return len(os.listdir(f"/proc/{self.process.pid}/fd"))

    @property
    def log(self) -> str:
        """What it has logged so far."""
        return self.err.read_text(errors="replace")

    def connect(self, *, receive_buffer: int | None = None, timeout: float = DEADLINE) -> socket.socket:
        """Return a connection, which is closed with the server at the latest.

        ``receive_buffer`` is in bytes; a small one makes a client that does not read felt early.
        """
        client = socket.socket()
        if receive_buffer is not None:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        client.settimeout(timeout)
        client.connect(("127.0.0.1", self.port))
        self._clients.callback(client.close)
        return client

    def client(self, **options: Any) -> httpx.Client:
        """Return an HTTP client, which has a key where the server asks for one."""
        headers = {"X-API-Key": KEY} if self.keys else {}
        return httpx.Client(base_url=self.url, timeout=DEADLINE, headers=headers, **options)

    def metric(self, name: str, **labels: str) -> float:
        """Return the value of one metric, 0 where the server has none of this name and labels."""
        with self.client() as client:
            text = client.get("/metrics").raise_for_status().text
        for line in text.splitlines():
            if re.match(rf"{name}[{{ ]", line) and all(
                f'{key}="{value}"' in line for key, value in labels.items()
            ):
                return float(line.rpartition(" ")[2])
        return 0.0


@contextmanager
def serving(
    folder: Path,
    *,
    agent: str = AGENT,
    keys: bool = False,
    a2a: bool = False,
    env: Mapping[str, str] | None = None,
    descriptors: int | None = None,
    arguments: tuple[str, ...] = (),
    agent_section: Mapping[str, Any] | None = None,
    **sections: Any,
) -> Iterator[Target]:
    """Start a server process for an agent's module and yield it once it answers.

    ``sections`` are the Dockfile's, ``agent_section`` what goes into its ``agent`` besides the name.
    ``keys`` turns API keys on, ``a2a`` the protocol A2A; direct streams are served both ways.
    ``descriptors`` is the process's soft limit on open files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "agent.py").write_text(agent)
    expose: dict[str, Any] = {"host": "127.0.0.1", "streaming": ["sse", "websocket"]}
    if a2a:
        expose["protocols"] = ["a2a"]
    dockfile = {
        "version": "1.0",
        "agent": {"name": "target", **(agent_section or {"handler": "agent:handle"})},
        "auth": {"mode": "api_key" if keys else "none"},
        **sections,
        "streaming": {"async_runs": True, **sections.get("streaming", {})},
        "expose": {**expose, **sections.get("expose", {})},
    }
    (folder / "Dockfile.yaml").write_text(json.dumps(dockfile, indent=1))
    out, err = folder / "out.txt", folder / "err.txt"
    environment = {**os.environ, "DOCKRION_API_KEY": KEY, **(env or {})}

    def limit_descriptors() -> None:
        if descriptors is not None:
            resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
        signal.signal(signal.SIGINT, signal.default_int_handler)

    command = [sys.executable, "-m", "dockrion_runtime.cli", "run", str(folder), "--port", "0", *arguments]
    with ExitStack() as stack:
        stdout, stderr = (stack.enter_context(path.open("wb")) for path in (out, err))
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=stderr, env=environment,
            preexec_fn=limit_descriptors,
        )  # fmt: skip
        stack.callback(process.wait, DEADLINE)
        stack.callback(process.kill)
        target = Target(process, _port(process, out, err), out, err, keys)
        stack.enter_context(target._clients)
        yield target


def _port(process: subprocess.Popen[bytes], out: Path, err: Path) -> int:
    """Return the port that the server announces once it serves."""
    deadline = time.monotonic() + DEADLINE
    while "Ctrl-C stops it" not in (told := out.read_text()):
        assert process.poll() is None, err.read_text() + told
        assert time.monotonic() < deadline, "the server did not start in time"
        time.sleep(0.02)
    found = _LISTENING.search(told)
    assert found is not None, told
    return int(found[1])


_ECHO = """
import socket
listening = socket.create_server(("127.0.0.1", 0))
print(listening.getsockname()[1], flush=True)
while True:
    client, _ = listening.accept()
    while data := client.recv(64):
        client.sendall(data)
"""


class Bystander:
    """A process that nobody attacks, and that does nothing but answer: where it is slow, the machine is."""

    def __init__(self) -> None:
        command = [sys.executable, "-S", "-c", _ECHO]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        port = int(self._process.stdout.readline())
        self._client = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
        self.worst = 0.0

    def ask(self) -> None:
        began = time.perf_counter()
        self._client.sendall(b"x")
        self._client.recv(1)
        self.worst = max(self.worst, time.perf_counter() - began)

    def close(self) -> None:
        self._client.close()
        self._process.kill()
        self._process.wait(DEADLINE)
        assert self._process.stdout is not None
        self._process.stdout.close()


class Watch:
    """Polls a server's ``/health`` and its memory while its block lasts.

    ``worst`` is the longest that an answer took, in seconds, an answer that did not come within
    `DEADLINE` included; ``growth`` is by how many bytes the memory grew at its peak; ``answered`` is how
    many answers there were. With ``fresh`` each request opens a connection of its own.

    ``held`` is the longest that the event loop was held at a stretch, in seconds of processor time, so
    that it is the server's own doing. Only `AGENT` reports it; it is 0.0 with another.

    A machine that is busy makes everybody wait. So a `Bystander` is asked in turn with the server, and
    `check` allows what that one needed at most.
    """

    PAUSE = 0.005

    def __init__(self, target: Target, *, fresh: bool = False) -> None:
        self._target = target
        self._fresh = fresh
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._poll, name="watch", daemon=True)
        self._connection: socket.socket | None = None
        self._before = target.rss
        self.peak = self._before
        self.worst = 0.0
        self.answered = 0
        self.held = 0.0
        self.failures: list[str] = []
        self._bystander = Bystander()

    @property
    def noise(self) -> float:
        """The longest that the bystander took, in seconds: so long the machine was busy."""
        return self._bystander.worst

    @property
    def growth(self) -> int:
        return self.peak - self._before

    def _ask_held(self) -> float:
        with self._target.client() as client:
            told = client.post("/invoke", json={"held": True})
        output = told.json().get("output") if told.status_code == 200 else None
        return output if isinstance(output, float) else 0.0

    def __enter__(self) -> Self:
        self._ask_held()
        if not self._fresh:
            self._connection = self._open()
            self._ask()  # the first answer on a connection comes late
            self.worst = 0.0
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join(2 * DEADLINE)
        self._bystander.close()
        if self._connection is not None:
            self._connection.close()
        if kind is None:
            self.held = self._ask_held()

    def check(self, *, growth: int = 64 * MIB, latency: float = 0.25, held: float = 0.05) -> None:
        """Assert that it cost no more: bytes of memory, seconds for ``/health``, seconds at a stretch."""
        assert not self.failures, self.failures[:3]
        assert self.answered > 0
        noise = self.noise
        told = f"/health took {self.worst * 1000:.0f} ms, and a bystander {noise * 1000:.0f} ms"
        assert self.worst <= latency + noise, told
        assert self.held <= held, f"the event loop was held for {self.held * 1000:.0f} ms"
        assert self.growth <= growth, f"memory grew by {self.growth / MIB:.1f} MiB"

    def _open(self) -> socket.socket:
        client = socket.create_connection(("127.0.0.1", self._target.port), timeout=DEADLINE)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return client

    def _ask(self) -> None:
        began = time.perf_counter()
        try:
            client = self._connection or self._open()
            client.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n")
            answer = b""
            while b'"ok"' not in answer:
                received = client.recv(4096)
                if not received:
                    raise ConnectionError(f"the connection ended after {answer[:60]!r}")
                answer += received
            if self._connection is None:
                client.close()
            self.answered += 1
        except OSError as error:
            self.failures.append(repr(error))
        self.worst = max(self.worst, time.perf_counter() - began)
        with suppress(OSError, ValueError):  # the process has ended
            self.peak = max(self.peak, self._target.rss)

    def _poll(self) -> None:
        while not self._over.wait(self.PAUSE):
            self._ask()
            self._bystander.ask()


# -- what clients send and get -------------------------------------------------------------------------


def request(method: str, path: str, *lines: str, body: bytes | None = None) -> bytes:
    """Return a request with these header lines, and with its length where it has a body."""
    head = [f"{method} {path} HTTP/1.1", "Host: localhost", *lines]
    if body is not None:
        head += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join((*head, "", "")).encode() + (body or b"")


def opening(path: str, *lines: str) -> bytes:
    """Return the request that opens a WebSocket."""
    return request(
        "GET", path, "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", *lines,
    )  # fmt: skip


def send(client: socket.socket, data: bytes | Iterator[bytes], seconds: float = 5.0) -> int:
    """Send as much as the server takes within the time and return how many bytes that was.

    The time counts from the last byte that was taken. A connection that the server ends ends it.
    """
    parts = [data] if isinstance(data, bytes) else data
    client.settimeout(seconds)
    sent = 0
    with suppress(OSError):
        for part in parts:
            view = memoryview(part)
            while view:
                count = client.send(view)
                sent += count
                view = view[count:]
    return sent


def answer(client: socket.socket, seconds: float = DEADLINE) -> bytes:
    """Return all that the server sends up to the end of the connection, or of ``seconds`` of silence."""
    client.settimeout(seconds)
    got = b""
    with suppress(OSError):
        while received := client.recv(65536):
            got += received
    return got


def head(client: socket.socket, seconds: float = DEADLINE) -> bytes:
    """Return the head of the next answer."""
    client.settimeout(seconds)
    got = b""
    while not got.endswith(b"\r\n\r\n"):
        received = client.recv(1)
        if not received:
            return got
        got += received
    return got


def ended(client: socket.socket, seconds: float = DEADLINE) -> bool:
    """Say whether the server ends the connection within the time; what it sends before is skipped."""
    deadline = time.monotonic() + seconds
    try:
        while (left := deadline - time.monotonic()) > 0:
            client.settimeout(left)
            if not client.recv(65536):
                return True
    except TimeoutError:
        return False
    except OSError:
        return True
    return False


def until(condition: Callable[[], bool], seconds: float = DEADLINE) -> None:
    """Wait until something is true that can be seen from outside."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"it did not become true within {seconds:g} s"
        time.sleep(0.02)
