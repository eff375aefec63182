"""Interrupts are output, and every way to go on from them works through the adapter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.types import Command, interrupt

from dockrion_adapters.langgraph import LangGraphAdapter

from .states import Numbers, chain, grow
from .support import FILTERS, collect, output_of, steps

Play = Callable[[Any, Any, Any], Any]


def ask(name: str) -> Callable[[Numbers], dict[str, Any]]:
    def node(state: Numbers) -> dict[str, Any]:
        return {"trail": [f"{name}={interrupt({'question': name})}"]}

    return node


def single() -> Any:
    return chain(Numbers, "a").add_node("ask", ask("q")).add_edge("a", "ask")


def two_in_one_step() -> Any:
    builder = StateGraph(Numbers)
    for name in ("p", "q"):
        builder.add_node(name, ask(name)).add_edge(START, name)
    return builder.add_node("calm", grow("calm")).add_edge(START, "calm")


def in_subgraph() -> Any:
    inner = single().compile()
    return chain(Numbers, "out").add_node("sub", inner).add_edge("out", "sub")


def in_called_subgraph() -> Any:
    inner = single().compile()

    async def call(state: Numbers) -> Any:
        return {"trail": (await inner.ainvoke({"x": state["x"]}))["trail"]}

    return StateGraph(Numbers).add_node(call).add_edge(START, "call")


def twice_in_one_node() -> Any:
    def both(state: Numbers) -> dict[str, Any]:
        return {"trail": [interrupt("one"), interrupt("two")]}

    return StateGraph(Numbers).add_node(both).add_edge(START, "both")


def single_channel() -> Any:
    builder: Any = StateGraph(int)
    return builder.add_node("ask", lambda _: interrupt("n")).add_edge(START, "ask")


async def bare(graph: Any, payload: Any, config: Any) -> Any:
    return await graph.ainvoke(payload, config)


async def awaited(graph: Any, payload: Any, config: Any) -> Any:
    return await LangGraphAdapter(graph).ainvoke(payload, config=config)


def watched(events: Any) -> Play:
    async def play(graph: Any, payload: Any, config: Any) -> Any:
        return output_of(await collect(graph, payload, config=config, events=events))

    return play


PLAYS = {"ainvoke": awaited} | {f"stream-{events}": watched(events) for events in FILTERS}
SHAPES = (single, two_in_one_step, in_subgraph, in_called_subgraph, twice_in_one_node)


@pytest.mark.parametrize("play", PLAYS.values(), ids=list(PLAYS))
@pytest.mark.parametrize("shape", [*SHAPES, single_channel])
async def test_interrupt_and_resume_by_id(shape: Any, play: Play) -> None:
    payload = 0 if shape is single_channel else {"x": 0}
    assert await _to_the_end(shape, payload, play) == await _to_the_end(shape, payload, bare)


async def _to_the_end(shape: Any, payload: Any, play: Play) -> list[Any]:
    """Answer every interrupt by its id until there is none; return all outputs, ids left out.

    The order of parallel interrupts is that in which their nodes finish, which LangGraph does not fix.
    """
    graph = shape().compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    outputs: list[Any] = []
    while True:
        output = await play(graph, payload, config)
        pending = output.pop("__interrupt__", []) if isinstance(output, dict) else []
        outputs.append((output, sorted((one.value for one in pending), key=str), type(pending)))
        if not pending:
            return outputs
        payload = Command(resume={one.id: len(outputs) for one in pending})


@pytest.mark.parametrize("play", PLAYS.values(), ids=list(PLAYS))
async def test_the_interrupts_are_the_very_same_as_bare(play: Play) -> None:
    graph = two_in_one_step().compile(checkpointer=InMemorySaver())
    first = await play(graph, {"x": 0}, {"configurable": {"thread_id": "t"}})
    state = await graph.aget_state({"configurable": {"thread_id": "t"}})
    assert len(first["__interrupt__"]) == 2
    assert {one.id: one for one in first["__interrupt__"]} == {one.id: one for one in state.interrupts}


async def test_resume_by_value() -> None:
    graph = single().compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    await collect(graph, {"x": 0}, config=config)
    received = await collect(graph, Command(resume="yes"), config=config)
    assert output_of(received) == {"x": 1, "trail": ["a", "q=yes"]}
    assert steps(received) == ["ask"]


async def test_sync_invoke_interrupts_and_resumes() -> None:
    adapter = LangGraphAdapter(single().compile(checkpointer=InMemorySaver()))
    config = {"configurable": {"thread_id": "t"}}
    first = adapter.invoke({"x": 0}, config=config)
    assert [one.value for one in first["__interrupt__"]] == [{"question": "q"}]
    assert adapter.invoke(Command(resume="yes"), config=config) == {"x": 1, "trail": ["a", "q=yes"]}


@pytest.mark.parametrize("play", PLAYS.values(), ids=list(PLAYS))
@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
async def test_static_interrupts_and_resuming_with_none(where: str, play: Play) -> None:
    async def through(play: Play) -> list[Any]:
        options: Any = {where: ["b"]}
        graph = chain(Numbers, "a", "b", "c").compile(checkpointer=InMemorySaver(), **options)
        config = {"configurable": {"thread_id": "t"}}
        return [await play(graph, payload, config) for payload in ({"x": 0}, None)]

    expected = await through(bare)
    assert expected[0]["x"] == (1 if where == "interrupt_before" else 2)
    assert expected[1]["trail"] == ["a", "b", "c"]
    assert await through(play) == expected


@pytest.mark.parametrize("play", PLAYS.values(), ids=list(PLAYS))
async def test_without_a_checkpointer(play: Play) -> None:
    graph = single().compile()
    expected = await graph.ainvoke({"x": 0})
    output = await play(graph, {"x": 0}, None)
    assert [one.value for one in output.pop("__interrupt__")] == [{"question": "q"}]
    assert output == {key: value for key, value in expected.items() if key != "__interrupt__"}


async def test_resuming_without_a_checkpointer_is_the_same_error() -> None:
    graph = single().compile()
    with pytest.raises(RuntimeError) as expected:
        await graph.ainvoke(Command(resume="yes"))
    with pytest.raises(RuntimeError) as actual:
        await collect(graph, Command(resume="yes"))
    assert str(actual.value) == str(expected.value)


async def test_one_value_for_two_interrupts_is_the_same_error() -> None:
    graph = two_in_one_step().compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    await collect(graph, {"x": 0}, config=config)
    with pytest.raises(RuntimeError) as expected:
        await graph.ainvoke(Command(resume="yes"), config)
    with pytest.raises(RuntimeError) as actual:
        await collect(graph, Command(resume="yes"), config=config)
    assert str(actual.value) == str(expected.value)


@pytest.mark.parametrize("play", PLAYS.values(), ids=list(PLAYS))
async def test_time_travel_by_checkpoint_id(play: Play) -> None:
    graph = chain(Numbers, "a", "b", "c").compile(checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    await graph.ainvoke({"x": 0}, config)
    states = [state async for state in graph.aget_state_history(config)]
    earlier = next(state for state in states if state.next == ("b",))
    assert await play(graph, None, dict(earlier.config)) == {"x": 3, "trail": ["a", "b", "c"]}
    forked = await graph.aupdate_state(earlier.config, {"x": 100})
    assert await play(graph, None, dict(forked)) == {"x": 102, "trail": ["a", "b", "c"]}


@pytest.mark.parametrize("play", PLAYS.values(), ids=list(PLAYS))
async def test_interrupt_in_an_entrypoint(play: Play) -> None:
    @entrypoint(checkpointer=InMemorySaver())
    def work(x: int) -> dict[str, int]:
        return {"answer": x + interrupt("how many?")}

    config = {"configurable": {"thread_id": "t"}}
    first = await play(work, 1, config)
    assert [one.value for one in first["__interrupt__"]] == ["how many?"]
    assert await play(work, Command(resume=4), config) == {"answer": 5}
