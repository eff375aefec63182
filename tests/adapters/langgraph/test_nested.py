"""An adapter used within a node of another graph, itself bare or wrapped."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.types import Command, interrupt

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import (
    CompleteEvent,
    EventsFilter,
    StepEvent,
    StreamContext,
    TokenEvent,
    get_current_context,
)

from .states import Numbers, chain
from .support import (
    FILTERS,
    Log,
    ScriptedAsync,
    check_form,
    chunks_of,
    collect,
    customs,
    output_of,
    steps,
    tokens,
)
from .test_tokens import HI, WORDS, async_node, graph_of


def around(node: Any, **options: Any) -> Any:
    """Return a graph of this one node."""
    return StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(**options)


def inner_graph() -> Any:
    leaf = chain(Numbers, "leaf").compile()
    return chain(Numbers, "a").add_node("sub", leaf).add_edge("a", "sub").compile()


def paths(events: Any) -> list[tuple[str, list[str]]]:
    return [
        (event.node_name, [part.split(":")[0] for part in event.namespace or []])
        for event in events
        if isinstance(event, StepEvent)
    ]


CONFIGS: dict[str, Any] = {
    "none": None,
    "tags": {"tags": ["t"]},
    "configurable": {"configurable": {"colour": "red"}},
    "thread": {"configurable": {"thread_id": "own"}},
}


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
@pytest.mark.parametrize("events", FILTERS, ids=str)
async def test_a_stream_within_a_node(events: Any, wrapped: bool, config: Any) -> None:
    adapter = LangGraphAdapter(inner_graph())
    seen: list[list[Any]] = []

    async def node(state: Numbers) -> Any:
        # The second run in a node has another namespace.
        seen.extend([await collect(adapter, {"x": 1}, events=events, config=config) for _ in range(2)])
        return output_of(seen[-1])

    outer = around(node, checkpointer=InMemorySaver())
    thread = {"configurable": {"thread_id": "outer"}}
    output = (
        output_of(await collect(outer, {"x": 0}, config=thread))
        if wrapped
        else await outer.ainvoke({"x": 0}, thread)
    )
    expected = await inner_graph().ainvoke({"x": 1})
    assert output == expected
    for received in seen:
        assert output_of(received) == expected
        if EventsFilter(events).is_allowed("step"):
            assert paths(received) == [("a", []), ("leaf", ["sub"]), ("sub", [])]


@pytest.mark.parametrize("events", [None, ["token"], "chat"], ids=str)
async def test_tokens_within_a_node_are_relative_and_reach_the_outer_stream_once(events: Any) -> None:
    inner = graph_of(sub=graph_of(talk=async_node(ScriptedAsync(chunks=chunks_of("one two three")))))
    adapter = LangGraphAdapter(inner)
    seen: list[Any] = []

    async def node(state: MessagesState) -> Any:
        seen.extend([await collect(adapter, HI, events=events) for _ in range(2)])
        return {"messages": []}

    outer = await collect(graph_of(node=node), HI)
    for received in seen:
        found = [event for event in received if isinstance(event, TokenEvent)]
        assert tokens(received) == WORDS
        assert {tuple(part.split(":")[0] for part in event.namespace or ()) for event in found} == {("sub",)}
    assert tokens(outer) == WORDS * 2
    bare = [
        data[0].content
        async for ns, data in graph_of(node=node).astream(HI, stream_mode="messages", subgraphs=True)
        if data[0].content
    ]
    assert bare == WORDS * 2


async def test_steps_of_the_inner_run_reach_the_outer_stream_as_they_do_bare() -> None:
    inner = inner_graph()

    def outer(call: Any) -> Any:
        async def node(state: Numbers) -> Any:
            return await call({"x": 1})

        return around(node)

    expected = paths(await collect(outer(inner.ainvoke), {"x": 0}))
    assert expected[0] == ("a", ["node"])
    assert paths(await collect(outer(LangGraphAdapter(inner).ainvoke), {"x": 0})) == expected


async def speak(state: Numbers) -> dict[str, Any]:
    context = get_current_context()
    assert context is not None
    await context.emit("inner", where=context.run_id)
    get_stream_writer()("written")
    return {"x": 5}


async def test_user_events_of_an_inner_stream_are_the_inner_streams() -> None:
    adapter = LangGraphAdapter(around(speak))
    seen: list[Any] = []

    async def node(state: Numbers) -> Any:
        outer_context = get_current_context()
        assert outer_context is not None
        await outer_context.emit("before")
        seen.append(await collect(adapter, {"x": 1}))
        assert get_current_context() is outer_context
        await outer_context.emit("after")
        return {}

    received = await collect(around(node), {"x": 0})
    assert [name for name, _ in customs(received)] == ["before", "after"]
    assert [name for name, _ in customs(seen[0])] == ["inner", "langgraph"]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
async def test_user_events_of_an_inner_ainvoke_are_the_outer_streams(config: Any) -> None:
    adapter = LangGraphAdapter(around(speak))

    async def node(state: Numbers) -> Any:
        return await adapter.ainvoke({"x": 1}, config=config)

    received = await collect(around(node), {"x": 0})
    assert customs(received)[0][0] == "inner"
    assert output_of(received)["x"] == 5


async def test_an_inner_execution_with_a_context_of_its_own() -> None:
    adapter = LangGraphAdapter(around(speak))
    context = StreamContext("own")

    async def node(state: Numbers) -> Any:
        return await adapter.ainvoke({"x": 1}, context=context)

    received = await collect(around(node), {"x": 0})
    assert [name for name, _ in customs(context.drain_queued_events())] == ["inner"]
    assert "inner" not in [name for name, _ in customs(received)]


# -- what bubbles out of an inner run ----------------------------------------------------------------


def calls(adapter: LangGraphAdapter, how: str) -> Any:
    async def node(state: Numbers) -> Any:
        if how == "ainvoke":
            return await adapter.ainvoke({"x": 1})
        return output_of([event async for event in adapter.invoke_stream({"x": 1})])

    return node


@pytest.mark.parametrize("how", ["ainvoke", "stream"])
async def test_an_interrupt_within_interrupts_the_outer_graph(how: str) -> None:
    inner = around(lambda _: {"x": interrupt("how many?")})
    outer = around(calls(LangGraphAdapter(inner), how), checkpointer=InMemorySaver())
    config = {"configurable": {"thread_id": "t"}}
    first = output_of(await collect(outer, {"x": 0}, config=config))
    assert [one.value for one in first["__interrupt__"]] == ["how many?"]
    assert output_of(await collect(outer, Command(resume=7), config=config))["x"] == 7


@pytest.mark.parametrize("how", ["ainvoke", "stream"])
async def test_a_command_for_the_parent_reaches_it(how: str) -> None:
    inner = around(lambda _: Command(goto="far", update={"x": 70}, graph=Command.PARENT))
    builder = StateGraph(Numbers).add_node("node", calls(LangGraphAdapter(inner), how), destinations=("far",))
    outer = builder.add_node("far", lambda state: {"trail": ["far"]}).add_edge(START, "node").compile()
    received = await collect(outer, {"x": 0})
    assert output_of(received) == {"x": 70, "trail": ["far"]}


@pytest.mark.parametrize("how", ["ainvoke", "stream"])
async def test_an_error_within_is_the_same_object_outside(how: str) -> None:
    error = GraphRecursionError("mine")

    def fail(state: Numbers) -> None:
        raise error

    with pytest.raises(GraphRecursionError) as caught:
        await collect(around(calls(LangGraphAdapter(around(fail)), how)), {"x": 0})
    assert caught.value is error


async def test_stopping_the_outer_stream_stops_the_inner_one() -> None:
    log = Log()

    async def endless(state: Numbers) -> None:
        log.add("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.add("stopped")

    outer = LangGraphAdapter(around(calls(LangGraphAdapter(around(endless)), "stream")))
    stream = outer.invoke_stream({"x": 0})
    await anext(stream)
    await log.reached("begun")
    await stream.aclose()
    assert log.done == ["begun", "stopped"]


async def test_streams_at_once_within_one_node() -> None:
    adapter = LangGraphAdapter(inner_graph())

    async def node(state: Numbers) -> Any:
        runs = await asyncio.gather(*(collect(adapter, {"x": place}) for place in range(10)))
        for place, received in enumerate(runs):
            check_form(received)
            assert isinstance(received[-1], CompleteEvent)
            assert output_of(received) == await inner_graph().ainvoke({"x": place})
            assert steps(received) == ["a", "leaf", "sub"]
        return {"x": len(runs)}

    assert output_of(await collect(around(node), {"x": 0}))["x"] == 10
