"""Many at once: subscribers, requests, and readers of a server that is told to end."""

from __future__ import annotations

import asyncio
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from ..servers import RedisServer
from .processes import Instance, alive, project
from .runs import AGENT, contiguous, eventually, frames, make, sequences, shown, until_token
from .wire import Answer, Frame, ask, followed

pytestmark = pytest.mark.timeout(120)  # processes start, and time-outs are waited for

GRACE = 1.5
POOL = 10


async def test_five_hundred_subscribers_need_no_more_connections_than_one(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = project(
        tmp_path / "project",
        AGENT,
        redis=redis_server.url,
        streaming={"connection": {"max_subscribers_per_run": 500}, "redis": {"connection_pool_size": POOL}},
    )
    async with alive([Instance(folder)]) as (server,):
        runs = ["crowded", *(f"quiet-{number}" for number in range(10))]
        for run in runs:
            await make(server.port, run, tokens=3, waits=True, more=200)
            await until_token(server.port, run, 3)
        following = [
            asyncio.create_task(frames(server.port, run)) for run in ["crowded"] * 300 + runs[1:] * 20
        ]

        async def all_follow() -> bool:
            info = (await ask(server.port, "GET", "/info")).json()
            return bool(info["runs"]["subscribers"] == len(following))

        await eventually(all_follow)
        took = []
        for _ in range(20):  # commands go on: each is a round trip or two
            began = time.monotonic()
            assert (await ask(server.port, "GET", "/runs/crowded")).status == 200
            took.append(time.monotonic() - began)
        assert sorted(took)[10] < 0.1
        (folder / "go").touch()
        logs = await asyncio.gather(*following)
        # Commands, hints, and the wait for new runs; the last one asks.
        clients = redis_server.command("CLIENT", "LIST").count(b" addr=")
        assert clients <= POOL + 1 + 1 + 1
        assert all(contiguous(log) for log in logs)
        assert all(log == logs[0] for log in logs[:300])
        assert len(logs[0]) == 1 + 3 + 200 + 1


async def test_a_server_that_ends_sends_its_followers_elsewhere(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = project(
        tmp_path / "project",
        AGENT,
        redis=redis_server.url,
        expose={"shutdown_grace": GRACE},
        streaming={"runs": {"on_executor_lost": "restart"}},
    )
    first, second = Instance(folder), Instance(folder)
    async with alive([first]):
        runs = [f"moved-{number}" for number in range(10)]
        for run in runs:
            await make(first.port, run, tokens=3, waits=True, more=20)
        async with alive([second]):
            following = [asyncio.create_task(_moving(first.port, second.port, run)) for run in runs * 20]
            await asyncio.gather(*(until_token(first.port, run, 2) for run in runs))

            async def all_follow() -> bool:
                info = (await ask(first.port, "GET", "/info")).json()
                return bool(info["runs"]["subscribers"] == len(following))

            await eventually(all_follow)
            began = time.monotonic()
            first.signal(signal.SIGTERM)
            refused = await _while_draining(first.port)
            code = await first.ended(GRACE + 10)
            took = time.monotonic() - began
            assert code == 0
            assert took <= GRACE + 1, took
            assert (refused.status, refused.json()["code"]) == (503, "SHUTTING_DOWN")
            (folder / "go").touch()
            logs = await asyncio.gather(*following)
            for log in logs:
                assert contiguous(log)
                kinds = [frame.event for frame in log]
                assert (kinds.count("restarted"), kinds[-1]) == (1, "complete")
            assert all(log == logs[number % 10] for number, log in enumerate(logs))
            for run in runs:
                assert (await shown(second.port, run))["attempt"] == 2


async def _while_draining(port: int) -> Answer:
    """Return the answer to a request for a run, once the server takes no more."""

    async def refused() -> Answer | None:
        answer = await ask(port, "POST", "/runs?run_id=late", body={"tokens": 0})
        return answer if answer.status == 503 else None

    found: Answer = await eventually(refused)
    return found


async def _moving(port: int, then: int, run: str) -> list[Frame]:
    """Follow a run on one server until it says to come back, and then on another."""
    log: list[Frame] = []
    async with followed(port, run) as response:
        found = [frame async for frame in response.frames()]  # raises where the end is not a clean one
    assert found[-1].retry is not None, "it was told to come back"
    log += found[:-1]
    assert log[-1].event not in ("complete", "error", "cancelled")
    log += await frames(then, run, after=log[-1].id or 0)
    return log


async def test_ten_times_the_capacity_waits_or_is_refused(redis_server: RedisServer, tmp_path: Path) -> None:
    folder = project(
        tmp_path / "project",
        AGENT,
        redis=redis_server.url,
        expose={"max_concurrent": 4},
        streaming={"runs": {"max_concurrent": 8}},
    )
    async with alive([Instance(folder)]) as (server,):
        port = server.port
        body = {"tokens": 2, "waits": True}
        runs = [f"crowd-{number}" for number in range(80)]
        made = await asyncio.gather(*(ask(port, "POST", f"/runs?run_id={run}", body=body) for run in runs))
        assert {answer.status for answer in made} == {202}
        direct = [asyncio.create_task(_direct(port, body)) for _ in range(40)]

        async def refused() -> bool:
            return sum(task.done() for task in direct) == 36

        await eventually(refused)
        took = []
        for _ in range(20):
            began = time.monotonic()
            assert (await ask(port, "GET", "/health")).status == 200
            took.append(time.monotonic() - began)
            info: dict[str, Any] = (await ask(port, "GET", "/info")).json()
            assert info["runs"]["executing"] <= 8
            assert info["active"] <= 4
        assert max(took) < 1
        (folder / "go").touch()
        answers = [await task for task in direct]
        assert sorted(status for status, _ in answers) == [200] * 4 + [503] * 36
        assert all(retry for status, retry in answers if status == 503)
        logs = await asyncio.gather(*(frames(port, run) for run in runs))
        assert all(contiguous(log) and sequences(log)[-1] == 4 for log in logs)


async def _direct(port: int, body: dict[str, Any]) -> tuple[int, str | None]:
    answer = await ask(port, "POST", "/invoke/stream", body=body, patience=30)
    return answer.status, answer.headers.get("retry-after")
