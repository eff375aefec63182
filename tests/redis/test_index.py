"""The index of an owner's runs: those that have expired leave it, without anybody listing it."""

from __future__ import annotations

import asyncio

import pytest

from dockrion_events.bus.redis import index
from dockrion_events.testing.backend.support import OWNER, ending

from ..servers import RedisServer
from .conftest import Backends

TTL = 0.3


async def test_runs_that_have_expired_leave_the_index(
    backends: Backends, redis_server: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(index, "TIDY_EVERY", 1)

    def indexed() -> int:
        return int(redis_server.command("ZCARD", "dockrion:owner:" + OWNER).removeprefix(b":"))

    async with backends(stream_ttl_seconds=TTL) as backend:
        for number in range(100):
            await backend.create_run(f"old-{number}", owner=OWNER, request=b"{}")
        for number in range(100):
            if number % 10:  # the others run on, among those that are looked at
                await backend.end_run(f"old-{number}", ending(f"old-{number}"))
        assert indexed() == 100
        await asyncio.sleep(2 * TTL)
        for number in range(100):
            await backend.create_run(f"new-{number}", owner=OWNER, request=b"{}")
        for _ in range(500):  # each is looked at by chance, and a hundred times missed by none
            if indexed() == 110:
                break
            await asyncio.sleep(0.01)
        assert len(await backend.list_runs(OWNER, limit=500)) == indexed() == 110
