"""Redis away, emptied, rolled back or full, under servers that have runs in it."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest

from ..servers import RedisServer
from .processes import Instance, alive, project
from .runs import AGENT, cancelled, contiguous, eventually, frames, make, sequences, shown, until_token
from .wire import Frame, ask, followed

pytestmark = pytest.mark.timeout(120)  # processes start, and time-outs are waited for


def written(folder: Path, redis: RedisServer, **streaming: Any) -> Path:
    return project(folder / "project", AGENT, redis=redis.url, streaming=streaming)


async def has_stored(port: int, run: str, number: int) -> None:
    async def reached() -> bool:
        return bool((await shown(port, run))["last_sequence"] >= number)

    await eventually(reached)


# -- what is lost ----------------------------------------------------------------------------------


async def test_a_redis_that_was_emptied_has_lost_its_runs_and_all_are_told(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = written(tmp_path, redis_server)
    async with alive([Instance(folder), Instance(folder, "--no-executor")]) as servers:
        ports = [server.port for server in servers]
        await make(ports[0], "silent", tokens=1, waits=True)
        await make(ports[0], "busy", tokens=100_000, pause=0.01)
        following = [asyncio.create_task(frames(port, run)) for port in ports for run in ("silent", "busy")]
        for port in ports:
            await until_token(port, "silent")
            await until_token(port, "busy", 5)
        redis_server.command("FLUSHALL")
        for log in await asyncio.gather(*following):
            *stored, end = log
            assert sequences(stored) == list(range(1, len(stored) + 1))
            assert (end.event, end.id, end.json()["code"]) == ("error", None, "RUN_LOST")
            assert "sequence" not in end.json()
        for run in ("silent", "busy"):
            await cancelled(folder, run)
            for port in ports:
                for method, path in (("GET", ""), ("GET", "/events"), ("DELETE", "")):
                    answer = await ask(port, method, f"/runs/{run}{path}", headers={"Last-Event-ID": "3"})
                    assert (answer.status, answer.json()["code"]) == (404, "RUN_NOT_FOUND")
        assert (await ask(ports[1], "GET", "/runs")).json()["runs"] == []
        await make(ports[1], "next", tokens=3)
        assert contiguous(await frames(ports[0], "next"))


async def test_a_redis_that_goes_back_in_time_is_an_explicit_gap(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = written(tmp_path, redis_server)
    async with alive([Instance(folder), Instance(folder, "--no-executor")]) as servers:
        ports = [server.port for server in servers]
        await make(ports[0], "mine", tokens=10, pause=0.005, waits=True, more=100_000)
        await has_stored(ports[0], "mine", 11)
        redis_server.back_up(tmp_path / "older")
        following = [asyncio.create_task(frames(port, "mine")) for port in ports]
        for port in ports:
            await until_token(port, "mine", 10)
        (folder / "go").touch()
        await has_stored(ports[0], "mine", 100)
        redis_server.restore(tmp_path / "older")
        logs = await asyncio.gather(*following)
        whole = await frames(ports[0], "mine")
        assert contiguous(whole)
        assert whole[-1].json()["code"] == "LOG_LOST"
        assert len(whole) == 12
        for log in logs:
            *stored, gap, end = log
            assert sequences(stored) == list(range(1, len(stored) + 1))
            assert gap.event == "gap"
            assert gap.json()["requested"] == len(stored) + 1
            assert end == whole[-1]
        late = await frames(ports[1], "mine", after=90)
        assert [frame.event for frame in late] == ["gap", "error"]
        await cancelled(folder, "mine")


# -- what is away ----------------------------------------------------------------------------------


@pytest.mark.parametrize(("seconds", "tokens"), [(0.5, 200), (5.0, 700)])
async def test_a_run_survives_a_redis_that_is_away_for_a_while(
    redis_server: RedisServer, tmp_path: Path, seconds: float, tokens: int
) -> None:
    folder = written(tmp_path, redis_server)
    async with alive([Instance(folder), Instance(folder, "--no-executor")]) as servers:
        ports = [server.port for server in servers]
        await make(ports[0], "mine", tokens=tokens, pause=0.01)
        following = [asyncio.create_task(_persistent(port, "mine")) for port in ports]
        await asyncio.gather(*(until_token(port, "mine", 20) for port in ports))
        redis_server.kill()
        await asyncio.sleep(seconds)
        await asyncio.to_thread(redis_server.start)
        one, other = await asyncio.gather(*following)
        assert contiguous(one)
        assert one == other == await frames(ports[0], "mine")
        assert (one[-1].event, len(one)) == ("complete", tokens + 2)
        assert (await shown(ports[1], "mine"))["attempt"] == 1


async def _persistent(port: int, run: str) -> list[Frame]:
    """Follow to the end, coming back behind the last event as often as the server closes."""
    log: list[Frame] = []
    while not log or log[-1].event not in ("complete", "error", "cancelled"):
        async with followed(port, run, log[-1].id or 0 if log else 0) as response:
            if response.status == 503:
                await asyncio.sleep(float(response.headers["retry-after"]))
            if response.status == 200:
                log += [frame async for frame in response.frames(30) if frame.id is not None]
    return log


async def test_without_redis_a_run_fails_honestly_and_nobody_hangs(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = written(tmp_path, redis_server, runs={"max_concurrent": 4})
    async with alive([Instance(folder)]) as (server,):
        port = server.port
        await make(port, "mine", tokens=100_000, pause=0.005)
        following = asyncio.create_task(_persistent(port, "mine"))
        await until_token(port, "mine", 20)
        redis_server.kill()
        began = time.monotonic()
        answers = await asyncio.gather(
            ask(port, "POST", "/runs?run_id=other", body={}),
            ask(port, "GET", "/runs"),
            ask(port, "GET", "/runs/mine"),
            ask(port, "GET", "/runs/mine/events"),
            ask(port, "DELETE", "/runs/mine"),
            ask(port, "GET", "/ready"),
        )
        assert time.monotonic() - began < 8
        assert [answer.status for answer in answers] == [503] * 6
        assert {answer.json()["code"] for answer in answers[:5]} == {"STORE_UNAVAILABLE"}
        assert all("retry-after" in answer.headers for answer in answers[:5])
        assert (await ask(port, "GET", "/health")).status == 200
        await cancelled(folder, "mine")  # the agent does not go on for nothing
        await asyncio.to_thread(redis_server.start)
        log = await following
        assert contiguous(log)
        assert (log[-1].event, log[-1].json()["code"]) == ("error", "LOG_UNAVAILABLE")
        assert log == await frames(port, "mine")

        async def ready() -> bool:
            return (await ask(port, "GET", "/ready")).status == 200

        await eventually(ready)
        await make(port, "next", tokens=3)
        assert contiguous(await frames(port, "next"))


# -- what is full ----------------------------------------------------------------------------------


async def test_a_full_redis_refuses_and_its_runs_end_once_they_can(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", maxmemory="6mb", maxmemory_policy="noeviction") as redis:
        folder = written(tmp_path, redis)
        async with alive([Instance(folder)]) as (server,):
            port = server.port
            await make(port, "mine", tokens=100_000, size=2_000)
            following = asyncio.create_task(_persistent(port, "mine"))
            await cancelled(folder, "mine")  # it has filled Redis, and was told to stop
            redis.command("CONFIG", "SET", "maxmemory", "1")  # not even something small fits now
            refused = await ask(port, "POST", "/runs?run_id=other", body={})
            assert (refused.status, refused.json()["code"]) == (503, "STORE_UNAVAILABLE")
            assert (await ask(port, "GET", "/health")).status == 200
            assert (await shown(port, "mine"))["status"] == "running"
            redis.command("CONFIG", "SET", "maxmemory", "0")
            log = await following
            assert contiguous(log)
            assert log[-1].json()["code"] == "LOG_UNAVAILABLE"
            await make(port, "next", tokens=3)
            assert contiguous(await frames(port, "next"))
        assert "its memory is full" in server.log.read_text()


async def test_a_redis_that_would_drop_runs_is_warned_about(tmp_path: Path) -> None:
    with RedisServer(tmp_path / "redis", maxmemory="50mb", maxmemory_policy="allkeys-lru") as redis:
        async with alive([Instance(written(tmp_path, redis))]) as (server,):
            assert "set noeviction" in server.log.read_text()
