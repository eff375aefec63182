"""No test of this folder may leave a task behind or make the event loop complain."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

PATIENCE = 1.0


@pytest.fixture(autouse=True)
async def nothing_left_over(anyio_backend: str) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    before = asyncio.all_tasks()
    complaints: list[dict[str, Any]] = []
    previous = loop.get_exception_handler()
    loop.set_exception_handler(lambda _, about: complaints.append(about))
    try:
        yield
        left = [task for task in asyncio.all_tasks() - before if not _runs_tests(task)]
        if left:  # those that were told to stop may say their last words
            _, left = await asyncio.wait(left, timeout=PATIENCE)
        assert not left
        assert complaints == []
    finally:
        loop.set_exception_handler(previous)


def _runs_tests(task: asyncio.Task[Any]) -> bool:
    return "TestRunner" in getattr(task.get_coro(), "__qualname__", "")
