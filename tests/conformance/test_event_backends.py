"""Every event backend against the suite that comes with the contract."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dockrion_events.bus import MemoryBackend
from dockrion_events.testing import EventBackendSuite


class TestMemoryBackend(EventBackendSuite):
    @asynccontextmanager
    async def make(self, **settings: Any) -> AsyncIterator[MemoryBackend]:
        backend = MemoryBackend(**settings)
        await backend.open()
        try:
            yield backend
        finally:
            await backend.close()
