"""No test of this folder may leave a task behind or make the event loop complain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest


@pytest.fixture(autouse=True)
async def nothing_left_over(anyio_backend: str) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    complaints: list[dict[str, Any]] = []
    previous = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, about: complaints.append(about))
    try:
        yield
        for _ in range(10):  # done callbacks, and the last words of tasks that were told to stop
            await asyncio.sleep(0)
        assert [task for task in asyncio.all_tasks() - before if not _runs_tests(task)] == []
        assert complaints == []
    finally:
        loop.set_exception_handler(previous)


def _runs_tests(task: asyncio.Task[Any]) -> bool:
    return "TestRunner" in getattr(task.get_coro(), "__qualname__", "")
