"""Canaries wherever a secret can be; afterwards everything that left the processes is searched."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ..servers import RedisServer
from .processes import DidNotStart, Instance, alive, project
from .wire import BROKEN, ask, followed

PASSWORD = "canary-pass/word"
QUOTED = "canary-pass%2Fword"
pytestmark = pytest.mark.timeout(120)  # it starts four processes, and waits for patience to run out

CANARIES = [PASSWORD, QUOTED, "canary-key-of-alice", "canary-key-without-name", "canary-upstream-token"]
ALICE = {"X-API-Key": "canary-key-of-alice"}
NAMELESS = {"Authorization": "Bearer canary-key-without-name"}

AGENT = """
import os

async def handle(payload, context):
    await context.emit_token(str(os.getpid()))
    if payload.get("fails"):
        names = ["REDIS_URL", "DOCKRION_API_KEY", "UPSTREAM_TOKEN"]
        raise RuntimeError(" ".join(os.environ[name] for name in names))
    return "fine"
"""


@pytest.fixture
def redis(tmp_path: Path) -> Iterator[RedisServer]:
    with RedisServer(tmp_path / "redis", requirepass=PASSWORD) as server:
        yield server


async def test_no_secret_leaves_by_any_way(redis: RedisServer, tmp_path: Path) -> None:
    folder = project(
        tmp_path / "project",
        AGENT,
        redis="${REDIS_URL}",
        auth={"mode": "api_key"},
        secrets={"required": [{"name": "UPSTREAM_TOKEN"}]},
        streaming={"runs": {"max_concurrent": 1}},
    )
    env = {
        "REDIS_URL": f"redis://:{QUOTED}@127.0.0.1:{redis.port}/0",
        "DOCKRION_API_KEY": "alice:canary-key-of-alice,canary-key-without-name",
        "UPSTREAM_TOKEN": "canary-upstream-token",
    }
    said: list[bytes] = []
    instances = [Instance(folder, env=env), Instance(folder, worker=True, env=env)]
    async with alive(instances) as (server, worker):
        port = server.port
        executors = await _runs(port, said)
        assert executors == {str(server.pid), str(worker.pid)}
        await _everything_else(port, said)
        redis.kill()
        paths = ("/ready", "/runs", "/runs/run-1", "/runs/run-1/events")
        for told in await asyncio.gather(*(_asked(port, "GET", path, headers=ALICE) for path in paths)):
            said += told
        refused = [Instance(folder, env=env), Instance(folder, worker=True, env=env)]
        instances += refused
        await asyncio.gather(*(_does_not_start(instance) for instance in refused))
    places = {f"answer {number}": text for number, text in enumerate(said)}
    places |= {str(instance.log): instance.log.read_bytes() for instance in instances}
    kept = [file for file in redis.folder.rglob("*") if file.is_file() and file.name != "redis.conf"]
    places |= {str(file): file.read_bytes() for file in kept}
    assert any(b"run-1" in text for place, text in places.items() if "aof" in place), "the log was searched"
    leaks = [
        (canary, place, text[max(0, at - 200) : at + 60])
        for canary in CANARIES
        for place, text in places.items()
        if (at := text.find(canary.encode())) >= 0
    ]
    assert not leaks


async def _runs(port: int, said: list[bytes]) -> set[str]:
    """Make runs of two owners, half of which fail; return who executed them."""
    executors: set[str] = set()
    for number in range(60):
        headers = ALICE if number % 2 else NAMELESS
        body = {"fails": number % 3 == 0}
        said += await _asked(port, "POST", f"/runs?run_id=run-{number}", body=body, headers=headers)
        async with followed(port, f"run-{number}", headers=headers) as response:
            async for frame in response.frames():
                said.append(frame.data or b"")
                if frame.event == "token":
                    executors.add(frame.json()["content"])
        said += await _asked(port, "GET", f"/runs/run-{number}", headers=headers)
        if number > 20 and len(executors) == 2:
            break
    return executors


async def _does_not_start(instance: Instance) -> None:
    with pytest.raises(DidNotStart):
        async with alive([instance]):
            pass


async def _everything_else(port: int, said: list[bytes]) -> None:
    for path in ("/", "/health", "/ready", "/info", "/schema", "/docs", "/openapi.json", "/runs", "/metrics"):
        for headers in (ALICE, NAMELESS, {}):
            said += await _asked(port, "GET", path, headers=headers)
    for path in ("/info?api_key=canary-key-of-alice", "/runs/absent", "/runs/run-0/events?from_sequence=x"):
        said += await _asked(port, "GET", path, headers=ALICE)
    for path in ("/invoke", "/invoke/stream"):
        said += await _asked(port, "POST", path, body={"fails": True}, headers=ALICE)
    said += await _asked(port, "POST", "/runs?run_id=run-0", body={"other": 1}, headers=NAMELESS)
    said += await _asked(port, "DELETE", "/runs/run-0", headers=NAMELESS)
    said += await _asked(port, "POST", "/invoke", headers={"X-API-Key": "wrong"}, body={})
    writer: asyncio.StreamWriter
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /canary-key-of-alice HTTP/9\r\nX-API-Key: canary-key-of-alice\r\n\r\n")
    said.append(await reader.read(10_000))
    writer.close()


async def _asked(port: int, method: str, path: str, **options: Any) -> list[bytes]:
    try:
        answer = await ask(port, method, path, **options)
    except BROKEN as error:
        return [str(error).encode()]
    return [answer.body, str(answer.headers).encode()]
