"""Several backends on one store, as processes on several machines would be."""

from __future__ import annotations

import asyncio
import time

import pytest

from dockrion_events import RunEnded, Superseded
from dockrion_events.testing.backend.support import (
    LONG,
    OWNER,
    assert_same,
    claimed,
    ending,
    opened,
    opening,
    rest,
    soon,
    taken_over,
    whole,
)

from ..servers import RedisServer
from .conftest import Backends


async def test_any_creates_any_executes_any_serves(backends: Backends) -> None:
    log = whole("run", 50)
    async with backends() as one, backends() as two, backends() as three:
        waiting = asyncio.create_task(claimed(two))
        await one.create_run("run", owner=OWNER, request=b"{}")
        claim = await soon(waiting)
        followers = [await backend.follow("run", after=0) for backend in (one, two, three)]
        readings = [asyncio.create_task(rest(follower)) for follower in followers]
        for start in range(0, 50, 5):
            await two.append(claim, log[start : start + 5])
        for reading in readings:
            assert_same(await soon(reading), log)


async def test_a_cancel_reaches_the_executor_at_once(backends: Backends) -> None:
    async with backends() as one, backends() as two:
        await one.create_run("run", owner=OWNER, request=b"{}")
        claim = await claimed(two)
        await two.append(claim, opening("run", 2))
        started = time.perf_counter()
        await one.end_run("run", ending("run"))
        assert await soon(claim.revoked) == "cancelled"
        assert time.perf_counter() - started < 0.2
        with pytest.raises(RunEnded):
            await two.append(claim, whole("run", 3)[2:])


async def test_a_zombie_is_fenced_off(backends: Backends) -> None:
    """Nothing renews, as if the process was stopped; when it wakes, another has ended its run."""
    log = whole("run", 6)
    async with backends() as one, backends() as two:
        await one.create_run("run", owner=OWNER, request=b"{}")
        zombie = await claimed(one, lease_seconds=0.2)
        await one.append(zombie, log[:3])
        heir = await taken_over(two)
        assert (heir.token, heir.record.last_sequence, heir.record.attempt) == (2, 3, 2)
        assert await soon(zombie.revoked) == "superseded"
        with pytest.raises(Superseded):
            await one.append(zombie, log[3:4])
        await two.append(heir, log[3:])
        with pytest.raises((Superseded, RunEnded)):
            await one.append(zombie, log[3:])
        assert_same(await rest(await one.follow("run", after=0)), log)


async def test_hundreds_of_subscribers_share_few_connections(
    backends: Backends, redis_server: RedisServer
) -> None:
    log = whole("run", 400)
    async with backends() as writer, backends(connection_pool_size=10) as server:
        claim = await opened(writer, "run", log[:1])
        followers = [await server.follow("run", after=0) for _ in range(500)]
        readings = [asyncio.create_task(rest(follower)) for follower in followers]
        for start in range(1, 400, 19):
            await writer.append(claim, log[start : start + 19])
            record = await soon(server.get_run("run"))
            assert record.last_sequence == min(400, start + 19)
        for reading in readings:
            assert_same(await soon(reading), log)
        connected = redis_server.command("INFO", "clients").split(b"connected_clients:")[1].split(b"\r")[0]
        assert int(connected) <= 2 * 12 + 1


async def test_nothing_is_left_behind(backends: Backends, redis_server: RedisServer) -> None:
    async with backends(stream_ttl_seconds=1) as backend:
        for number in range(300):
            await backend.create_run(f"run {number}", owner=OWNER, request=b"{}")
        done = 0
        while done < 300:
            for claim in await backend.claim("one", accepted=64, expired=1, lease_seconds=LONG, timeout=1):
                await backend.append(claim, whole(claim.record.key, 4))
                done += 1
        assert await backend.claim("one", accepted=1, expired=1, lease_seconds=LONG, timeout=0) == []
        await asyncio.sleep(1.2)
        assert await backend.list_runs(OWNER, limit=400) == []
    # The queue itself, which is empty.
    assert redis_server.command("KEYS", "*") == b"*1\r\n$16\r\ndockrion:{queue}\r\n"
    assert redis_server.command("XLEN", "dockrion:{queue}") == b":0\r\n"
    assert b"pending" not in redis_server.command("XINFO", "CONSUMERS", "dockrion:{queue}", "executors")
