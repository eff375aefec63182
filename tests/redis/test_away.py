"""Redis is away for a while, killed, or full: calls fail honestly, and all works again afterwards."""

from __future__ import annotations

import asyncio

import pytest

from dockrion_events import BackendUnavailable
from dockrion_events.bus import Claim
from dockrion_events.bus.redis import RedisBackend
from dockrion_events.testing.backend.support import (
    LONG,
    OWNER,
    PATIENCE,
    assert_same,
    claimed,
    opened,
    rest,
    tokens,
    whole,
)

from ..servers import Proxy, RedisServer
from .conftest import Backends


async def test_half_a_second_is_waited_for(backends: Backends, redis_server: RedisServer) -> None:
    log = whole("run", 6)
    async with backends() as backend, backends() as other:
        claim = await opened(backend, "run", log[:2])
        follower = await other.follow("run", after=0)
        reading = asyncio.create_task(rest(follower))
        redis_server.pause()
        asyncio.get_running_loop().call_later(0.5, redis_server.resume)
        await backend.append(claim, log[2:4])
        redis_server.kill()
        asyncio.get_running_loop().call_later(0.5, redis_server.start)
        await backend.append(claim, log[4:])
        assert_same(await asyncio.wait_for(reading, PATIENCE), log)


@pytest.mark.parametrize("how", ["killed", "hanging"])
async def test_longer_than_its_patience_it_is_unavailable(
    how: str, backends: Backends, redis_server: RedisServer
) -> None:
    log = whole("run", 6)
    async with backends(patience_seconds=1) as backend:
        claim = await opened(backend, "run", log[:3])
        follower = await backend.follow("run", after=3)
        reading = asyncio.create_task(follower.next_batch())
        if how == "killed":
            redis_server.kill()
        else:
            redis_server.pause()
        calls = [
            backend.append(claim, log[3:4]),
            backend.get_run("run"),
            backend.create_run("new", owner=OWNER, request=b"{}"),
            backend.ping(),
            reading,
        ]
        started = asyncio.get_running_loop().time()
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert asyncio.get_running_loop().time() - started < 6
        for result in results:
            assert isinstance(result, BackendUnavailable), result
            assert f"127.0.0.1:{redis_server.port}" in str(result)
        if how == "killed":
            redis_server.start()
        else:
            redis_server.resume()
        await backend.append(claim, log[3:])
        assert_same(await rest(follower), log[3:])
        record, new = await backend.create_run("new", owner=OWNER, request=b"{}")
        assert (record.status, new) == ("accepted", True), "the call whose outcome was unknown is made again"
        assert (await claimed(backend)).record.key == "new"


async def test_after_five_seconds_a_claim_is_still_its_holders(
    backends: Backends, redis_server: RedisServer
) -> None:
    log = whole("run", 5)
    async with backends() as holder, backends() as other:
        await holder.create_run("run", owner=OWNER, request=b"{}")
        claim = await claimed(holder, lease_seconds=2)
        await holder.append(claim, log[:2])
        hunting = asyncio.create_task(_hunt(other))
        renewing = asyncio.create_task(_renew(holder, claim))
        redis_server.kill()
        await asyncio.sleep(5)
        redis_server.start()
        await holder.append(claim, log[2:4])
        await asyncio.sleep(2.5)  # longer than the lease
        assert not hunting.done(), "a lease that ran out while Redis was away is not an executor's fault"
        await holder.append(claim, log[4:])
        for task in (hunting, renewing):
            task.cancel()
        await asyncio.gather(hunting, renewing, return_exceptions=True)
        assert not claim.revoked.done()


async def _hunt(backend: RedisBackend) -> list[Claim]:
    while True:
        try:
            claims = await backend.claim("other", accepted=1, expired=1, lease_seconds=2, timeout=1)
        except BackendUnavailable:
            continue
        if claims:
            return claims


async def _renew(backend: RedisBackend, claim: Claim) -> None:
    while True:
        try:
            await backend.renew([claim], lease_seconds=2)
        except BackendUnavailable:
            continue
        await asyncio.sleep(0.6)


async def test_a_full_redis_refuses_and_takes_again(backends: Backends, redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "maxmemory", "3mb")
    async with backends() as backend:
        claim = await opened(backend, "run", whole("run", 9)[:1])
        written = 1
        with pytest.raises(BackendUnavailable, match="memory is full"):  # noqa: PT012
            while written < 10_000:
                await backend.append(claim, tokens("run", 50, after=written, text="x" * 2000))
                written += 50
        assert (await backend.get_run("run")).last_sequence == written, "all of a batch, or nothing"
        with pytest.raises(BackendUnavailable, match="memory is full"):  # noqa: PT012
            for number in range(1000):
                await backend.create_run(f"new {number}", owner=OWNER, request=b"x" * 2000)
        redis_server.command("CONFIG", "SET", "maxmemory", "0")
        await backend.append(claim, tokens("run", 2, after=written))
        assert (await backend.get_run("run")).last_sequence == written + 2


async def test_a_read_only_or_loading_redis_is_named(backends: Backends, redis_server: RedisServer) -> None:
    async with backends(patience_seconds=0.5) as backend:
        claim = await opened(backend, "run")
        redis_server.command("REPLICAOF", "127.0.0.1", "1")
        with pytest.raises(BackendUnavailable, match="read-only replica"):
            await backend.append(claim, tokens("run", 1, after=0))
        redis_server.command("REPLICAOF", "NO", "ONE")
        await backend.append(claim, tokens("run", 1, after=0))


async def test_the_password_is_never_told(redis_server: RedisServer) -> None:
    redis_server.command("CONFIG", "SET", "requirepass", "right")
    for url in (
        f"redis://:canary-4711@127.0.0.1:{redis_server.port}",
        f"redis://user:canary-4711@127.0.0.1:{redis_server.port}/2",
        "redis://:canary-4711@127.0.0.1:1",
        f"redis+sentinel://:canary-4711@127.0.0.1:{redis_server.port}/service",
        f"redis+cluster://:canary-4711@127.0.0.1:{redis_server.port}",
    ):
        backend = RedisBackend(url, patience_seconds=0.3)
        with pytest.raises(BackendUnavailable) as caught:
            await backend.open()
        error: BaseException | None = caught.value
        while error is not None:
            assert "canary" not in f"{error!r}{error}"
            error = error.__cause__ or error.__context__
        await backend.close()
    good = RedisBackend(f"redis://:right@127.0.0.1:{redis_server.port}")
    await good.open()
    await good.close()


async def test_an_outage_seen_through_a_proxy_heals(backends: Backends, redis_server: RedisServer) -> None:
    log = whole("run", 30)
    with Proxy(redis_server.port) as proxy:
        async with backends(proxy.url) as backend:
            await backend.create_run("run", owner=OWNER, request=b"{}")
            claim = await claimed(backend, lease_seconds=LONG)
            follower = await backend.follow("run", after=0)
            for start in range(0, 30, 10):
                proxy.cut()
                asyncio.get_running_loop().call_later(0.3, proxy.mend)
                await backend.append(claim, log[start : start + 10])
            assert_same(await rest(follower), log)
