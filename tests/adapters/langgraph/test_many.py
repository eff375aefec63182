"""One compiled graph, many executions at once: each stream whole, none mixed with another."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.outputs import ChatGenerationChunk
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import StreamContext, decode_event, get_current_context

from .support import ScriptedAsync, check_form, customs, output_of, steps, tokens

COUNT = 100


def here() -> StreamContext:
    context = get_current_context()
    assert context is not None
    return context


class Mirror(ScriptedAsync):
    """Says what it was asked, letter by letter."""

    async def _astream(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        for letter in messages[0].text:
            await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(content=letter, id="m"))


def chatty_graph() -> Any:
    """Emits from a node, a tool, a thread pool and a bare thread, and says whose run it is each time."""
    model = Mirror(chunks=[])

    async def talk(state: MessagesState) -> dict[str, Any]:
        name = str(state["messages"][0].text)
        await here().emit("node", name=name)
        await asyncio.to_thread(lambda: here().sync_emit("pool", name=name))
        await model.ainvoke(name)
        call = {"name": "speak", "args": {"name": name}, "id": name, "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    @tool
    def speak(name: str) -> str:
        """Emit from a tool."""
        here().sync_emit("tool", name=name)
        return name

    def threads(state: MessagesState) -> dict[str, Any]:
        name = str(state["messages"][0].text)
        context = here()
        together = [
            threading.Thread(target=context.wrap(lambda place=place: context.sync_emit("thread", name=name)))
            for place in range(3)
        ]
        for thread in together:
            thread.start()
        for thread in together:
            thread.join()
        return {}

    builder = StateGraph(MessagesState).add_node(talk).add_node("tools", ToolNode([speak])).add_node(threads)
    builder.add_edge(START, "talk").add_edge("talk", "tools").add_edge("tools", "threads")
    return builder.compile()


async def run(adapter: LangGraphAdapter, name: str, serialize: bool) -> list[Any]:
    stream = adapter.invoke_stream({"messages": [("user", name)]}, serialize=serialize)
    received: list[Any] = [event async for event in stream]
    return [decode_event(line) for line in received] if serialize else received


@pytest.mark.parametrize("serialize", [False, True], ids=["objects", "json"])
async def test_a_hundred_streams_at_once(serialize: bool) -> None:
    adapter = LangGraphAdapter(chatty_graph())
    names = [f"run-{place}" for place in range(COUNT)]
    for name, received in zip(
        names, await asyncio.gather(*(run(adapter, name, serialize) for name in names)), strict=True
    ):
        check_form(received)
        assert customs(received) == [
            (kind, {"name": name}) for kind in ("node", "pool", "tool", "thread", "thread", "thread")
        ]
        assert "".join(tokens(received)) == name
        assert steps(received) == ["talk", "tools", "threads"]
        assert len({event.request_id for event in received}) == 1
        if not serialize:
            assert [message.text for message in output_of(received)["messages"]] == [name, "", name]


async def test_half_of_them_are_stopped_and_the_others_do_not_notice() -> None:
    adapter = LangGraphAdapter(chatty_graph())

    async def stopped(name: str) -> None:
        async with adapter.invoke_stream({"messages": [("user", name)]}) as stream:
            for _ in range(3):
                await anext(stream)

    names = [f"run-{place}" for place in range(COUNT)]
    runs = [run(adapter, name, False) if place % 2 else stopped(name) for place, name in enumerate(names)]
    for name, received in zip(names, await asyncio.gather(*runs), strict=True):
        if received is not None:
            check_form(received)
            assert {data["name"] for _, data in customs(received)} == {name}


def test_streams_on_several_event_loops_at_once() -> None:
    adapter = LangGraphAdapter(chatty_graph())
    results: list[list[Any]] = []

    def work(name: str) -> None:
        results.append(asyncio.run(run(adapter, name, False)))

    threads = [threading.Thread(target=work, args=(f"run-{place}",)) for place in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(results) == 8
    for received in results:
        check_form(received)
        assert len({data["name"] for _, data in customs(received)}) == 1
