"""Two real `dockrion run` behind a real nginx, which reads the very file of deploy/nginx."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import trustme

from ..cli.conftest import DEADLINE, Dockrion, Served, until
from ..servers import RedisServer
from ..servers.redis import free_port

__all__ = ["DEADLINE", "DEPLOY", "Front", "until"]

DEPLOY = Path(__file__).parents[2] / "deploy"

# The agent waits for files that the test makes, and makes one when it is stopped: what happens first is
# seen, and not timed.
SERVICE = """
import asyncio
import os
from pathlib import Path


async def handle(payload, context):
    try:
        await context.emit_token("first")
        if "began" in payload:
            with Path(payload["began"]).open("a") as file:
                print(os.getpid(), file=file)
        if "gate" in payload:
            while not Path(payload["gate"]).exists():
                await asyncio.sleep(0.01)
        if "flooded" in payload:
            for _ in range(4000):
                await context.emit_token("x" * 65536)
            Path(payload["flooded"]).touch()
        await context.emit_token("last")
        return {"said": 2}
    except asyncio.CancelledError:
        Path(payload["stopped"]).touch()
        raise
"""

DOCKFILE = """
version: "1.0"
agent: {{name: behind-nginx, handler: service:handle}}
expose: {{streaming: [sse, websocket], host: 127.0.0.1, max_body_bytes: 100000, shutdown_grace: 5}}
streaming:
  async_runs: true
  backend: redis
  redis: {{url: "{redis}"}}
  events: {{heartbeat_interval: 0.3}}
"""

READ_TIMEOUT = "proxy_read_timeout 90s;"
SHORT_READ_TIMEOUT = "proxy_read_timeout 1s;"
"""What the tests have in its place: more than their heartbeats' 0.3 s, as 90 s is more than 15."""


@dataclass
class Front:
    """A running nginx, and the servers behind it."""

    plain: str
    secure: str
    authority: trustme.CA
    servers: tuple[Served, Served]
    config: str

    def trusting(self) -> ssl.SSLContext:
        """A context of the caller's own: a client notes in it which protocols it speaks."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        return context

    @contextmanager
    def client(self, version: str = "HTTP/1.1") -> Iterator[httpx.Client]:
        """A client that speaks HTTP/1.1 in the clear, or HTTP/2 over TLS."""
        if version == "HTTP/2":
            options: dict[str, Any] = {"base_url": self.secure, "verify": self.trusting(), "http2": True}
        else:
            options = {"base_url": self.plain}
        with httpx.Client(timeout=DEADLINE, **options) as client:
            yield client


def rendered(text: str, replacements: dict[str, str]) -> str:
    """Return nginx's configuration with a test's ports and folders; each has to be there to be replaced."""
    for old, new in replacements.items():
        assert old in text, f"nginx.conf has no {old!r} any more"
        text = text.replace(old, new)
    return text


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, shared_redis: RedisServer) -> Iterator[Front]:
    nginx()  # skips before anything is started
    folder = tmp_path_factory.mktemp("nginx")
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    certificate.cert_chain_pems[0].write_to_path(folder / "tls.crt")
    certificate.private_key_pem.write_to_path(folder / "tls.key")
    with ExitStack() as stack:
        servers = [_serve(stack, folder / name, shared_redis.url) for name in ("one", "two")]
        plain, secure = free_port(), free_port()
        text = rendered(
            (DEPLOY / "nginx" / "nginx.conf").read_text(),
            {
                "/tmp/": f"{folder}/",
                "listen 8080;": f"listen 127.0.0.1:{plain};",
                "listen 8443 ": f"listen 127.0.0.1:{secure} ",
                "server server1:8080;": f"server {servers[0].url.removeprefix('http://')};",
                "server server2:8080;": f"server {servers[1].url.removeprefix('http://')};",
                "/etc/nginx/tls/": f"{folder}/",
                "/dev/stdout": f"{folder}/access.log",
                READ_TIMEOUT: SHORT_READ_TIMEOUT,
            },
        )
        stack.enter_context(nginx_running(text, folder, plain))
        yield Front(
            f"http://127.0.0.1:{plain}",
            f"https://127.0.0.1:{secure}",
            authority,
            (servers[0], servers[1]),
            text,
        )


def _serve(stack: ExitStack, folder: Path, redis: str) -> Served:
    dockrion = Dockrion(folder)
    dockrion.project({"service.py": SERVICE, "Dockfile.yaml": DOCKFILE.format(redis=redis)})
    return stack.enter_context(dockrion.run("--host", "127.0.0.1"))


def nginx() -> str:
    """Return where nginx is; skip the test where there is none."""
    found = shutil.which("nginx", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if found is None:
        pytest.skip("needs nginx: apt-get install nginx-light")
    return found


@contextmanager
def nginx_running(configuration: str, folder: Path, port: int) -> Iterator[None]:
    """Run nginx in ``folder`` until the end of the block; it has to listen on ``port``."""
    (folder / "nginx.conf").write_text(configuration)
    rest = "daemon off;"
    if os.geteuid() == 0:  # else its workers are nobody, who may not write where a test's folder is
        rest += " user root;"
    command = [nginx(), "-p", str(folder), "-c", str(folder / "nginx.conf"), "-g", rest]
    with _running(command, folder / "error.log", port):
        yield


@contextmanager
def _running(command: list[str], log: Path, port: int) -> Iterator[None]:
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        deadline = time.monotonic() + DEADLINE
        while not _listens(port):
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, "nginx does not listen"
            time.sleep(0.02)
        yield
    finally:
        process.terminate()
        process.wait(DEADLINE)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
