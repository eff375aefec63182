"""What every test may use."""

from __future__ import annotations

import os

import pytest

from .servers.fixtures import redis_server, shared_cluster, shared_redis

__all__ = ["redis_server", "shared_cluster", "shared_redis"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test was skipped and ``DOCKRION_NO_SKIPS`` says that nothing may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("DOCKRION_NO_SKIPS") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
