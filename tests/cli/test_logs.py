"""The log of a server: for people or for programs, with its ids, and without secrets."""

from __future__ import annotations

import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..servers.redis import RedisServer
from .conftest import COMMAND, until

SECRET = 's3cret "value" – ö'
"""JSON writes it in another way, so it has to be found before it is JSON."""

AGENT = """
import logging
import os

log = logging.getLogger("shop.orders")

def handle(payload):
    token = os.environ["API_TOKEN"]
    log.warning("asked with %s", token, extra={"shop": {"tokens": [token], "count": 3}})
    if payload.get("fail"):
        raise ValueError("wrong " + token)
    return {}

async def pause(payload):
    import asyncio
    await asyncio.sleep(payload.get("seconds", 0))
    return handle(payload)
"""


def agent(dockrion: Any, rest: str, handler: str = "handle") -> None:
    head = (
        f"agent: {{name: tested, handler: agent:{handler}}}\nsecrets: {{required: [{{name: API_TOKEN}}]}}\n"
    )
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": head + rest})


def records(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("style", ["auto", "json"])
def test_for_programs(dockrion: Any, style: str) -> None:
    agent(dockrion, f"observability: {{logs: {style}}}\nexpose: {{errors: full}}")
    with dockrion.run(env={"API_TOKEN": SECRET}) as served:
        failed = served.post("/invoke", {"fail": True}, headers={"X-Request-ID": "order:7"})
        assert failed.json()["detail"] == "ValueError: wrong ***"
        served.stop()
        asked, told = records(served.err)
    assert asked.pop("timestamp").endswith("Z")
    assert asked == {
        "event": "asked with ***",
        "level": "warning",
        "logger": "shop.orders",
        "request_id": "order:7",
        "shop": {"tokens": ["***"], "count": 3},
    }
    assert (told["event"], told["level"], told["logger"]) == (
        "request order:7: the agent failed",
        "error",
        "dockrion",
    )
    assert told["request_id"] == "order:7"
    assert told["exception"].startswith("Traceback (most recent call last):")
    assert told["exception"].endswith("ValueError: wrong ***")


def test_for_people(dockrion: Any) -> None:
    agent(dockrion, "observability: {logs: console}")
    with dockrion.run(env={"API_TOKEN": SECRET}) as served:
        served.post("/invoke", {"fail": True}, headers={"X-Request-ID": "order:7"})
        served.stop()
        log = served.err.read_text()
    first, second, *trace = log.splitlines()
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[warning\] asked with \*\*\* .*request_id=order:7.*", first)
    assert re.fullmatch(r"\d\d:\d\d:\d\d \[error\] request order:7: the agent failed", second)
    assert trace[0] == "Traceback (most recent call last):"
    assert trace[-1] == "ValueError: wrong ***"
    assert "s3cret" not in log


def test_a_terminal_is_for_people(dockrion: Any) -> None:
    agent(dockrion, "")
    master, slave = pty.openpty()
    env = dockrion.environment({"API_TOKEN": SECRET, "NO_COLOR": "1"})
    command = [*COMMAND, "run", "--port", "0"]
    with subprocess.Popen(
        command, cwd=dockrion.directory, env=env, stdin=slave, stdout=slave, stderr=slave
    ) as server:
        os.close(slave)
        seen = ""

        def read(mark: str) -> bool:
            nonlocal seen
            if select.select([master], [], [], 0.05)[0]:
                seen += os.read(master, 65536).decode()
            return mark in seen

        until(lambda: read("Ctrl-C stops it"))
        found = re.search(r"http://127.0.0.1:\d+", seen)
        assert found
        httpx.post(f"{found[0]}/invoke", json={})
        until(lambda: read("request_id="))
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    os.close(master)
    assert "[warning" in seen
    assert "asked with ***" in seen


def test_a_run_has_its_own_id_and_that_of_its_request(dockrion: Any, shared_redis: RedisServer) -> None:
    shared_redis.command("FLUSHALL")
    redis = f"redis: {{url: '{shared_redis.url}'}}"
    agent(dockrion, f"streaming: {{async_runs: true, backend: redis, {redis}}}", handler="pause")
    env = {"API_TOKEN": SECRET}
    with dockrion.run("--no-executor", env=env) as served, dockrion.started("worker", env=env) as worker:
        sent = served.post("/runs?run_id=one", {}, headers={"X-Request-ID": "order:8"})
        assert sent.headers["x-request-id"] == "order:8"
        until(lambda: httpx.get(f"{served.url}/runs/one").json()["status"] == "completed")
        worker.stop()
        (asked,) = [record for record in records(worker.err) if record["logger"] == "shop.orders"]
    assert (asked["run_id"], asked["request_id"]) == ("one", "order:8")


def test_a_malformed_request_is_one_of_the_records(dockrion: Any) -> None:
    agent(dockrion, "")
    with dockrion.run(env={"API_TOKEN": SECRET}) as served:
        host, _, port = served.url.removeprefix("http://").rpartition(":")
        with socket.create_connection((host, int(port))) as connection:
            connection.sendall(b"no HTTP at all\r\n\r\n")
            assert connection.recv(1000).startswith(b"HTTP/1.1 400")
        served.stop()
        (told,) = records(served.err)
    assert (told["logger"], told["level"]) == ("dockrion", "warning")
    assert told["event"] == "malformed requests are refused"
