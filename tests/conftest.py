"""What every test may use."""

from __future__ import annotations

import os
import signal

import pytest

from .servers.fixtures import redis_server, shared_cluster, shared_redis

__all__ = ["redis_server", "shared_cluster", "shared_redis"]


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def pytest_configure() -> None:
    """Give processes that tests start the usual signal handling, however the tests were started.

    What is started in the background of a script, or by nohup, ignores some signals, and so do its
    children. A signal that this process handles itself has its default effect in its children.
    """
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    for ignored in (signal.SIGQUIT, signal.SIGHUP, signal.SIGTERM):
        if signal.getsignal(ignored) is signal.SIG_IGN:
            signal.signal(ignored, signal.SIG_DFL)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail where a test was skipped and ``DOCKRION_NO_SKIPS`` says that nothing may be."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if os.environ.get("DOCKRION_NO_SKIPS") and reporter is not None and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
