"""Redis loses data, all of it or the latest: never a hang, never a silent jump."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dockrion_events import LogLost, RunNotFound, Superseded
from dockrion_events.testing.backend.support import (
    LONG,
    OWNER,
    PATIENCE,
    assert_same,
    claimed,
    ending,
    failure,
    opened,
    opening,
    read,
    rest,
    soon,
    tokens,
    whole,
)

from ..servers import RedisServer
from .conftest import Backends


async def test_after_a_flush_the_runs_are_gone(backends: Backends, redis_server: RedisServer) -> None:
    async with backends() as backend, backends() as other:
        await backend.create_run("leased", owner=OWNER, request=b"{}")
        leased, appended = await claimed(backend), await opened(backend, "open", opening("open", 3))
        followers = [await side.follow("open", after=0) for side in (backend, other)]
        for follower in followers:
            await read(follower, 3)
        redis_server.command("FLUSHALL")
        with pytest.raises(RunNotFound):
            await backend.append(appended, tokens("open", 1, after=3))
        assert await soon(appended.revoked) == "lost"
        await backend.renew([leased], lease_seconds=LONG)
        assert await soon(leased.revoked) == "lost"
        for follower in followers:
            (lost,) = await rest(follower)
            assert (lost.type, lost.sequence) == ("error", None)
            assert getattr(lost.decode(), "code", None) == "RUN_LOST"
        assert await backend.list_runs(OWNER, limit=5) == []
        with pytest.raises(RunNotFound):
            await other.get_run("leased")
        await backend.create_run("leased", owner=OWNER, request=b"{}")
        again = await claimed(other)
        log = whole("leased", 3)
        await other.append(again, log)
        assert_same(await rest(await backend.follow("leased", after=0)), log)


async def test_an_executor_that_waits_goes_on_after_a_flush(
    backends: Backends, redis_server: RedisServer
) -> None:
    async with backends() as backend:
        waiting = asyncio.create_task(claimed(backend))
        await backend.ping()
        redis_server.command("FLUSHALL")
        await backend.create_run("run", owner=OWNER, request=b"{}")
        assert (await soon(waiting)).record.key == "run"


async def test_a_store_that_went_back_in_time_is_noticed(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    log = whole("run", 20)
    async with backends() as backend, backends() as other:
        await backend.create_run("run", owner=OWNER, request=b"{}")
        claim = await claimed(backend)
        await backend.append(claim, log[:5])
        redis_server.back_up(tmp_path / "backup")
        await backend.append(claim, log[5:10])
        behind, ahead = await other.follow("run", after=0), await other.follow("run", after=10)
        assert_same(await read(behind, 10), log[:10])
        waiting = asyncio.create_task(rest(ahead))
        redis_server.restore(tmp_path / "backup")
        with pytest.raises(LogLost):
            await backend.append(claim, log[10:12])
        record = await backend.end_run("run", ending("run", failure("LOG_LOST")))
        assert (record.status, record.last_sequence) == ("failed", 6)
        for events in (await rest(behind), await soon(waiting)):
            gap, terminal = events
            assert (gap.type, gap.sequence) == ("gap", None)
            assert (gap.decode().requested, gap.decode().first_available) == (11, 6)  # type: ignore[attr-defined]
            assert terminal == record.terminal


async def test_two_claims_with_the_same_token_are_told_apart(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with backends() as backend, backends() as other:
        await backend.create_run("run", owner=OWNER, request=b"{}")
        redis_server.back_up(tmp_path / "backup")
        first = await claimed(backend)
        redis_server.restore(tmp_path / "backup")
        second = await claimed(other)
        assert (first.token, second.token) == (1, 1)
        with pytest.raises(Superseded):
            await backend.append(first, opening("run", 2))
        await other.append(second, whole("run", 2))


async def test_a_claim_that_the_store_has_forgotten_is_lost(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with backends() as backend:
        await backend.create_run("run", owner=OWNER, request=b"{}")
        redis_server.back_up(tmp_path / "backup")
        claim = await claimed(backend)
        redis_server.restore(tmp_path / "backup")
        await backend.renew([claim], lease_seconds=LONG)
        assert await asyncio.wait_for(claim.revoked, PATIENCE) == "lost"
        assert (await claimed(backend)).token == 1
