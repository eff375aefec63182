"""What the adapter adds to a config must not show: not to nodes, callers, callbacks or checkpoints."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.callbacks import AsyncCallbackHandler, AsyncCallbackManager, BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_store, get_stream_writer
from langgraph.errors import GraphDrained
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import RunControl, Runtime
from langgraph.store.memory import InMemoryStore
from langgraph.types import TimeoutPolicy
from typing_extensions import TypedDict

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_adapters.langgraph.surroundings import RUNTIME_KEY
from dockrion_events import EventsFilter, get_current_context

from .states import Numbers, chain
from .support import Log, ScriptedAsync, brief, chunks_of, collect, customs, output_of, steps, tokens
from .test_tokens import HI, WORDS, async_node, graph_of


def around(node: Any, **options: Any) -> Any:
    return StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(**options)


class Counted(BaseCallbackHandler):
    def __init__(self) -> None:
        self.chains: list[str] = []

    def on_chain_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
        self.chains.append(name)


class CountedAsync(AsyncCallbackHandler):
    def __init__(self) -> None:
        self.chains: list[str] = []

    async def on_chain_start(self, *args: Any, name: str = "", **kwargs: Any) -> None:
        self.chains.append(name)


@pytest.mark.parametrize("kind", [Counted, CountedAsync])
@pytest.mark.parametrize("given", ["list", "manager", "graph"])
async def test_callbacks_are_called_as_they_are_bare(given: str, kind: Any) -> None:
    async def run(wrapped: bool) -> list[str]:
        counted = kind()
        graph = chain(Numbers, "a", "b").compile()
        config: Any = {"callbacks": [counted]}
        if given == "manager":
            config = {"callbacks": AsyncCallbackManager([counted], inheritable_handlers=[counted])}
        if given == "graph":
            graph, config = graph.with_config(config), None
        if wrapped:
            await collect(graph, {"x": 1}, config=config)
        else:
            await graph.ainvoke({"x": 1}, config)
        if given == "list":
            assert config == {"callbacks": [counted]}
        if given == "manager":
            assert config["callbacks"].handlers == [counted]
        return list(counted.chains)

    assert await run(True) == await run(False)


async def test_the_store_and_the_context_are_the_graphs() -> None:
    store = InMemoryStore()
    store.put(("n",), "k", {"v": 42})

    def node(state: Numbers, runtime: Runtime[dict[str, int]]) -> dict[str, Any]:
        assert runtime.store is store
        assert get_store() is store
        return {"x": get_store().get(("n",), "k").value["v"] + (runtime.context or {"y": 0})["y"]}

    builder = StateGraph(Numbers, context_schema=dict).add_node(node).add_edge(START, "node")
    graph = builder.compile(store=store)
    assert output_of(await collect(graph, {"x": 0}, runtime_context={"y": 1}))["x"] == 43
    outer = StateGraph(Numbers, context_schema=dict).add_node("sub", builder.compile()).add_edge(START, "sub")
    assert output_of(await collect(outer.compile(store=store), {"x": 0}, runtime_context={"y": 2}))["x"] == 44


async def test_what_an_entrypoint_returned_before() -> None:
    @entrypoint(checkpointer=InMemorySaver())
    async def work(x: int, *, previous: int | None) -> int:
        return x + (previous or 0)

    config = {"configurable": {"thread_id": "t"}}
    assert [output_of(await collect(work, x, config=config)) for x in (1, 2, 3)] == [1, 3, 6]


async def test_draining_is_the_same_error() -> None:
    async def run(wrapped: bool) -> str:
        control = RunControl()
        builder = chain(Numbers, "a").add_node("b", lambda _: control.request_drain("enough"))
        graph = builder.add_node("c", lambda _: {}).add_edge("a", "b").add_edge("b", "c").compile()
        with pytest.raises(GraphDrained) as caught:
            await (
                collect(graph, {"x": 1}, control=control)
                if wrapped
                else graph.ainvoke({"x": 1}, control=control)
            )
        return str(caught.value)

    assert await run(True) == await run(False)


async def test_checkpoints_are_the_same() -> None:
    graph = chain(Numbers, "a", "b").compile(checkpointer=InMemorySaver())
    seen: list[Any] = []
    for name in ("bare", "wrapped"):
        config: Any = {"configurable": {"thread_id": name, "colour": "red"}, "metadata": {"who": "me"}}
        if name == "bare":
            await graph.ainvoke({"x": 1}, config)
        else:
            await collect(graph, {"x": 1}, config=config)
        states = [state async for state in graph.aget_state_history(config)]
        seen.append([(s.values, s.next, {**(s.metadata or {}), "thread_id": ""}) for s in states])
    assert seen[0] == seen[1]


@pytest.mark.parametrize("how", ["ainvoke", "stream"])
async def test_the_config_of_a_node_handed_on(how: str) -> None:
    """With it come the surrounding thread, stream, runtime and callbacks, spelled out."""
    inner = graph_of(talk=async_node(ScriptedAsync(chunks=chunks_of("one two three"))))
    adapter = LangGraphAdapter(inner)
    within: list[Any] = []

    async def node(state: Any, config: RunnableConfig) -> Any:
        if how == "ainvoke":
            output = await adapter.ainvoke(HI, config=dict(config))
        else:
            within.extend(await collect(adapter, HI, config=dict(config)))
            output = output_of(within)
        return {"messages": output["messages"][-1:]}

    received = await collect(graph_of(node=node), HI)
    assert tokens(received) == WORDS
    assert steps(received) == ["talk", "node"]
    assert tokens(within) == (WORDS if how == "stream" else [])
    assert steps(within) == (["talk"] if how == "stream" else [])
    assert [message.content for message in output_of(received)["messages"]] == ["hi", "one two three"]


class Only(TypedDict):
    x: int


class Talk(MessagesState):
    x: int


async def test_a_graph_with_the_name_of_the_node_that_runs_it() -> None:
    """To the handler of messages it would look like that node, and its whole state like an answer."""
    builder = StateGraph(Talk).add_node("grow", lambda state: {"x": 1}, input_schema=Only)
    inner = builder.add_edge(START, "grow").compile(name="node")
    within: list[Any] = []

    async def node(state: Any) -> Any:
        within.extend(await collect(inner, {"messages": [("ai", "an old answer")], "x": 0}))
        return {}

    await graph_of(node=node).ainvoke(HI)
    assert tokens(within) == []


async def test_a_runtime_seeded_from_outside_gives_its_context() -> None:
    """A server may put an object there that has no more than the context."""

    def node(state: Numbers, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"x": runtime.context["y"]}

    graph = StateGraph(Numbers, context_schema=dict).add_node(node).add_edge(START, "node").compile()
    config: Any = {"configurable": {RUNTIME_KEY: SimpleNamespace(context={"y": 3}, store=None)}}
    expected = await graph.ainvoke({"x": 0}, config)
    assert expected["x"] == 3
    assert output_of(await collect(graph, {"x": 0}, config=config)) == expected


async def test_nodes_with_a_time_limit() -> None:
    """LangGraph guards their stream and writer; the order stays."""

    async def node(state: Any) -> Any:
        context = get_current_context()
        assert context is not None
        await context.emit("first")
        await ScriptedAsync(chunks=chunks_of("a b")).ainvoke("x")
        get_stream_writer()("written")
        context.sync_emit("last")
        return {}

    builder = StateGraph(Numbers).add_node(
        "node", node, timeout=TimeoutPolicy(run_timeout=20, idle_timeout=20)
    )
    received = await collect(builder.add_edge(START, "node").compile(), {"x": 1})
    assert brief(received) == [
        "custom:first", "token:a ", "token:b", "custom:langgraph", "custom:last", "step:node",
    ]  # fmt: skip


async def test_the_order_within_subgraphs_is_that_of_their_happening() -> None:
    async def speak(state: Any) -> Any:
        context = get_current_context()
        assert context is not None
        context.sync_emit("said")
        get_stream_writer()("written")
        return {"x": 1}

    builder = StateGraph(Numbers)
    names = [f"n{place}" for place in range(5)]
    for left, right in zip([START, *names], names, strict=False):
        builder.add_node(right, speak).add_edge(left, right)
    received = await collect(around(builder.compile()), {"x": 1})
    expected = [word for name in names for word in ("custom:said", "custom:langgraph", f"step:{name}")]
    assert brief(received) == [*expected, "step:node"]


async def test_a_reader_that_stops_makes_the_graph_wait() -> None:
    ran: list[int] = []

    async def count(state: Numbers) -> dict[str, Any]:
        ran.append(1)
        return {"x": state["x"] + 1}

    builder = StateGraph(Numbers).add_node(count).add_edge(START, "count")
    builder.add_conditional_edges("count", lambda state: "count" if state["x"] < 3000 else "__end__")
    adapter = LangGraphAdapter(builder.compile(), recursion_limit=4000)
    stream = adapter.invoke_stream({"x": 0}, events_filter=EventsFilter(["step"]))
    async with stream:
        await anext(stream)
        for _ in range(50_000):  # far more turns of the loop than the whole graph would need
            await asyncio.sleep(0)
        assert len(ran) < 1500
        received = [event async for event in stream]
    assert len(steps(received)) == len(ran) == 3000


async def test_writers_of_parallel_threads() -> None:
    def speak(state: Any) -> Any:
        for place in range(50):
            get_stream_writer()(place)
        return {}

    builder: Any = StateGraph(Numbers)
    for place in range(6):
        builder.add_node(f"n{place}", speak).add_edge(START, f"n{place}")
    received = await collect(builder.compile(), {"x": 1}, events=["custom"])
    assert sorted(data for _, data in customs(received)) == sorted(list(range(50)) * 6)


async def test_leaving_while_the_graph_waits_for_the_reader_stops_parallel_nodes() -> None:
    log = Log()

    async def endless(state: Any) -> None:
        log.add("begun")
        try:
            await asyncio.Event().wait()
        finally:
            log.add("stopped")

    async def flood(state: Any) -> dict[str, Any]:
        context = get_current_context()
        assert context is not None
        for _ in range(3000):  # on the loop's own thread nothing makes it wait
            context.sync_emit("drop")
        log.add("flooded")
        return {}

    builder = StateGraph(Numbers).add_node(endless).add_node(flood)
    graph = builder.add_edge(START, "endless").add_edge(START, "flood").compile()
    stream = LangGraphAdapter(graph).invoke_stream({"x": 1})
    await anext(stream)
    await log.reached("flooded")
    for _ in range(20):
        await asyncio.sleep(0)
    await stream.aclose()
    assert log.done == ["begun", "flooded", "stopped"]
