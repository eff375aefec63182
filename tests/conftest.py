"""What every test may use."""

from __future__ import annotations

import pytest

from .servers.fixtures import redis_server, shared_cluster, shared_redis

__all__ = ["redis_server", "shared_cluster", "shared_redis"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"
