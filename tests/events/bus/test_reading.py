"""Runs read while they are written, and afterwards."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import pytest

from dockrion_events import (
    Event,
    EventBus,
    RunNotFound,
)

from .support import (
    DEADLINE,
    Make,
    begun,
    contents,
    read,
    types,
)


async def test_several_writers_and_readers_that_come_at_any_moment(make: Make) -> None:
    async with EventBus(make()) as bus:

        async def write(run_id: str) -> None:
            context = await begun(bus, run_id)
            for number in range(100):
                await context.emit_token(f"{run_id}:{number}")
                if number % 10 == 0:
                    readers.append(asyncio.ensure_future(read(bus, run_id)))
                    await asyncio.sleep(0)
            await context.emit_complete(run_id, 1.0)

        readers: list[asyncio.Future[list[Event]]] = []
        await asyncio.gather(*(write(f"run-{n}") for n in range(8)))
        logs = await asyncio.gather(*readers)
    assert len(logs) == 80
    for log in logs:
        run_id = log[0].run_id
        assert [event.sequence for event in log] == list(range(1, 103))
        assert contents(log) == [f"{run_id}:{number}" for number in range(100)]


async def test_a_reader_sees_events_while_the_run_goes_on(make: Make) -> None:
    async with EventBus(make()) as bus, asyncio.timeout(DEADLINE):
        context = await begun(bus)
        seen = []
        async for event in bus.subscribe("r"):
            seen.append(event.type)
            if event.sequence == 1:
                context.sync_emit_token("a")
            elif event.sequence == 2:
                await context.emit_complete(1, 1.0)
        assert seen == ["started", "token", "complete"]


@pytest.mark.parametrize(
    ("start", "sequences"), [(0, [1, 2, 3, 4]), (1, [1, 2, 3, 4]), (3, [3, 4]), (4, [4])]
)
async def test_reading_begins_with_from_sequence(make: Make, start: int, sequences: list[int]) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        context.sync_emit_token("b")
        await context.emit_complete(1, 1.0)
        assert [event.sequence for event in await read(bus, from_sequence=start)] == sequences


async def test_reading_beyond_the_end_tells_so_and_gives_the_end(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        await context.emit_complete(1, 1.0)
        assert types(await read(bus, from_sequence=7)) == ["gap", "complete"]
        with pytest.raises(ValueError, match="from_sequence is -1"):
            bus.subscribe("r", from_sequence=-1)


async def test_events_that_are_not_kept_are_a_gap(make: Make) -> None:
    async with EventBus(make(max_events_per_run=100)) as bus:
        context = await begun(bus)
        for _ in range(2000):
            await context.emit_token("a")
        await context.emit_complete(1, 1.0)
        events = await read(bus)
    gap, first = events[:2]
    assert (gap.type, gap.requested) == ("gap", 1)  # type: ignore[attr-defined]
    assert first.sequence == gap.first_available > 1  # type: ignore[attr-defined]
    assert events[-1].sequence == 2002


async def test_a_run_that_is_not_there(make: Make) -> None:
    async with EventBus(make()) as bus:
        with pytest.raises(RunNotFound):
            await read(bus, "nobody")


async def test_a_reader_that_leaves_costs_nothing(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        async with aclosing(bus.subscribe("r")) as events:  # type: ignore[type-var]
            async for event in events:
                assert event.type == "started"
                break
        assert bus._followers == set()
        await context.emit_complete(1, 1.0)
        assert len(await read(bus)) == 2


async def test_closing_the_bus_ends_the_reading(make: Make) -> None:
    backend = make()
    await backend.open()
    bus = EventBus(backend)
    async with bus, EventBus(backend) as other:
        context = await begun(other)
        events = bus.subscribe("r")
        assert (await anext(events)).type == "started"
        waiting = asyncio.create_task(anext(events, None))  # type: ignore[arg-type]
        await bus.close()
        assert await waiting is None
        await context.emit_complete(1, 1.0)
    await backend.close()
