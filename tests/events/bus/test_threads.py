"""Runs written from many threads and loops, and logs that are behind."""

from __future__ import annotations

import asyncio
import threading

import pytest

from dockrion_events import (
    EventBus,
    StreamClosed,
    get_current_context,
)

from .support import (
    DEADLINE,
    Make,
    Slow,
    begun,
    contents,
    in_threads,
    read,
    types,
    until,
)


async def test_many_threads_and_the_loop_itself_emit_at_once(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)

        def emit(name: str) -> None:
            for number in range(1500):
                context.sync_emit_token(f"{name}:{number}")

        others = in_threads([lambda name=name: emit(name) for name in "abc"])  # type: ignore[misc]
        emit("loop")
        for number in range(1500):
            await context.emit_token(f"async:{number}")
        await others
        await context.emit_complete(1, 1.0)
        events = await read(bus)
    assert [event.sequence for event in events] == list(range(1, 7503))
    seen: dict[str, list[int]] = {}
    for content in contents(events):
        name, _, number = content.partition(":")
        seen.setdefault(name, []).append(int(number))
    assert seen == {name: list(range(1500)) for name in ("a", "b", "c", "loop", "async")}


async def test_the_terminal_event_is_the_last_whatever_other_threads_emit(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        going = threading.Barrier(4)

        def emit() -> None:
            going.wait(DEADLINE)
            while True:
                context.sync_emit_token("x")

        others = [asyncio.create_task(asyncio.to_thread(emit)) for _ in range(3)]
        await asyncio.to_thread(going.wait, DEADLINE)
        await context.emit_complete(1, 1.0)
        for other in others:
            with pytest.raises(StreamClosed, match="has ended"):
                await other
        events = await read(bus)
        record = await bus.backend.get_run("r")
    assert types(events)[-1] == "complete"
    assert types(events).count("complete") == 1
    assert events[-1].sequence == record.last_sequence


async def test_a_run_may_be_written_on_another_loop(make: Make) -> None:
    async with EventBus(make()) as bus:

        async def elsewhere() -> None:
            context = await begun(bus)
            for number in range(3000):  # more than may wait
                await context.emit_token(str(number))
            await context.emit_complete(1, 1.0)

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert contents(await read(bus)) == [str(number) for number in range(3000)]


async def test_wrapped_functions_find_the_context(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)

        def work() -> None:
            current = get_current_context()
            assert current is not None
            current.sync_emit_token("deep")

        thread = threading.Thread(target=context.wrap(work))
        thread.start()
        await asyncio.to_thread(thread.join, DEADLINE)
        await context.emit_complete(1, 1.0)
        assert contents(await read(bus)) == ["deep"]


async def test_what_comes_during_an_append_is_one_append() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        await until(lambda: backend.asked == 2)
        for _ in range(500):
            await context.emit_token("b")
        backend.allow(2)
        await until(lambda: len(backend.batches) == 3)
        assert backend.batches == [1, 1, 500]
        backend.allow()
        await context.emit_complete(1, 1.0)


async def test_emitters_wait_for_a_log_that_is_behind_and_the_loops_own_thread_does_not() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        context.sync_emit_token("taken")
        await until(lambda: backend.asked == 2)
        for _ in range(2000):
            context.sync_emit_token("loop")  # returns, however many wait
        emitted: list[int] = []

        def work() -> None:
            for number in range(5):
                context.sync_emit_token("thread")
                emitted.append(number)

        thread = asyncio.ensure_future(asyncio.to_thread(work))
        task = asyncio.ensure_future(context.emit_token("task"))
        await until(lambda: len(context.queue) >= 2002)
        assert not thread.done()
        assert not task.done()
        assert emitted == []
        backend.allow(100)
        await asyncio.gather(thread, task)
        await context.emit_complete(1, 1.0)
        assert len(contents(await read(bus))) == 2007


async def test_giving_up_waiting_does_not_take_the_end_back() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await context.emit_complete(1, 1.0)
        with pytest.raises(StreamClosed, match="has ended"):
            context.sync_emit_token("late")
        backend.allow()
        assert types(await read(bus)) == ["started", "complete"]
