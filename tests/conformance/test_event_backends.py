"""Every event backend against the suite that comes with the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import hypothesis

from dockrion_events.bus import MemoryBackend
from dockrion_events.testing import EventBackendSuite
from dockrion_events.testing.machine import EventBackendMachine


@asynccontextmanager
async def memory(**settings: Any) -> AsyncIterator[MemoryBackend]:
    backend = MemoryBackend(**settings)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


class TestMemoryBackend(EventBackendSuite):
    def make(self, **settings: Any) -> AbstractAsyncContextManager[MemoryBackend]:
        return memory(**settings)


class MemoryMachine(EventBackendMachine):
    def make(self, **settings: Any) -> AbstractAsyncContextManager[MemoryBackend]:
        return memory(**settings)


TestMemoryAtRandom = MemoryMachine.TestCase
TestMemoryAtRandom.settings = hypothesis.settings(max_examples=60, stateful_step_count=50, deadline=None)
