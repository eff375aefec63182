"""What the filter lets through, and what nodes write by LangGraph's own writer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, ToolMessage
from langgraph.config import get_stream_writer
from langgraph.graph import START, MessagesState, StateGraph

from dockrion_adapters.langchain.speech import MESSAGE_EVENTS
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_adapters.langgraph.backend import stream_modes
from dockrion_events import EventEncoder, EventsFilter, EventTooLarge, TokenEvent, as_text, decode_event

from .states import Numbers
from .support import Scripted, collect, customs, output_of, until_failure
from .test_user_events import asay, here, node_graph


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
        (["step"], {"tasks", "custom"}),
        (["step_started"], {"tasks", "custom"}),
        *(([name], {"messages", "custom"}) for name in MESSAGE_EVENTS),
        (["progress"], {"custom"}),
        (["checkpoint"], {"custom"}),
        (["custom"], {"custom"}),
        (["custom:x"], {"custom"}),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),
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
        here().sync_emit("here", {"n": 0})
        async for event in stream:
            seen.append((event, event.sequence))
            get_stream_writer()(event)
        return {}

    received = await collect(node_graph(relay), {"x": 0}, events=["custom:here"])
    assert customs(received) == [("here", {"n": 0}), ("here", {"n": 1})]
    assert len(received) == 4
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


async def test_what_models_and_tools_say_at_length_is_cut_or_stood_in_for() -> None:
    long = "x" * 3000
    call = {"id": "1", "name": "f", "args": json.dumps({"a": long}), "index": 0}
    chunks = [
        AIMessageChunk("", id="m", additional_kwargs={"reasoning_content": long}),
        AIMessageChunk("", id="m", tool_call_chunks=[call]),
    ]
    whole = AIMessage("", id="w", tool_calls=[{"id": "2", "name": "f", "args": {"a": long}}])
    model = Scripted(chunks=chunks)

    async def node(state: MessagesState) -> dict[str, Any]:
        said = await model.ainvoke("hi")
        return {"messages": [said, whole, ToolMessage(long, tool_call_id="2", name="f")]}

    graph = StateGraph(MessagesState).add_node(node).add_edge(START, "node").compile()
    events_filter = EventsFilter(["reasoning", "tool_call", "tool_result"])
    stream = LangGraphAdapter(graph).invoke_stream({"messages": []}, events_filter=events_filter)
    stream.leave_as(as_text, EventEncoder(max_bytes=1000))
    received, _ = await until_failure(stream)
    events: list[Any] = [decode_event(line) for line in received]
    assert "".join(event.content for event in events if event.type == "reasoning") == long
    pieces = [event for event in events if event.type == "tool_call" and event.id == "1"]
    assert json.loads("".join(piece.arguments_delta for piece in pieces)) == {"a": long}
    (stands_in,) = [event for event in events if event.type == "tool_call" and event.id == "2"]
    assert stands_in.arguments == {"type": "builtins.dict", "repr": "<not serialisable>"}
    assert events[-1].content == {"type": "builtins.str", "repr": "<not serialisable>"}
