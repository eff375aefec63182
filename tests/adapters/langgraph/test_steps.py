"""Steps: one for each node that finished, with what it took, gave and lasted."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import EventsFilter, StepEvent, StepStartedEvent

from . import graphs
from .graphs import double, triple
from .states import Items, Model, Numbers, Record, chain, grow
from .support import collect, output_of, steps, until_failure

LENGTH = 0.05  # seconds; far above what a step costs, so that a wrong clock shows


def step_events(events: Any) -> list[StepEvent]:
    return [event for event in events if isinstance(event, StepEvent)]


def lasting(kind: str) -> Any:
    """Return a node that measures its own length, and the list of what it measured."""
    measured: list[float] = []
    waiting = threading.Event()

    def work(state: Numbers) -> dict[str, Any]:
        begun = time.monotonic()
        waiting.wait(LENGTH)
        measured.append(time.monotonic() - begun)
        return {"x": 1}

    async def awork(state: Numbers) -> dict[str, Any]:
        begun = time.monotonic()
        with_timeout = asyncio.wait_for(asyncio.Event().wait(), LENGTH)
        try:
            await with_timeout
        except TimeoutError:
            measured.append(time.monotonic() - begun)
        return {"x": 1}

    return {"sync": work, "async": awork}[kind], measured


@pytest.mark.parametrize("inner", [False, True], ids=["root", "subgraph"])
@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_the_duration_is_the_nodes_own(kind: str, inner: bool) -> None:
    node, measured = lasting(kind)
    graph = StateGraph(Numbers).add_node("work", node).add_edge(START, "work").compile()
    if inner:
        graph = StateGraph(Numbers).add_node("sub", graph).add_edge(START, "sub").compile()
    received = await collect(graph, {"x": 0}, events=["step"])
    (step,) = [event for event in step_events(received) if event.node_name == "work"]
    assert step.duration_ms is not None
    assert measured[0] * 1000 - 10 <= step.duration_ms <= measured[0] * 1000 + 40


async def test_a_node_that_waits_for_the_consumer_lasts_as_long() -> None:
    go_on = asyncio.Event()

    async def wait(state: Numbers) -> dict[str, Any]:
        await go_on.wait()
        return {"x": 1}

    graph = chain(Numbers, "a").add_node("wait", wait).add_edge("a", "wait").compile()
    stream = LangGraphAdapter(graph).invoke_stream({"x": 0}, events_filter=EventsFilter(["step"]))
    async with stream:
        assert [(await anext(stream)).type for _ in range(2)] == ["started", "step"]
        begun = time.monotonic()
        asyncio.get_running_loop().call_later(LENGTH, go_on.set)
        step: Any = await anext(stream)
        assert step.node_name == "wait"
        assert step.duration_ms >= (time.monotonic() - begun) * 1000 - 15


@pytest.mark.parametrize(("state", "payload"), [(Numbers, {"x": 1}), (Model, Model(x=1)), (Record, {"x": 1})])
async def test_keys_of_every_kind_of_state(state: Any, payload: Any) -> None:
    received = await collect(chain(state, "a", "b").compile(), payload)
    last = step_events(received)[-1]
    assert (last.node_name, last.input_keys, last.output_keys) == ("b", ["x", "trail"], ["x", "trail"])


async def test_keys_of_nodes_that_take_or_give_something_else() -> None:
    received = await collect(*graphs.map_reduce())
    squares = [event for event in step_events(received) if event.node_name == "square"]
    assert [event.input_keys for event in squares] == [["n"]] * 4
    assert [event.output_keys for event in squares] == [["squares"]] * 4
    (none,) = [e for e in step_events(await collect(*graphs.returns_none())) if e.node_name == "none"]
    assert none.output_keys == []
    channel = step_events(await collect(*graphs.single_channel()))
    assert [(event.input_keys, event.output_keys) for event in channel] == [(None, None)] * 2


async def test_parallel_and_fanned_out_nodes_are_steps_of_their_own() -> None:
    received = await collect(*graphs.map_reduce(), events=["step"])
    assert steps(received) == ["square"] * 4 + ["reduce"]
    assert all(event.duration_ms is not None for event in step_events(received))
    assert sorted(steps(await collect(*graphs.parallel()))) == ["p0", "p1", "p2", "p3"]


async def test_the_namespace_is_the_path_of_subgraphs() -> None:
    received = await collect(*graphs.two_deep(), events=["step"])
    shown = [
        (event.node_name, [part.split(":")[0] for part in event.namespace or []])
        for event in step_events(received)
    ]
    assert shown == [
        ("a", []),
        ("leaf", ["middle", "leafs"]),
        ("leafs", ["middle"]),
        ("leaf", ["middle", "again"]),
        ("again", ["middle"]),
        ("middle", []),
    ]
    assert all(event.namespace is None for event in step_events(received) if event.node_name == "a")


async def test_a_second_call_of_a_subgraph_has_a_namespace_of_its_own() -> None:
    received = step_events(await collect(*graphs.subgraph_awaited(), events=["step"]))
    inner = [tuple(event.namespace or ()) for event in received if event.node_name == "in1"]
    assert len(set(inner)) == 2
    assert inner[1][0] == inner[0][0]
    assert inner[1][1:] == ("1",)


async def test_a_result_out_of_the_cache_is_no_step() -> None:
    received = await collect(*graphs.cached())
    assert steps(received) == []
    assert output_of(received)["squares"] == [9]


async def test_retries_are_one_step() -> None:
    assert steps(await collect(*graphs.retried())) == ["flaky"]


async def test_a_failed_node_is_no_step() -> None:
    builder = chain(Numbers, "a").add_node("fail", lambda _: 1 // 0).add_edge("a", "fail")
    received, error = await until_failure(LangGraphAdapter(builder.compile()).invoke_stream({"x": 0}))
    assert isinstance(error, ZeroDivisionError)
    assert steps(received) == ["a"]


async def test_the_handler_of_a_failure_is_a_step_without_duration() -> None:
    (step,) = step_events(await collect(*graphs.error_handler()))
    assert step.node_name == "__error_handler__fail"
    assert step.duration_ms is None
    assert step.output_keys == ["x", "trail"]


async def test_an_interrupted_node_is_a_step_when_it_finished() -> None:
    builder = chain(Numbers, "a").add_node("ask", lambda _: {"x": interrupt("?")}).add_edge("a", "ask")
    graph = builder.compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    assert steps(await collect(graph, {"x": 0}, config=config)) == ["a"]
    resumed = await collect(graph, Command(resume=5), config=config)
    assert steps(resumed) == ["ask"]
    assert step_events(resumed)[0].duration_ms is not None


async def test_siblings_that_a_failure_cancels_are_no_steps() -> None:
    async def endless(state: Items) -> None:
        await asyncio.Event().wait()

    async def fail(state: Items) -> None:
        raise ValueError("no")

    builder = StateGraph(Items).add_node(endless).add_node(fail)
    graph = builder.add_edge(START, "endless").add_edge(START, "fail").compile()
    received, error = await until_failure(LangGraphAdapter(graph).invoke_stream({"items": []}))
    assert isinstance(error, ValueError)
    assert steps(received) == []


async def test_tasks_of_an_entrypoint_are_steps() -> None:
    @entrypoint()
    async def work(x: int) -> int:
        return await triple(x) + await double(x)

    received = step_events(await collect(work, 5))
    assert [event.node_name for event in received] == ["triple", "double", "work"]
    assert all(event.duration_ms is not None for event in received)
    assert [event.output_keys for event in received] == [None, None, None]
    assert step_events(await collect(*graphs.functional()))[-1].output_keys == ["sum"]


async def test_hidden_and_routing_nodes_are_no_steps() -> None:
    assert steps(await collect(*graphs.goto())) == ["choose", "far"]
    assert steps(await collect(*graphs.loop())) == ["a"] * 5


async def test_a_step_comes_as_soon_as_its_node_has_finished() -> None:
    go_on = asyncio.Event()

    async def slow(state: Numbers) -> dict[str, Any]:
        await go_on.wait()
        return {}

    builder = StateGraph(Numbers).add_node("slow", slow).add_node("quick", grow("quick"))
    graph = builder.add_edge(START, "slow").add_edge(START, "quick").compile()
    adapter = LangGraphAdapter(graph)
    async with adapter.invoke_stream({"x": 0}, events_filter=EventsFilter(["step"])) as stream:
        first = [await anext(stream) for _ in range(2)]
        assert steps(first) == ["quick"]
        go_on.set()
        assert steps([event async for event in stream]) == ["slow"]


async def test_a_step_is_told_before_its_node_begins() -> None:
    go_on = asyncio.Event()

    async def slow(state: Numbers) -> dict[str, Any]:
        await go_on.wait()
        return {}

    graph = chain(Numbers, "a").add_node("slow", slow).add_edge("a", "slow").compile()
    adapter = LangGraphAdapter(graph)
    async with adapter.invoke_stream({"x": 0}, events_filter=EventsFilter(["step_started"])) as stream:
        begun: Any = [await anext(stream) for _ in range(3)][1:]
        assert [event.node_name for event in begun] == ["a", "slow"]
        go_on.set()
        assert [event.type async for event in stream] == ["complete"]


@pytest.mark.parametrize("make", graphs.GRAPHS.values(), ids=list(graphs.GRAPHS))
async def test_every_step_has_begun_where_it_ends(make: Any) -> None:
    received = await collect(*make(), events=["step", "step_started"])
    open_ones: list[Any] = []
    for event in received[1:-1]:
        assert isinstance(event, StepEvent | StepStartedEvent)
        place = (event.node_name, event.namespace)
        if isinstance(event, StepStartedEvent):
            open_ones.append(place)
        else:
            open_ones.remove(place)
    unended = {
        graphs.error_handler: ["fail"],
        graphs.parent_command: ["leave"],
        graphs.cached: ["square"],
    }
    assert [name for name, _ in open_ones] == unended.get(make, [])
