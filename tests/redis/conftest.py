"""Backends over a server of the test's own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import pytest

from dockrion_events.bus.redis import RedisBackend

from ..servers import RedisServer

Backends: TypeAlias = Callable[..., AbstractAsyncContextManager[RedisBackend]]


@asynccontextmanager
async def opened_backend(url: str, **settings: Any) -> AsyncIterator[RedisBackend]:
    backend = RedisBackend(url, **settings)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


@pytest.fixture
def backends(redis_server: RedisServer) -> Backends:
    """Give backends over the test's own server, each as a process of its own would have it."""

    def make(url: str = redis_server.url, **settings: Any) -> AbstractAsyncContextManager[RedisBackend]:
        return opened_backend(url, **settings)

    return make
