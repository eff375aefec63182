"""The bus: what it opens and closes, and whom it serves."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AbstractAsyncContextManager

import pytest

from dockrion_events import (
    BackendUnavailable,
    EventBus,
    StreamClosed,
    StreamContext,
)
from dockrion_events.bus import MemoryBackend
from dockrion_events.bus.redis import RedisBackend

from ...servers import RedisServer
from .support import (
    DEADLINE,
    EMITS,
    LIVES,
    SYNC_EMITS,
    Make,
    Refusing,
    begun,
    end_from_outside,
    every_call_raises,
    read,
    types,
    until,
)


async def test_a_run_without_an_end_gets_one_when_the_bus_is_closed(make: Make) -> None:
    backend = make()
    async with EventBus(backend) as reader:

        async def crash() -> None:
            async with EventBus(backend) as bus:
                contexts.append(await begun(bus))
                contexts[0].sync_emit_token("a")
                raise ZeroDivisionError

        contexts: list[StreamContext] = []
        with pytest.raises(ZeroDivisionError):
            await crash()
        events = await read(reader)
        assert types(events) == ["started", "token", "error"]
        assert events[-1].code == "EXECUTOR_LOST"  # type: ignore[attr-defined]
        calls = [*EMITS, *SYNC_EMITS, *LIVES]
        await every_call_raises(
            contexts[0], calls, StreamClosed, "run r takes nothing more: the bus was closed"
        )


async def test_an_end_that_is_on_its_way_is_written_when_the_bus_is_closed(make: Make) -> None:
    backend = make()
    async with EventBus(backend) as reader:
        async with EventBus(backend) as bus:
            context = await begun(bus)
            end = asyncio.ensure_future(context.emit_complete(1, 1.0))
            await asyncio.sleep(0)
        await end
        assert types(await read(reader)) == ["started", "complete"]


async def test_closing_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dockrion_events.bus.bus.CLOSE_SECONDS", 0.01)
    backend = Refusing()
    async with EventBus(backend) as bus, asyncio.timeout(DEADLINE):
        context = await begun(bus)
        backend.error = BackendUnavailable("no answer")
        context.sync_emit_token("a")
        await until(lambda: backend.refused > 0)
    assert "run r: its end could not be written within 0.01 s" in caplog.text


async def test_a_backend_that_is_open_stays_open_and_another_is_closed(make: Make) -> None:
    backend = make()
    async with EventBus(backend):
        async with EventBus(backend):
            await backend.ping()
        await backend.ping()
    with pytest.raises(BackendUnavailable):
        await backend.ping()


async def test_a_bus_that_is_not_open_says_so(make: Make) -> None:
    bus = EventBus(make())
    context = StreamContext("r", bus=bus)
    with pytest.raises(BackendUnavailable, match="the bus is not open; use it as: async with"):
        await context.emit_started("early")
    with pytest.raises(BackendUnavailable, match="not open"):
        await read(bus)
    async with bus:
        await context.emit_started("worker")
        await context.emit_complete(1, 1.0)
    await bus.close()
    with pytest.raises(BackendUnavailable, match="the bus is closed"):
        await begun(bus, "late")
    with pytest.raises(BackendUnavailable, match="the bus is closed"):
        await bus.open()


def test_a_bus_whose_loop_has_ended_refuses() -> None:
    async def leave_open() -> EventBus:
        bus = EventBus(MemoryBackend())
        await bus.open()
        return bus

    bus = asyncio.run(leave_open())
    with pytest.raises(BackendUnavailable, match="event loop has ended"):
        asyncio.run(begun(bus))  # type: ignore[arg-type]


async def test_two_processes_share_a_store(shared_redis: RedisServer) -> None:
    prefix = f"{secrets.token_hex(4)}:"
    here, there = (EventBus(RedisBackend(shared_redis.url, prefix=prefix)) for _ in range(2))
    async with here, there:
        context = await begun(here)
        reading = asyncio.ensure_future(read(there))
        context.sync_emit_token("a")
        await end_from_outside(there)
        await until(lambda: context.cancelled)
        assert types(await reading)[-1] == "cancelled"
        second = StreamContext("r", bus=there)
        with pytest.raises(StreamClosed, match="already"):
            await second.emit_started("second")


def test_a_bus_is_an_async_context_manager() -> None:
    assert isinstance(EventBus(MemoryBackend()), AbstractAsyncContextManager)
