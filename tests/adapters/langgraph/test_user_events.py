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
from dockrion_adapters.langgraph.backend import stream_modes
from dockrion_events import (
    EventEncoder,
    EventsFilter,
    EventTooLarge,
    StreamContext,
    TokenEvent,
    as_text,
    decode_event,
    get_current_context,
)

from .states import Numbers, chain
from .support import ScriptedAsync, brief, chunks_of, collect, customs, output_of, until_failure


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
        await context.emit("e")
        return {}

    received = await collect(node_graph(node), {"x": 0})
    assert [event.type for event in received] == [
        "started", "progress", "checkpoint", "token", "step", "custom:e", "step", "complete",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("minimal", []),
        ("chat", ["token", "step", "step"]),
        (["progress"], ["progress"]),
        (["custom:b"], ["custom:b"]),
        (["custom"], ["custom:a", "custom:b", "custom:langgraph"]),
        (["custom:langgraph"], ["custom:langgraph"]),
        (["checkpoint", "token"], ["checkpoint", "token"]),
    ],
    ids=str,
)
async def test_only_what_the_filter_allows_leaves(events: Any, expected: list[str]) -> None:
    def node(state: Numbers) -> dict[str, Any]:
        context = here()
        context.sync_emit_progress("p", 0.1)
        context.sync_checkpoint("c", 1)
        context.sync_emit_token("t")
        context.sync_emit_step("s")
        context.sync_emit("a")
        context.sync_emit("b")
        get_stream_writer()("w")
        return {}

    received = await collect(node_graph(node), {"x": 0}, events=events)
    assert [event.type for event in received][1:-1] == expected


@pytest.mark.parametrize(
    ("events", "modes"),
    [
        (None, {"messages", "tasks", "custom"}),
        ("minimal", set()),
        ([], set()),
        (["heartbeat"], set()),
        ("chat", {"messages", "tasks", "custom"}),
        (["token"], {"messages", "custom"}),
        (["step"], {"tasks", "custom"}),
        (["progress"], {"custom"}),
        (["checkpoint"], {"custom"}),
        (["custom"], {"custom"}),
        (["custom:x"], {"custom"}),
    ],
    ids=str,
)
def test_the_stream_modes_are_those_that_the_filter_needs(events: Any, modes: set[str]) -> None:
    assert stream_modes(EventsFilter(events)) == modes


async def test_unencodable_data_of_langgraphs_writer_does_not_end_the_run() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)

    def node(state: Numbers) -> dict[str, Any]:
        get_stream_writer()(cycle)
        get_stream_writer()(object())
        return {"x": 5}

    adapter = LangGraphAdapter(node_graph(node))
    received = [decode_event(line) async for line in adapter.invoke_stream({"x": 0}, serialize=True)]
    assert [data["type"] for name, data in customs(received) if name == "langgraph"] == [
        "builtins.list",
        "builtins.object",
    ]
    assert output_of(received) == {"x": 5, "trail": []}


async def test_events_written_by_hand_are_held_to_the_same_rules() -> None:
    """A node may hand on what it read from another stream; the life cycle is not its to write."""
    inner = LangGraphAdapter(node_graph(asay))
    seen: list[Any] = []

    async def relay(state: Numbers) -> dict[str, Any]:
        # A thread of its own, so that nothing of the inner graph is seen here but by this hand.
        stream = inner.invoke_stream({"x": 0}, config={"configurable": {"thread_id": "own"}})
        async for event in stream:
            seen.append((event, event.sequence))
            get_stream_writer()(event)
        return {}

    received = await collect(node_graph(relay), {"x": 0}, events=["custom:here"])
    assert customs(received) == [("here", {"n": 1})]
    assert [event.sequence for event, _ in seen] == [sequence for _, sequence in seen]


async def test_a_large_token_is_cut_and_not_lost() -> None:
    words = "x" * 3000

    async def node(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(words, id="m", response_metadata={"finish_reason": "stop"})]}

    graph = StateGraph(MessagesState).add_node(node).add_edge(START, "node").compile()
    stream = LangGraphAdapter(graph).invoke_stream({"messages": []}, events_filter=EventsFilter(["token"]))
    stream.leave_as(as_text, EventEncoder(max_bytes=1000))
    received, error = await until_failure(stream)
    assert isinstance(error, EventTooLarge)  # the output, which is as large
    events = [decode_event(line) for line in received]
    parts = [event for event in events if isinstance(event, TokenEvent)]
    assert "".join(part.content for part in parts) == words
    assert [part.finish_reason for part in parts if part.finish_reason] == ["stop"]
    assert len(events) == len(parts) + 1
