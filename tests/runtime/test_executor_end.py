"""The end of an executor's process: what becomes of the runs that it still executes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from dockrion_events.bus import RunRecord
from dockrion_runtime.runs import executor as executors

from .executors import LEASE, Agent, SharedMemory, SlowStore, die, house, kinds, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executors, "SWEEP_SECONDS", LEASE / 5)
    return


async def test_what_does_not_end_in_time_is_handed_back_and_goes_on_elsewhere() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        first = here.executor("restart")
        key = await here.make()
        await here.reaches(key, "token")
        await first.stop(0)
        assert first.active == 0
        assert (await here.record(key)).status == "accepted"
        agent.go_on.set()
        here.executor("restart")
        events = await here.events(key)
    assert kinds(events) == ["started", "begun", "restarted", "begun", "over", "complete"]
    assert events[2]["attempt"] == 2  # the first executor did not claim it once more


async def test_an_agent_that_is_slow_to_stop_is_handed_back_all_the_same() -> None:
    stubborn, calls = asyncio.Event(), 0

    async def agent(payload: dict[str, Any]) -> str:
        nonlocal calls
        calls += 1
        try:
            await asyncio.Event().wait()
        finally:
            await stubborn.wait()
        return "never"

    async with house(agent) as here:
        first = here.executor("restart")
        key = await here.make()
        await here.reaches(key, "started")
        first._loops[0].cancel()  # no claim is under way, so nothing else is waited for
        await asyncio.wait((first._loops[0],))
        await first.stop(0)
        assert (await here.record(key)).status == "accepted"
        stubborn.set()
    assert calls == 1


async def test_what_was_emitted_before_a_run_is_handed_back_is_in_its_log() -> None:
    agent, store = Agent(), SlowStore()
    emitted = asyncio.Event()

    async def handler(payload: dict[str, Any], context: Any) -> None:
        await context.emit_token("one")
        await agent.go_on.wait()
        await context.emit_token("two")
        await store.asked.wait()
        await context.emit_token("three")
        emitted.set()
        await asyncio.Event().wait()

    async with house(handler, store) as here:
        first = here.executor("restart")
        key = await here.make()
        await here.reaches(key, "token")
        store.answers.clear()
        store.asked.clear()
        agent.go_on.set()
        await emitted.wait()
        stopping = asyncio.create_task(first.stop(0))
        await until(lambda: first._parting)
        store.answers.set()
        await stopping
        record = await here.record(key)
        assert record.status == "accepted"
        follower = await here.backend.follow(key, after=0)
        logged = [event.type for event in await follower.next_batch()]
    assert logged == ["started", "token", "token", "token"]


async def test_a_run_that_has_finished_is_not_handed_back() -> None:
    agent, store = Agent(), SlowStore()
    async with house(agent.handler(), store) as here:
        first = here.executor("restart")
        key = await here.make()
        await agent.entered.wait()
        await here.reaches(key, "token")
        store.answers.clear()
        store.asked.clear()
        agent.go_on.set()
        await store.asked.wait()
        await until(lambda: agent.at_once == 0)
        stopping = asyncio.create_task(first.stop(0))
        await until(lambda: first._parting)
        store.answers.set()
        await stopping
        assert kinds(await here.events(key)) == ["started", "begun", "over", "complete"]
    assert agent.calls == 1


@pytest.mark.parametrize("durable", [False, True])
async def test_a_run_that_is_just_beginning_is_told_of_the_end_too(durable: bool) -> None:
    agent = Agent()
    store = SharedMemory()
    store.durable = durable
    async with house(agent.handler(), store) as here:
        begin, beginning, go_on = here.runs.start_run, asyncio.Event(), asyncio.Event()

        async def slowly(record: RunRecord, *, resume: bool) -> Any:
            beginning.set()
            await go_on.wait()
            return await begin(record, resume=resume)

        here.runs.start_run = slowly  # type: ignore[method-assign]
        first = here.executor("fail")
        key = await here.make()
        await beginning.wait()
        stopping = asyncio.create_task(first.stop(0))
        await until(lambda: first._parting)
        go_on.set()
        await stopping
        events = await here.events(key)
    assert kinds(events)[-1] == ("error" if durable else "cancelled")


async def test_an_executor_that_ends_leaves_lost_runs_to_the_others() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        first = here.executor("fail")
        await until(first._claiming.locked)
        key = await here.make()
        await agent.entered.wait()
        await here.reaches(key, "started")
        await die(first)
        second = here.executor("fail", lease=100)
        await second._claiming.acquire()  # its sweep waits for its turn
        await until(lambda: second._claiming._waiters)
        await asyncio.sleep(LEASE)
        second._stopping = True
        second._claiming.release()
        await second.stop(0)
        assert (await here.record(key)).attempt == 1
        here.executor("fail")
        assert (await here.events(key))[-1]["code"] == "EXECUTOR_LOST"


async def test_stopping_twice_is_as_well() -> None:
    async with house(Agent().handler()) as here:
        executor = here.executor()
        await executor.stop(0)
        await executor.stop(0)
        assert executor.active == 0
