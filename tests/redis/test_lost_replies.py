"""A reply that is lost after the write: no duplicate, no hole, and the same answer."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from dockrion_events.bus.redis.queue_scripts import REQUEUE, TAKE
from dockrion_events.bus.redis.scripts import APPEND, CLAIM, CREATE, END, RELEASE, Script
from dockrion_events.testing.backend.support import (
    LONG,
    OWNER,
    PATIENCE,
    assert_same,
    ending,
    opening,
    read,
    rest,
    whole,
)

from ..servers import Proxy, RedisServer
from .conftest import Backends


@pytest.fixture
def proxy(redis_server: RedisServer) -> Iterator[Proxy]:
    with Proxy(redis_server.port) as proxy:
        yield proxy


async def test_every_step_of_a_run_survives_the_loss_of_its_reply(backends: Backends, proxy: Proxy) -> None:
    log = whole("run", 9)
    async with backends(proxy.url) as backend, backends() as witness:
        await _warm(backend, "warm")

        def lose(script: Script) -> None:
            proxy.lose_reply(script.sha)

        lose(CREATE)
        record, new = await backend.create_run("run", owner=OWNER, request=b"{}")
        assert (new, record.status) == (True, "accepted")
        lose(TAKE)
        first = await _claim(backend)
        lose(RELEASE)
        lose(REQUEUE)
        await backend.release(first)
        lose(CLAIM)
        claim = await _claim(backend)
        assert (claim.token, claim.record.attempt) == (2, 2)
        follower = await witness.follow("run", after=0)
        lose(APPEND)
        await backend.append(claim, log[:3])
        for event in log[3:7]:
            lose(APPEND)
            await backend.append(claim, [event])
        lose(APPEND)
        await backend.append(claim, log[7:])
        assert_same(await rest(follower), log)
        record = await witness.get_run("run")
        assert (record.status, record.first_sequence, record.last_sequence) == ("completed", 1, 9)
        assert proxy.lost == 11
        assert await witness.claim("other", accepted=9, expired=9, lease_seconds=LONG, timeout=0.2) == []


async def test_a_run_that_is_opened_or_ended_survives_it_too(backends: Backends, proxy: Proxy) -> None:
    async with backends(proxy.url) as backend:
        await _warm(backend, "warm")
        proxy.lose_reply(CREATE.sha)
        claim = await backend.open_run("run", owner=OWNER, request=b"{}")
        await backend.append(claim, opening("run", 3))
        proxy.lose_reply(END.sha)
        record = await backend.end_run("run", ending("run"))
        assert (record.status, record.last_sequence, proxy.lost) == ("cancelled", 4, 2)
        assert await asyncio.wait_for(claim.revoked, PATIENCE) == "cancelled"


async def test_readers_survive_connections_that_are_cut(backends: Backends, proxy: Proxy) -> None:
    log = whole("run", 200)
    async with backends() as writer, backends(proxy.url) as reader:
        claim = await writer.open_run("run", owner=OWNER, request=b"{}")
        followers = [await reader.follow("run", after=0) for _ in range(5)]
        readings = [asyncio.create_task(rest(follower)) for follower in followers]
        for start in range(0, 200, 20):
            await writer.append(claim, log[start : start + 20])
            proxy.cut_once()
        for reading in readings:
            assert_same(await asyncio.wait_for(reading, PATIENCE), log)


async def test_commands_that_are_cancelled_do_not_disturb_the_others(
    backends: Backends, proxy: Proxy
) -> None:
    log = whole("run", 300)
    async with backends(proxy.url, connection_pool_size=2) as backend:
        claim = await backend.open_run("run", owner=OWNER, request=b"{}")
        follower = await backend.follow("run", after=0)
        for number, event in enumerate(log):
            asked = [asyncio.ensure_future(backend.get_run("run")) for _ in range(3)]
            appending = asyncio.ensure_future(backend.append(claim, [event]))
            for _ in range(number % 4):
                await asyncio.sleep(0)
            for call in asked:
                call.cancel()
            await appending
            record = await backend.get_run("run")
            assert record.last_sequence == number + 1
        assert_same(await read(follower, 300), log)


async def _claim(backend):  # type: ignore[no-untyped-def]
    (claim,) = await backend.claim("one", accepted=1, expired=0, lease_seconds=LONG, timeout=PATIENCE)
    return claim


async def _warm(backend, key: str) -> None:  # type: ignore[no-untyped-def]
    """Let Redis learn the scripts, so that the tests know which command carries them."""
    await backend.create_run(key, owner=OWNER, request=b"{}")
    await backend.release(await _claim(backend))
    claim = await _claim(backend)
    await backend.append(claim, opening(key, 2))
    await backend.end_run(key, ending(key))
