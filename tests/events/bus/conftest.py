"""The stores that runs are written to."""

from __future__ import annotations

import secrets

import pytest

from dockrion_events.bus import MemoryBackend
from dockrion_events.bus.redis import RedisBackend

from ...servers import RedisServer
from .support import Make


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Return backends that are not open yet: in Redis of one store, in memory each with its own."""
    if request.param == "memory":
        return MemoryBackend
    server: RedisServer = request.getfixturevalue("shared_redis")
    prefix = f"{secrets.token_hex(4)}:"
    return lambda **settings: RedisBackend(server.url, prefix=prefix, **settings)
