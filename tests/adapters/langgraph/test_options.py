"""What belongs to LangGraph goes to LangGraph, untouched."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import StreamContext

from .graphs import narrower_output, other_output, single_channel, typed_dict
from .states import Numbers, chain
from .support import collect, output_of


@pytest.mark.parametrize("keys", [None, "x", ["x"], ["trail", "x"], []], ids=str)
@pytest.mark.parametrize("make", [typed_dict, narrower_output, other_output])
async def test_output_keys(make: Any, keys: Any) -> None:
    graph, payload = make()
    expected = await graph.ainvoke(payload, output_keys=keys)
    adapter = LangGraphAdapter(graph)
    assert await adapter.ainvoke(payload, output_keys=keys) == expected
    assert adapter.invoke(payload, output_keys=keys) == expected
    assert output_of(await collect(adapter, payload, output_keys=keys)) == expected


async def test_output_keys_of_a_single_channel() -> None:
    graph, payload = single_channel()
    expected = await graph.ainvoke(payload, output_keys="__root__")
    assert output_of(await collect(graph, payload, output_keys="__root__")) == expected


async def test_an_unknown_output_key_is_the_same_error() -> None:
    graph, payload = typed_dict()
    with pytest.raises(Exception, match="nope") as bare:
        await graph.ainvoke(payload, output_keys=["nope"])
    with pytest.raises(type(bare.value), match="nope"):
        await collect(graph, payload, output_keys=["nope"])


@pytest.mark.parametrize("option", ["interrupt_before", "interrupt_after"])
@pytest.mark.parametrize("nodes", ["*", ["b"], []], ids=str)
async def test_static_interrupts_given_with_the_call(option: str, nodes: Any) -> None:
    graph = chain(Numbers, "a", "b", "c").compile(checkpointer=InMemorySaver())
    options = {option: nodes}
    expected = await graph.ainvoke({"x": 0}, _thread("bare"), **options)
    adapter = LangGraphAdapter(graph)
    assert await adapter.ainvoke({"x": 0}, config=_thread("a"), **options) == expected
    assert adapter.invoke({"x": 0}, config=_thread("i"), **options) == expected
    assert output_of(await collect(adapter, {"x": 0}, config=_thread("s"), **options)) == expected


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_durability(durability: Any) -> None:
    graph = chain(Numbers, "a", "b", "c").compile(checkpointer=InMemorySaver())
    await graph.ainvoke({"x": 0}, _thread("bare"), durability=durability)
    await collect(graph, {"x": 0}, config=_thread("stream"), durability=durability)
    written = [len(list(graph.get_state_history(_thread(name)))) for name in ("bare", "stream")]
    assert written[0] == written[1]
    assert (written[1] == 1) == (durability == "exit")


@dataclass
class Who:
    name: str


async def test_the_runtime_context_has_a_name_of_its_own() -> None:
    def greet(state: Numbers, runtime: Runtime[Who]) -> dict[str, Any]:
        return {"trail": [runtime.context.name]}

    graph = StateGraph(Numbers, context_schema=Who).add_node(greet).add_edge(START, "greet").compile()
    expected = await graph.ainvoke({"x": 1}, context=Who("ada"))
    adapter = LangGraphAdapter(graph)
    context = StreamContext("ours")
    assert await adapter.ainvoke({"x": 1}, runtime_context=Who("ada"), context=context) == expected
    assert adapter.invoke({"x": 1}, runtime_context=Who("ada")) == expected
    async with adapter.invoke_stream({"x": 1}, runtime_context=Who("ada"), context=context) as stream:
        assert output_of([event async for event in stream]) == expected


@pytest.mark.parametrize(
    "options",
    [{"stream_mode": "values"}, {"subgraphs": True}, {"version": "v2"}],
    ids=lambda o: next(iter(o)),
)
async def test_the_adapters_own_options_are_refused_by_name(options: dict[str, Any]) -> None:
    adapter = LangGraphAdapter(typed_dict()[0])
    name = next(iter(options))
    with pytest.raises(TypeError, match=name):
        adapter.invoke_stream({"x": 1}, **options)
    with pytest.raises(TypeError, match=name):
        adapter.invoke({"x": 1}, **options)
    with pytest.raises(TypeError, match=name):
        await adapter.ainvoke({"x": 1}, **options)


async def test_an_option_that_langgraph_does_not_know_is_langgraphs_affair() -> None:
    graph, payload = typed_dict()
    expected = await graph.ainvoke(payload, colour="red")
    assert output_of(await collect(graph, payload, colour="red")) == expected


async def test_the_config_reaches_the_nodes_and_is_not_changed() -> None:
    seen: list[Any] = []

    def look(state: Numbers, config: Any) -> dict[str, Any]:
        seen.append((config["tags"], config["metadata"]["who"], config["configurable"]["colour"]))
        return {}

    look.__annotations__["config"] = "RunnableConfig"
    config = {"tags": ["t"], "metadata": {"who": "me"}, "configurable": {"colour": "red"}}
    graph = StateGraph(Numbers).add_node("look", look).add_edge(START, "look").compile()
    adapter = LangGraphAdapter(graph, recursion_limit=50)
    await graph.ainvoke({"x": 1}, config)
    await adapter.ainvoke({"x": 1}, config=config)
    await collect(adapter, {"x": 1}, config=config)
    assert seen[0] == seen[1] == seen[2]
    assert config == {"tags": ["t"], "metadata": {"who": "me"}, "configurable": {"colour": "red"}}


async def test_nothing_runs_before_the_first_iteration() -> None:
    ran: list[int] = []
    graph = StateGraph(Numbers).add_node("a", lambda _: ran.append(1)).add_edge(START, "a").compile()
    stream = LangGraphAdapter(graph).invoke_stream({"x": 1})
    await stream.aclose()
    assert ran == []


def _thread(name: str) -> dict[str, Any]:
    return {"configurable": {"thread_id": name}}
