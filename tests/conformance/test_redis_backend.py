"""The Redis backend against the suite that comes with the contract."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import hypothesis
import pytest

from dockrion_events.bus import EventBackend
from dockrion_events.bus.redis import RedisBackend
from dockrion_events.testing import EventBackendSuite
from dockrion_events.testing.machine import EventBackendMachine

from ..redis.conftest import opened_backend
from ..servers import RedisCluster, RedisServer


class TestRedisBackend(EventBackendSuite):
    @pytest.fixture(autouse=True)
    def _store(self, shared_redis: RedisServer) -> None:
        self._url = shared_redis.url

    @asynccontextmanager
    async def make(self, **settings: Any) -> AsyncIterator[RedisBackend]:
        self._settings = {"prefix": f"{secrets.token_hex(4)}:", **settings}
        async with self.second() as backend:
            yield backend

    @asynccontextmanager
    async def second(self, backend: EventBackend | None = None) -> AsyncIterator[RedisBackend]:
        async with opened_backend(self._url, **self._settings) as opened:
            yield opened


class TestRedisCluster(TestRedisBackend):
    def overshoot(self, limit: int, *, calls: int) -> int:
        return calls  # the queue and the records are apart

    @pytest.fixture(autouse=True)
    def _store(self, shared_cluster: RedisCluster) -> None:  # type: ignore[override]
        self._url = shared_cluster.url


class RedisMachine(EventBackendMachine):
    url = ""

    @asynccontextmanager
    async def make(self, **settings: Any) -> AsyncIterator[RedisBackend]:
        async with opened_backend(self.url, prefix=f"{secrets.token_hex(4)}:", **settings) as backend:
            yield backend


@pytest.fixture(scope="module", autouse=True)
def _server_of_the_machine(shared_redis: RedisServer) -> None:
    RedisMachine.url = shared_redis.url


TestRedisAtRandom = RedisMachine.TestCase
TestRedisAtRandom.settings = hypothesis.settings(max_examples=30, stateful_step_count=40, deadline=None)
