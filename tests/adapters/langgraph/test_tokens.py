"""Tokens: live, each once, from every model in every kind of node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langgraph.graph import START, MessagesState, StateGraph

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import EventsFilter, TokenEvent

from .graphs import react
from .support import Scripted, ScriptedAsync, Whole, chunks_of, collect, output_of, tokens

WORDS = ["one ", "two ", "three"]
TEXT = "one two three"
HI = {"messages": [HumanMessage("hi", id="h")]}

Node = Callable[[MessagesState], Any]


def sync_node(model: Any) -> Node:
    def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    return talk


def async_node(model: Any) -> Node:
    async def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return talk


def streaming_node(model: Any) -> Node:
    async def talk(state: MessagesState) -> dict[str, Any]:
        parts = [part async for part in model.astream(state["messages"])]
        whole = parts[0]
        for part in parts[1:]:
            whole = whole + part
        return {"messages": [whole]}

    return talk


def graph_of(**nodes: Node) -> Any:
    builder = StateGraph(MessagesState)
    for name, node in nodes.items():
        builder.add_node(name, node).add_edge(START, name)
    return builder.compile()


def at_root(node: Node) -> Any:
    return graph_of(talk=node)


def in_subgraph(node: Node) -> Any:
    return graph_of(sub=graph_of(talk=node))


def in_awaited_subgraph(node: Node) -> Any:
    inner = graph_of(talk=node)

    async def call(state: MessagesState) -> Any:
        return await inner.ainvoke({"messages": state["messages"]})

    return graph_of(call=call)


def in_called_subgraph(node: Node) -> Any:
    inner = graph_of(talk=node)
    return graph_of(call=lambda state: inner.invoke({"messages": state["messages"]}))


PLACES = {
    "root": (at_root, None),
    "subgraph": (in_subgraph, ["sub"]),
    "awaited": (in_awaited_subgraph, ["call"]),
    "called": (in_called_subgraph, ["call"]),
}


@pytest.mark.parametrize("place", list(PLACES))
@pytest.mark.parametrize("node", [sync_node, async_node, streaming_node])
@pytest.mark.parametrize("model", [Scripted, ScriptedAsync])
async def test_each_token_once_with_its_whereabouts(model: Any, node: Any, place: str) -> None:
    if place == "called" and node is not sync_node:
        node = sync_node  # an asynchronous node cannot run under a synchronous call
    build, path = PLACES[place]
    received = await collect(build(node(model(chunks=chunks_of(TEXT)))), HI, events=["token"])
    events = [event for event in received if isinstance(event, TokenEvent)]
    assert tokens(received) == WORDS
    assert {event.node_name for event in events} == {"talk"}
    assert {event.message_id for event in events} == {"m"}
    paths = [event.namespace and [part.split(":")[0] for part in event.namespace] for event in events]
    assert paths == [path] * 3
    assert output_of(received)["messages"][-1].content == TEXT


async def test_a_model_that_cannot_stream_gives_one_token() -> None:
    reply = AIMessage("all of it", id="w", response_metadata={"finish_reason": "stop"})
    received = await collect(at_root(sync_node(Whole(replies=[reply]))), HI, events=["token"])
    token = received[1]
    assert isinstance(token, TokenEvent)
    assert (token.content, token.finish_reason, token.message_id) == ("all of it", "stop", "w")
    assert len(received) == 3


async def test_the_finish_reason_of_an_earlier_chunk() -> None:
    chunks = [
        AIMessageChunk(content="a", id="m"),
        AIMessageChunk(content="b", id="m", response_metadata={"finish_reason": "length"}),
        AIMessageChunk(content="", id="m", chunk_position="last"),
    ]
    received = await collect(at_root(async_node(ScriptedAsync(chunks=chunks))), HI, events=["token"])
    assert [(t.content, t.finish_reason) for t in received if isinstance(t, TokenEvent)] == [
        ("a", None),
        ("b", "length"),
    ]


async def test_a_finish_reason_alone_is_a_token_without_text() -> None:
    chunks = [
        AIMessageChunk(content="a", id="m"),
        AIMessageChunk(content="", id="m", response_metadata={"stop_reason": "end_turn"}),
    ]
    received = await collect(at_root(async_node(ScriptedAsync(chunks=chunks))), HI, events=["token"])
    assert [(t.content, t.finish_reason) for t in received if isinstance(t, TokenEvent)] == [
        ("a", None),
        ("", "end_turn"),
    ]


async def test_content_of_blocks_is_its_text() -> None:
    chunks = [
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": "hm", "index": 0}], id="m"),
        AIMessageChunk(content=[{"type": "text", "text": "he", "index": 1}], id="m"),
        AIMessageChunk(content=[{"type": "text", "text": "llo", "index": 1}], id="m"),
        AIMessageChunk(
            content=[], id="m", tool_call_chunks=[{"name": "f", "args": "{", "id": "1", "index": 2}]
        ),
    ]
    received = await collect(at_root(async_node(ScriptedAsync(chunks=chunks))), HI, events=["token"])
    assert tokens(received) == ["he", "llo"]
    assert all(type(event.content) is str for event in received if isinstance(event, TokenEvent))


@pytest.mark.parametrize(
    "message", [ToolMessage("t", tool_call_id="1"), HumanMessage("h2")], ids=["tool", "human"]
)
async def test_messages_that_no_model_said_are_no_tokens(message: Any) -> None:
    received = await collect(at_root(lambda _: {"messages": [message]}), HI)
    assert tokens(received) == []


async def test_a_loop_of_model_and_tools() -> None:
    graph, payload = react()
    received = await collect(graph, payload, events=["token"])
    assert tokens(received) == ["it is 5"]


async def test_an_answer_that_a_node_makes_up_is_a_token() -> None:
    received = await collect(at_root(lambda _: {"messages": [AIMessage("canned", id="c")]}), HI)
    assert tokens(received) == ["canned"]


async def test_two_models_at_once_are_told_apart() -> None:
    nodes = {
        name: async_node(ScriptedAsync(chunks=chunks_of(f"{name}1 {name}2 {name}3", message_id=f"id-{name}")))
        for name in ("p", "q")
    }
    received = await collect(graph_of(**nodes), HI, events=["token"])
    for name in ("p", "q"):
        own = [e for e in received if isinstance(e, TokenEvent) and e.message_id == f"id-{name}"]
        assert "".join(event.content for event in own) == f"{name}1 {name}2 {name}3"
        assert {event.node_name for event in own} == {name}
    assert len(tokens(received)) == 6


@pytest.mark.parametrize("place", ["root", "subgraph", "awaited"])
async def test_a_token_arrives_before_the_model_goes_on(place: str) -> None:
    gate = asyncio.Event()
    graph = PLACES[place][0](async_node(ScriptedAsync(chunks=chunks_of(TEXT), gate=gate)))
    stream = LangGraphAdapter(graph).invoke_stream(HI, events_filter=EventsFilter(["token"]))
    async with stream:
        assert (await anext(stream)).type == "started"
        first = await anext(stream)
        assert isinstance(first, TokenEvent)
        assert first.content == WORDS[0]
        gate.set()
        assert [event.type async for event in stream] == ["token", "token", "complete"]


async def test_tokens_of_the_model_are_not_even_asked_for_unless_allowed() -> None:
    class Counting(ScriptedAsync):
        streamed: list[str] = []  # noqa: RUF012 - a pydantic field, copied for each instance

        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            self.streamed.append("once")
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk

    for events, expected in ((["step", "custom"], []), (["token"], ["once"])):
        model = Counting(chunks=chunks_of(TEXT))
        received = await collect(at_root(async_node(model)), HI, events=events)
        assert model.streamed == expected
        assert output_of(received)["messages"][-1].content == TEXT


async def test_the_output_is_whole_and_the_same_with_and_without_tokens() -> None:
    outputs = [
        output_of(
            await collect(at_root(async_node(ScriptedAsync(chunks=chunks_of(TEXT)))), HI, events=events)
        )
        for events in ("minimal", ["token"])
    ]
    assert [message.content for message in outputs[0]["messages"]] == ["hi", TEXT]
    assert [message.content for message in outputs[1]["messages"]] == ["hi", TEXT]
    assert len(outputs[1]["messages"]) == 2
