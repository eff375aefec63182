"""Runs whose executor is gone go on from their graph's last checkpoint; on one store, in one process."""

from __future__ import annotations

import asyncio
import operator
from collections.abc import Iterator
from typing import Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from dockrion_events.bus import Claim
from dockrion_runtime.runs import executor as executors

from .executors import LEASE, House, SharedMemory, die, house, idle, kinds

FLOW: dict[str, Any] = {"framework": "langgraph", "events": {"allowed": ["step"]}}


class State(TypedDict, total=False):
    said: str
    trail: Annotated[list[str], operator.add]


class Walk:
    """A graph of three nodes that counts their executions; the second is held the first time."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.runs: list[str | None] = []
        self.reached = asyncio.Event()
        self.holding = True

    def graph(self, saver: Any) -> Any:
        builder = StateGraph(State)
        for name in "abc":
            builder.add_node(name, self.node(name))
        builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c")
        return builder.compile(checkpointer=saver)

    def node(self, name: str) -> Any:
        async def run(state: State, config: RunnableConfig) -> State:
            self.done.append(name)
            self.runs.append(config["metadata"].get("dockrion_run"))
            if name == "b" and self.holding:
                self.holding = False
                self.reached.set()
                await asyncio.Event().wait()
            return {"trail": [name]}

        return run


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(executors, "SWEEP_SECONDS", LEASE / 5)
    return


async def claimed(here: House) -> Claim:
    """Claim a run as an executor that dies at once."""
    (claim,) = await here.backend.claim("dead", accepted=1, expired=0, lease_seconds=LEASE, timeout=1)
    return claim


async def test_finished_nodes_are_not_executed_again() -> None:
    walk = Walk()
    async with house(walk.graph(InMemorySaver()), **FLOW) as here:
        first = here.executor("resume")
        key = await here.make()
        await walk.reached.wait()
        await here.reaches(key, "step")
        await die(first)
        here.executor("resume")
        events = await here.events(key)
        record = await here.record(key)
    assert kinds(events) == ["started", "a", "restarted", "b", "c", "complete"]
    assert events[2]["attempt"] == record.attempt == 2
    assert events[-1]["output"] == {"trail": ["a", "b", "c"]}
    assert walk.done == ["a", "b", "b", "c"]
    assert set(walk.runs) == {f"r@{record.created_at.isoformat()}"}


async def test_an_executor_that_is_only_slow_to_renew_loses_the_run_and_stops() -> None:
    walk = Walk()
    async with house(walk.graph(InMemorySaver()), **FLOW) as here:
        first = here.executor("resume")
        key = await here.make()
        await walk.reached.wait()
        for loop in first._loops[1:]:  # those that renew: by the clock, and before a look for lost runs
            loop.cancel()
        here.executor("resume")
        events = await here.events(key)
        await idle(first)
    assert kinds(events)[-4:] == ["restarted", "b", "c", "complete"]
    assert walk.done == ["a", "b", "b", "c"]


async def test_restart_executes_everything_again() -> None:
    walk = Walk()
    async with house(walk.graph(InMemorySaver()), **FLOW) as here:
        first = here.executor("restart")
        key = await here.make()
        await walk.reached.wait()
        await here.reaches(key, "step")  # what was not written yet dies with it
        await die(first)
        here.executor("restart")
        events = await here.events(key)
    assert kinds(events)[-5:] == ["restarted", "a", "b", "c", "complete"]
    assert walk.done == ["a", "b", "a", "b", "c"]


@pytest.mark.parametrize("policy", ["fail", "restart", "resume"])
async def test_runs_are_named_under_every_policy(policy: str) -> None:
    """So that a policy which is changed finds what it needs."""
    walk = Walk()
    walk.holding = False
    async with house(walk.graph(InMemorySaver()), **FLOW) as here:
        here.executor(policy)
        await here.events(await here.make("one"))
        record = await here.record("one")
    assert set(walk.runs) == {f"one@{record.created_at.isoformat()}"}


async def test_a_run_that_left_no_checkpoint_begins_with_its_payload() -> None:
    walk = Walk()
    walk.holding = False
    async with house(walk.graph(InMemorySaver()), **FLOW) as here:
        here_and_now = here.executor("resume")
        await here.events(await here.make("former", {"trail": ["former"]}, thread="talk"))
        await here_and_now.stop(0)
        key = await here.make("r", {"trail": ["mine"]}, thread="talk")
        await claimed(here)
        here.executor("resume")
        events = await here.events(key)
    assert events[-1]["output"]["trail"] == ["former", "a", "b", "c", "mine", "a", "b", "c"]
    assert kinds(events)[0] == "started"  # nobody had written one


async def test_a_run_with_the_id_of_a_former_one_is_another_run() -> None:
    walk = Walk()
    walk.holding = False
    async with house(walk.graph(InMemorySaver()), SharedMemory(stream_ttl_seconds=0), **FLOW) as here:
        first = here.executor("resume")
        await here.events(await here.make("r", {"said": "first"}))
        await first.stop(0)
        while "r" in here.backend._runs:  # type: ignore[attr-defined]  # noqa: ASYNC110 - nobody is told
            await asyncio.sleep(0)
        key = await here.make("r", {"said": "second"})
        await claimed(here)
        here.executor("resume")
        assert (await here.events(key))[-1]["output"]["said"] == "second"
    assert walk.done == ["a", "b", "c"] * 2


@pytest.mark.parametrize("asks", [False, True])
async def test_an_end_that_nobody_wrote_down_is_written_by_the_next_executor(asks: bool) -> None:
    walk = Walk()
    walk.holding = False

    def ask(state: State) -> State:
        walk.done.append("ask")
        return {"said": interrupt("sure?")}

    builder = StateGraph(State).add_node("a", walk.node("a")).add_edge(START, "a")
    if asks:
        builder.add_node("ask", ask).add_edge("a", "ask")
    async with house(builder.compile(checkpointer=InMemorySaver()), **FLOW) as here:
        key = await here.make()
        execution = await here.runs.start_run((await claimed(here)).record, resume=False)
        lost: list[Any] = []
        while not execution.ended:
            await execution.wait()
            lost += execution.take()
        here.executor("resume")
        events = await here.events(key)
    expected: dict[str, Any] = {"trail": ["a"]}
    if asks:
        (question,) = events[-1]["output"].pop("__interrupt__")
        assert question["value"] == "sure?"
    assert events[-1]["output"] == expected
    assert kinds(events) == ["started", "complete"]
    assert walk.done == (["a", "ask"] if asks else ["a"])


async def test_an_agent_without_checkpoints_begins_again() -> None:
    calls = asyncio.Queue[None]()

    async def agent(payload: dict[str, Any]) -> int:
        calls.put_nowait(None)
        if calls.qsize() == 1:
            await asyncio.Event().wait()
        return calls.qsize()

    async with house(agent) as here:
        first = here.executor("resume")
        key = await here.make()
        await here.reaches(key, "started")
        await die(first)
        here.executor("resume")
        events = await here.events(key)
    assert kinds(events) == ["started", "restarted", "complete"]
    assert events[-1]["output"] == 2
