"""The Redis backend against the suite that comes with the contract."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dockrion_events.bus.redis import RedisBackend
from dockrion_events.testing import EventBackendSuite

from ..servers import RedisServer


class TestRedisBackend(EventBackendSuite):
    @pytest.fixture(autouse=True)
    def _store(self, shared_redis: RedisServer) -> None:
        self._url = shared_redis.url

    @asynccontextmanager
    async def make(self, **settings: Any) -> AsyncIterator[RedisBackend]:
        backend = RedisBackend(self._url, prefix=f"{secrets.token_hex(4)}:", **settings)
        await backend.open()
        try:
            yield backend
        finally:
            await backend.close()
