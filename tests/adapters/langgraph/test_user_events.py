"""Events that user code emits: from anywhere in a node, in their place between tokens and steps."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import tool
from langgraph.config import get_stream_writer
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import (
    StreamContext,
    decode_event,
    get_current_context,
)

from .states import Numbers, chain
from .support import ScriptedAsync, brief, chunks_of, collect, customs


def here() -> StreamContext:
    context = get_current_context()
    assert context is not None
    return context


def say(_: Any = None) -> dict[str, Any]:
    here().sync_emit("here", {"n": 1})
    return {"x": 1}


async def asay(_: Any = None) -> dict[str, Any]:
    await here().emit("here", {"n": 1})
    return {"x": 1}


def node_graph(node: Any) -> Any:
    return StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile()


async def in_thread(_: Any) -> dict[str, Any]:
    return await asyncio.to_thread(say)


async def in_task(_: Any) -> dict[str, Any]:
    return await asyncio.create_task(asay())


async def in_gather(_: Any) -> dict[str, Any]:
    return (await asyncio.gather(asay(), asyncio.sleep(0)))[0]


async def in_wrapped_executor(_: Any) -> dict[str, Any]:
    with ThreadPoolExecutor(1) as pool:
        return await asyncio.get_running_loop().run_in_executor(pool, here().wrap(say))


def in_wrapped_thread(_: Any) -> dict[str, Any]:
    thread = threading.Thread(target=here().wrap(say))
    thread.start()
    thread.join()
    return {"x": 1}


def in_runnable(state: Any) -> Any:
    return RunnableLambda(say).invoke(state)


async def in_async_runnable(state: Any) -> Any:
    return (await RunnableParallel(only=RunnableLambda(asay)).ainvoke(state))["only"]


def in_batch(state: Any) -> Any:
    return RunnableLambda(say).batch([state])[0]


NODES = (
    say, asay, in_thread, in_task, in_gather, in_wrapped_executor, in_wrapped_thread, in_runnable,
    in_async_runnable, in_batch,
)  # fmt: skip


def conditional_edge() -> Any:
    def route(state: Numbers) -> str:
        say()
        return "b"

    builder = chain(Numbers, "a").add_node("b", lambda _: {})
    return builder.add_conditional_edges("a", route, ["b"]).compile(), {"x": 0}


def tool_node() -> Any:
    @tool
    async def speak(word: str) -> str:
        """Say a word."""
        await asay()
        return word

    call = {"name": "speak", "args": {"word": "w"}, "id": "1", "type": "tool_call"}
    builder = StateGraph(MessagesState).add_node("tools", ToolNode([speak])).add_edge(START, "tools")
    return builder.compile(), {"messages": [HumanMessage("hi"), AIMessage("", tool_calls=[call])]}


def subgraph() -> Any:
    return node_graph(node_graph(asay)), {"x": 0}


def awaited_subgraph() -> Any:
    inner = node_graph(asay)

    async def call(state: Numbers) -> Any:
        return await inner.ainvoke({"x": 0})

    return node_graph(call), {"x": 0}


def called_subgraph() -> Any:
    inner = node_graph(say)
    return node_graph(lambda state: inner.invoke({"x": 0})), {"x": 0}


def task_of_an_entrypoint() -> Any:
    @task
    def work(x: int) -> int:
        say()
        return x

    @entrypoint()
    def run(x: int) -> int:
        return work(x).result()

    return run, 1


def node_of(node: Any) -> Callable[[], Any]:
    def make() -> Any:
        return node_graph(node), {"x": 0}

    make.__name__ = node.__name__
    return make


PLACES = [
    *map(node_of, NODES),
    conditional_edge, tool_node, subgraph, awaited_subgraph, called_subgraph, task_of_an_entrypoint,
]  # fmt: skip


@pytest.mark.parametrize("serialize", [False, True], ids=["objects", "json"])
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_emitted_once_from_everywhere(place: Any, serialize: bool) -> None:
    graph, payload = place()
    adapter = LangGraphAdapter(graph)
    if serialize:
        stream = adapter.invoke_stream(payload, serialize=True)
        received = [decode_event(line) async for line in stream]
    else:
        received = await collect(adapter, payload)
    assert customs(received) == [("here", {"n": 1})]
    assert [event.sequence for event in received] == list(range(1, len(received) + 1))


@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
async def test_it_precedes_the_step_of_its_node(place: Any) -> None:
    shown = brief(await collect(*place()))
    steps_before = shown[: shown.index("custom:here")]
    assert steps_before in ([], ["step:a"])
    assert "step:a" not in steps_before or place is not conditional_edge


async def test_the_order_of_tokens_events_and_steps() -> None:
    gate = asyncio.Event()
    gate.set()

    async def first(state: MessagesState) -> dict[str, Any]:
        await here().emit("begin")
        model = ScriptedAsync(chunks=chunks_of("p q"), gate=gate)
        reply = await model.ainvoke("hi")
        await here().emit_token("mine")
        here().sync_emit("end")
        return {"messages": [reply]}

    def second(state: MessagesState) -> dict[str, Any]:
        for place in range(3):
            here().sync_emit("sync", place=place)
            get_stream_writer()({"place": place})
        return {}

    builder = StateGraph(MessagesState).add_node(first).add_node(second)
    graph = builder.add_edge(START, "first").add_edge("first", "second").compile()
    expected = ["custom:begin", "token:p ", "token:q", "token:mine", "custom:end", "step:first"]
    expected += ["custom:sync", "custom:langgraph"] * 3 + ["step:second"]
    for _ in range(5):
        received = await collect(graph, {"messages": []})
        assert brief(received) == expected
    assert customs(received)[2:4] == [("sync", {"place": 0}), ("langgraph", {"place": 0})]


async def test_every_kind_of_event_passes_as_what_it_is() -> None:
    async def node(state: Numbers) -> dict[str, Any]:
        context = here()
        await context.emit_progress("half", 0.5)
        await context.checkpoint("draft", {"d": 1})
        await context.emit_token("t")
        await context.emit_step("inner", 1.0)
        await context.emit_reasoning("r")
        await context.emit_tool_call("1", "f")
        await context.emit_tool_result("1", "f", 5)
        await context.emit_usage(7, 3)
        await context.emit_message("m", "user", "start")
        await context.emit_step_started("inner")
        await context.emit("e")
        return {}

    received = await collect(node_graph(node), {"x": 0})
    assert [event.type for event in received] == [
        "started", "step_started", "progress", "checkpoint", "token", "step", "reasoning", "tool_call",
        "tool_result", "usage", "message", "step_started", "custom:e", "step", "complete",
    ]  # fmt: skip
