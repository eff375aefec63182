"""`--metrics-port`: each process can be watched by itself, also one that serves nobody or shares its port."""

from __future__ import annotations

import re
import socket
from typing import Any

import httpx
import pytest

from ..servers import RedisServer

AGENT = "async def handle(payload):\n    return {}\n"
FINISHED = 'dockrion_executions_total{kind="%s",status="completed"}'


def agent(dockrion: Any, rest: str = "") -> None:
    dockrion.project(
        {"agent.py": AGENT, "Dockfile.yaml": f"agent: {{name: tested, handler: agent:handle}}\n{rest}"}
    )


def metrics_address(text: str) -> str:
    found = re.search(r"^  metrics (http://\S+)/metrics$", text, re.MULTILINE)
    assert found is not None, text
    return found[1]


def finished(address: str, kind: str) -> int:
    text = httpx.get(f"{address}/metrics").raise_for_status().text
    (line,) = [line for line in text.splitlines() if line.startswith(FINISHED % kind)]
    return int(float(line.split()[-1]))


def two_ports() -> int:
    """Return a port that is free, as the next one is."""
    while True:
        with socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", 0))
            port: int = one.getsockname()[1]
            try:
                other.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


def test_a_server_is_watched_on_a_port_of_its_own(dockrion: Any) -> None:
    agent(dockrion, "auth: {mode: api_key}")
    with dockrion.run("--metrics-port", "0", env={"DOCKRION_API_KEY": "canary-key"}) as served:
        address = metrics_address(served.out.read_text())
        assert address != served.url
        key = {"X-API-Key": "canary-key"}
        assert served.post("/invoke", {}, headers=key).status_code == 200
        for path in ("/health", "/ready"):
            assert httpx.get(address + path).status_code == 200
        assert httpx.get(f"{address}/metrics").status_code == 401
        counted = httpx.get(f"{address}/metrics", headers=key).text
        assert FINISHED % "invoke" + " 1.0" in counted
        for headers, status in (({"Origin": "https://evil.example"}, 403), ({"Host": "evil.example"}, 200)):
            assert httpx.get(f"{address}/metrics", headers={**key, **headers}).status_code == status
        for path in ("/invoke", "/info", "/"):
            missing = httpx.post(address + path, headers=key)
            assert missing.status_code == 404
            assert missing.json()["code"] == "NOT_FOUND"
        assert served.stop() == 0
    assert served.err.read_text() == ""


def test_without_auth_other_hosts_are_refused_there_too(dockrion: Any) -> None:
    agent(dockrion)
    with dockrion.run("--metrics-port", "0") as served:
        address = metrics_address(served.out.read_text())
        refused = httpx.get(f"{address}/metrics", headers={"Host": "evil.example"})
        assert (refused.status_code, refused.json()["code"]) == (421, "HOST_NOT_ALLOWED")
        assert httpx.get(f"{address}/metrics").status_code == 200


def test_each_of_several_processes_is(dockrion: Any, wait_until: Any) -> None:
    agent(dockrion)
    port = two_ports()
    with dockrion.run("--workers", "2", "--metrics-port", str(port)) as served:
        assert f"  by 2 processes, with metrics on the ports {port} to {port + 1}" in served.out.read_text()
        addresses = [f"http://127.0.0.1:{port + number}" for number in range(2)]
        for address in addresses:
            wait_until(lambda at=address: answers(at), "the process's own port")
        for _ in range(20):
            assert served.post("/invoke", {}).status_code == 200
        assert sum(finished(address, "invoke") for address in addresses) == 20
        assert served.stop() == 0


def test_a_worker_is(dockrion: Any, redis_server: RedisServer, wait_until: Any) -> None:
    agent(dockrion, f"streaming: {{async_runs: true, backend: redis, redis: {{url: '{redis_server.url}'}}}}")
    with (
        dockrion.run("--no-executor") as served,
        dockrion.started("worker", "--metrics-port", "0") as worker,
    ):
        wait_until(lambda: "Ctrl-C stops it" in worker.out.read_text(), "the worker")
        address = metrics_address(worker.out.read_text())
        assert httpx.get(f"{address}/ready").json() == {"status": "ready", "agent": "tested"}
        served.post("/runs", {}).raise_for_status()
        wait_until(lambda: finished(address, "run") == 1, "the run, counted by the worker")
        assert finished(served.url, "run") == 0
        assert worker.stop() == 0


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/health").status_code == 200
    except httpx.TransportError:
        return False


def test_a_port_that_is_taken(dockrion: Any) -> None:
    agent(dockrion)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = dockrion("run", "--port", "0", "--metrics-port", str(port), code=1)
    assert failed.stderr.splitlines() == [
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use",
        "  choose another with --metrics-port",
    ]


def test_metrics_that_are_off(dockrion: Any) -> None:
    agent(dockrion, "observability: {metrics: false}")
    failed = dockrion("run", "--metrics-port", "0", code=1)
    assert failed.stderr.splitlines() == [
        "error: observability.metrics is false, and --metrics-port is given",
        "  leave one of them out",
    ]


@pytest.mark.parametrize("port", ["0", "65535"])
def test_ports_that_several_processes_cannot_have(dockrion: Any, port: str) -> None:
    agent(dockrion)
    failed = dockrion("run", "--workers", "2", "--metrics-port", port, code=2)
    assert failed.stderr.splitlines() == [
        f"error: --metrics-port {port}: 2 processes take that one and those that follow",
        "  give one from 1 to 65534",
    ]
