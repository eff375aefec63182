"""The executor: claims and leases, beside other executors on the same store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dockrion_adapters import abandoned_threads
from dockrion_events import BackendUnavailable, CancelledEvent, RestartedEvent, StartedEvent
from dockrion_events.bus import RunRecord, ending
from dockrion_events.testing.backend.support import encoded
from dockrion_runtime.runs import executor as executors
from dockrion_runtime.runs.fate import LOSSES_AMONG_OTHERS, MAX_LOSSES

from .executors import LEASE, Agent, House, SharedMemory, SlowStore, die, house, idle, kinds, until


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executors, "SWEEP_SECONDS", LEASE / 5)
    return


# -- claiming --------------------------------------------------------------------------------------


async def test_no_more_runs_at_once_than_there_are_places() -> None:
    """Whether they are new or lost: both are looked for at the same time."""
    agent = Agent()
    async with house(agent.handler()) as here:
        for name in ("lost1", "lost2"):
            await here.make(name)
        await here.backend.claim("dead", accepted=2, expired=0, lease_seconds=LEASE, timeout=0)
        executor = here.executor("restart", slots=1)
        await asyncio.sleep(LEASE)  # the leases expire while it waits for new runs
        keys = ["lost1", "lost2", await here.make("new1"), await here.make("new2")]
        await agent.entered.wait()
        assert executor.active == 1
        agent.go_on.set()
        for key in keys:
            assert kinds(await here.events(key))[-1] == "complete"
    assert agent.most == 1


async def test_a_run_that_was_claimed_in_vain_is_not_lost() -> None:
    """An executor that ends may be given one more run; it hands it back without having begun it."""
    agent = Agent()
    agent.go_on.set()
    async with house(agent.handler()) as here:
        first = here.executor()
        await until(first._claiming.locked)
        stopping = asyncio.create_task(first.stop(0))
        await until(lambda: first._stopping)
        key = await here.make()
        await stopping
        assert (await here.record(key)).status == "accepted"
        here.executor("fail")
        assert kinds(await here.events(key)) == ["started", "begun", "over", "complete"]
    assert agent.calls == 1


async def test_under_fail_a_run_that_had_begun_is_not_executed_again() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        first = here.executor("fail")
        key = await here.make()
        await agent.entered.wait()
        await here.reaches(key, "token")
        await die(first)
        here.executor("fail")
        events = await here.events(key)
    assert kinds(events) == ["started", "begun", "error"]
    assert events[-1]["code"] == "EXECUTOR_LOST"
    assert agent.calls == 1


async def lose(here: House, key: str, times: int, *, writing: bool = True) -> None:
    """Let so many executors claim a run, append something if ``writing``, and be gone."""
    for _ in range(times):
        claims: list[Any] = []
        while not claims:
            claims = await here.backend.claim("dead", accepted=1, expired=1, lease_seconds=0.01, timeout=1)
        [claim] = claims
        assert claim.record.key == key
        if writing:
            last = claim.record.last_sequence
            event = StartedEvent("tested") if not last else RestartedEvent(claim.record.attempt)
            await here.backend.append(claim, encoded(key, [event], after=last))


async def test_a_run_that_takes_its_executor_along_is_given_up() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        key = await here.make()
        await lose(here, key, MAX_LOSSES)
        here.executor("restart")
        events = await here.events(key)
    assert kinds(events) == ["started", *["restarted"] * (MAX_LOSSES - 1), "error"]
    assert events[-1]["code"] == "EXECUTOR_LOST"
    assert f"{MAX_LOSSES} times" in events[-1]["error"]
    assert agent.calls == 0


async def test_a_loss_before_anything_was_written_does_not_count() -> None:
    """It waited, and something else took its process along."""
    agent = Agent()
    async with house(agent.handler()) as here:
        key = await here.make()
        await lose(here, key, MAX_LOSSES + 1, writing=False)
        agent.go_on.set()
        here.executor("restart")
        assert kinds(await here.events(key)) == ["started", "begun", "over", "complete"]


async def test_a_run_that_was_lost_twice_is_executed_alone() -> None:
    agents = [Agent(), Agent(), Agent()]
    before, suspect, behind = agents

    async def chosen(payload: dict[str, Any], context: Any) -> str:
        answer: str = await agents[payload["agent"]].handler()(payload, context)
        return answer

    async with house(chosen) as here:
        lost = await here.make("lost", {"agent": 1})
        await lose(here, lost, LOSSES_AMONG_OTHERS)
        one = await here.make("before", {"agent": 0})
        executor = here.executor("restart")
        await before.entered.wait()
        await until(lambda: executor._alone)
        two = await here.make("behind", {"agent": 2})
        assert not suspect.calls
        before.go_on.set()
        await suspect.entered.wait()
        assert kinds(await here.events(one))[-1] == "complete"
        assert (executor.active, (await here.record(two)).status) == (1, "accepted")
        suspect.go_on.set()
        assert kinds(await here.events(lost))[-4:] == ["restarted", "begun", "over", "complete"]
        behind.go_on.set()
        assert kinds(await here.events(two))[-1] == "complete"


async def test_runs_that_were_lost_together_are_executed_one_by_one() -> None:
    agent = Agent()
    agent.go_on.set()
    async with house(agent.handler()) as here:
        keys = [await here.make(f"lost-{number}") for number in range(4)]
        for _ in range(LOSSES_AMONG_OTHERS):
            claims: list[Any] = []
            while len(claims) < len(keys):
                claims += await here.backend.claim(
                    "dead", accepted=9, expired=9, lease_seconds=0.2, timeout=1
                )
            for claim in claims:
                last = claim.record.last_sequence
                event = RestartedEvent(claim.record.attempt) if last else StartedEvent("tested")
                await here.backend.append(claim, encoded(claim.record.key, [event], after=last))
        here.executor("restart")
        for key in keys:
            assert kinds(await here.events(key))[-1] == "complete"
    assert (agent.calls, agent.most) == (len(keys), 1)


async def test_a_run_that_waits_to_be_alone_is_handed_back_at_the_end() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        lost = await here.make("lost")
        await lose(here, lost, LOSSES_AMONG_OTHERS)
        await here.make("before")
        executor = here.executor("restart")
        await agent.entered.wait()
        await until(lambda: executor._alone)
        await executor.stop(0)
        record = await here.record(lost)
        assert (record.status, record.losses) == ("accepted", LOSSES_AMONG_OTHERS)
        agent.go_on.set()
        here.executor("restart")
        assert kinds(await here.events(lost))[-1] == "complete"


async def test_an_executor_without_threads_leaves_runs_to_others() -> None:
    """They are claimed by nobody, and not failed."""
    release = threading.Event()

    def never(payload: dict[str, Any], context: Any) -> str:
        context.sync_emit_token("begun")
        release.wait()
        return "done"

    try:
        async with house(never) as here:
            executor = here.executor("fail", slots=2)
            keys = [await here.make(f"held-{number}") for number in range(2)]
            for key in keys:
                await here.reaches(key, "token")
                await here.runs.cancel("", key, None)
            await until(lambda: not executor.active)
            assert abandoned_threads() == 2
            waiting = await here.make("waiting")
            await asyncio.sleep(3 * LEASE)  # it would have been claimed
            assert (await here.record(waiting)).status == "accepted"
            release.set()
            assert kinds(await here.events(waiting))[-1] == "complete"
    finally:
        release.set()


async def test_handing_back_is_not_losing() -> None:
    """A long run may outlive any number of deployments."""
    agent = Agent()
    async with house(agent.handler()) as here:
        key = await here.make()
        for _ in range(MAX_LOSSES + 1):
            agent.entered.clear()
            executor = here.executor("restart")
            await agent.entered.wait()
            await executor.stop(0)
        agent.go_on.set()
        here.executor("restart")
        assert kinds(await here.events(key))[-1] == "complete"


async def test_a_run_that_is_cancelled_before_it_begins_never_begins() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        begin = here.runs.start_run

        async def cancelled_meanwhile(record: RunRecord, *, resume: bool) -> Any:
            execution = await begin(record, resume=resume)
            end = ending("r", here.runs.started_event(), CancelledEvent("no"))
            await here.backend.end_run(record.key, end)
            return execution

        here.runs.start_run = cancelled_meanwhile  # type: ignore[method-assign]
        executor = here.executor()
        assert kinds(await here.events(await here.make())) == ["started", "cancelled"]
        await idle(executor)
    assert agent.calls == 0


# -- leases ----------------------------------------------------------------------------------------


async def test_a_lease_is_renewed_for_as_long_as_the_run_takes() -> None:
    agent = Agent()
    async with house(agent.handler()) as here:
        here.executor("fail")
        key = await here.make()
        await agent.entered.wait()
        here.executor("fail")
        await asyncio.sleep(4 * LEASE)
        agent.go_on.set()
        assert kinds(await here.events(key)) == ["started", "begun", "over", "complete"]


async def test_one_renewal_that_fails_does_not_cost_the_run() -> None:
    class Hiccup(SharedMemory):
        failed = False

        async def renew(self, claims: Any, *, lease_seconds: float) -> None:
            if not self.failed:
                self.failed = True
                raise BackendUnavailable("away for a moment")
            await super().renew(claims, lease_seconds=lease_seconds)

    agent, store = Agent(), Hiccup()
    async with house(agent.handler(), store) as here:
        here.executor("fail", lease=3 * LEASE)
        key = await here.make()
        await agent.entered.wait()
        here.executor("fail")
        await asyncio.sleep(6 * LEASE)
        assert store.failed
        agent.go_on.set()
        assert kinds(await here.events(key)) == ["started", "begun", "over", "complete"]


async def test_an_executor_survives_what_its_store_should_not_raise(caplog: pytest.LogCaptureFixture) -> None:
    class Faulty(SharedMemory):
        faults = 0

        async def claim(self, *args: Any, **options: Any) -> Any:
            if options["accepted"] and not self.faults:
                self.faults += 1
                raise RuntimeError("a fault of the store")
            return await super().claim(*args, **options)

    agent, store = Agent(), Faulty()
    agent.go_on.set()
    async with house(agent.handler(), store) as here:
        here.executor()
        assert kinds(await here.events(await here.make()))[-1] == "complete"
    assert store.faults == 1
    assert "a fault of the store" in caplog.text


async def test_a_lease_that_expires_in_mid_append_costs_the_right() -> None:
    agent, store = Agent(), SlowStore()
    async with house(agent.handler(), store) as here:
        first = here.executor("restart")
        key = await here.make()
        await here.reaches(key, "token")
        for loop in first._loops[1:]:  # it does not renew any more, neither by the clock nor before it sweeps
            loop.cancel()
        store.answers.clear()
        store.asked.clear()
        agent.go_on.set()
        await store.asked.wait()  # it writes its end, and the store takes its time
        second = here.executor("restart")
        await until(lambda: second.active)
        store.answers.set()
        events = await here.events(key)
        await idle(first)
    assert kinds(events) == ["started", "begun", "restarted", "begun", "over", "complete"]
