"""Events that LangChain's ``dispatch_custom_event`` sends: ``custom:<name>``, in every place of a graph."""

from __future__ import annotations

import json
import logging
from typing import Any

import pytest
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import EventsFilter

from .support import collect, customs
from .test_tokens import HI, PLACES, at_root

ONCE = [("seen", {"at": 1}), ("seen", {"at": 2})]


def sync_node(state: MessagesState) -> dict[str, Any]:
    for _, data in ONCE:
        dispatch_custom_event("seen", data)
    return {}


async def async_node(state: MessagesState) -> dict[str, Any]:
    for _, data in ONCE:
        await adispatch_custom_event("seen", data)
    return {}


async def inner_node(state: MessagesState) -> dict[str, Any]:
    async def inside(value: Any) -> Any:
        await adispatch_custom_event("seen", value)

    await RunnableLambda(inside).abatch([data for _, data in ONCE], {"max_concurrency": 1})
    return {}


@tool
def look(at: int) -> str:
    """Look."""
    dispatch_custom_event("seen", {"at": at})
    return "ok"


@tool
async def alook(at: int, config: RunnableConfig) -> str:
    """Look."""
    await adispatch_custom_event("seen", {"at": at}, config=config)
    return "ok"


def tools_node(name: str) -> Any:
    """A model's calls, one after the other: a node of tools runs those of one message at once."""
    node = ToolNode([look, alook])

    async def use(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
        for _, data in ONCE:
            asked = AIMessage("", tool_calls=[{"id": "1", "name": name, "args": data}])
            await node.ainvoke({"messages": [asked]}, config)
        return {}

    return use


NODES = {
    "sync": sync_node,
    "async": async_node,
    "runnable within": inner_node,
    "tool": tools_node("look"),
    "async tool": tools_node("alook"),
}


@pytest.mark.parametrize("events", [None, "debug", ["custom"], ["custom:seen"], ["custom:seen", "usage"]])
@pytest.mark.parametrize("node", NODES)
async def test_they_are_told_once_and_in_order(node: str, events: Any) -> None:
    assert customs(await collect(at_root(NODES[node]), HI, events=events)) == ONCE


@pytest.mark.parametrize("place", [place for place in PLACES if place != "called"])
async def test_they_are_told_in_subgraphs(place: str) -> None:
    assert customs(await collect(PLACES[place][0](async_node), HI)) == ONCE


@pytest.mark.parametrize("events", ["minimal", "chat", [], ["custom:other"], ["token", "message"]])
async def test_the_filter_holds_for_them(events: Any) -> None:
    assert customs(await collect(at_root(sync_node), HI, events=events)) == []


async def test_they_keep_their_place_among_other_events() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        dispatch_custom_event("first", 1)
        return {"messages": [AIMessage("hi", id="m")]}

    received = await collect(at_root(node), HI, events=["custom", "token", "step"])
    assert [event.type for event in received[1:-1]] == ["custom:first", "token", "step"]


NAMES = {
    "seen": "custom:seen",
    "custom:seen": "custom:seen",
    "on tool/call": "custom:on_tool_call",
    "1st": "custom:_1st",
    "": "custom:_",
    "größe\n": "custom:gr__e_",
    "x" * 100: "custom:" + "x" * 64,
    "token": "custom:token",
}


async def test_names_that_cannot_be_a_type_are_made_valid(caplog: pytest.LogCaptureFixture) -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        for name in (*NAMES, "on tool/call"):
            dispatch_custom_event(name, {})
        return {}

    with caplog.at_level(logging.WARNING, logger="dockrion"):
        received = await collect(at_root(node), HI, events=["custom"])
    assert [event.type for event in received[1:-1]] == [*NAMES.values(), "custom:on_tool_call"]
    assert sum("on tool/call" in record.getMessage() for record in caplog.records) <= 1  # once in a process


async def test_data_of_any_kind_leaves_the_stream_whole() -> None:
    def node(state: MessagesState) -> dict[str, Any]:
        cycle: list[Any] = []
        cycle.append(cycle)
        for data in (None, object(), cycle, {1: object()}):
            dispatch_custom_event("odd", data)
        return {}

    adapter = LangGraphAdapter(at_root(node))
    stream = adapter.invoke_stream(HI, events_filter=EventsFilter(["custom"]), serialize=True)
    kinds = [json.loads(event)["type"] async for event in stream]
    assert kinds == ["started", *["custom:odd"] * 4, "complete"]


async def test_what_is_dispatched_outside_reaches_whoever_is_outside() -> None:
    """A graph that a node runs as a stream of its own has its own events, and the outer one has them too."""
    inner = LangGraphAdapter(
        StateGraph(MessagesState).add_node(async_node).add_edge(START, "async_node").compile()
    )
    found: list[Any] = []

    async def outer(state: MessagesState) -> dict[str, Any]:
        async with inner.invoke_stream(HI, events_filter=EventsFilter(["custom"])) as stream:
            found.extend(customs([event async for event in stream]))
        return {}

    assert customs(await collect(at_root(outer), HI)) == found == ONCE
