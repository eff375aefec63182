"""`Agent`: any agent, and every way to run it in a program."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from langchain_core.language_models import GenericFakeChatModel
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

from dockrion_adapters import LoadError
from dockrion_sdk import Agent, DockfileError, stream_sync


async def shout(payload: dict[str, Any], context: Any = None) -> dict[str, Any]:
    for word in payload["query"].split():
        if context:
            await context.emit_token(word.upper() + " ")
            await context.emit_progress("shouting", 0.5)
    return {"said": payload["query"]}


def chat_graph(*answers: str) -> Any:
    model = GenericFakeChatModel(messages=iter([AIMessage(answer) for answer in answers]))

    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [model.invoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer")


async def test_a_chat_with_a_plain_function() -> None:
    agent = Agent.load(shout)
    lines = [json.loads(line) async for line in agent.stream_chat("good morning")]
    assert [line["type"] for line in lines] == ["started", "token", "token", "complete"]
    assert lines[-1]["output"] == {"said": "good morning"}


async def test_event_objects_have_chunks() -> None:
    events = [event async for event in Agent.load(shout).stream_chat("good morning", serialize=False)]
    assert [event.chunk for event in events] == [None, "GOOD ", "MORNING ", None]


async def test_a_chat_with_a_graph_goes_on_in_its_thread() -> None:
    graph = chat_graph("Hello there", "Still here").compile(checkpointer=InMemorySaver())
    async with Agent.load(graph) as agent:
        for text, seen in (("Hi", 2), ("And?", 4)):
            events = [event async for event in agent.stream_chat(text, serialize=False, thread_id="t")]
            assert "".join(event.chunk or "" for event in events) in ("Hello there", "Still here")
            assert len(events[-1].output["messages"]) == seen  # type: ignore[attr-defined]


async def test_a_time_out_stops_the_agent() -> None:
    stopped = asyncio.Event()

    async def endless(payload: Any, context: Any) -> None:
        try:
            await context.emit_token("on")
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def patiently() -> None:
        async with asyncio.timeout(0.1):
            async for _ in Agent.load(endless).stream_chat("Long task"):
                pass

    with pytest.raises(TimeoutError):
        await patiently()
    async with asyncio.timeout(5):
        await stopped.wait()


async def test_the_message_goes_where_the_dockfile_says(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "chatty.py").write_text("def handle(payload):\n    return payload\n")
    dockfile = tmp_path / "Dockfile.yaml"
    dockfile.write_text(
        "agent: {name: a, handler: chatty:handle}\n"
        "io_schema: {input: {properties: {question: {type: string}, n: {type: integer}}}}\n"
        "streaming: {events: {allowed: minimal}}\n"
    )
    for source in (dockfile, str(dockfile), tmp_path, str(tmp_path)):
        agent = Agent.load(source)
        *_, last = [json.loads(line) async for line in agent.stream_chat("why")]
        assert last["output"] == {"question": "why"}
        assert [event.type async for event in agent.invoke_stream({})] == ["started", "complete"]


async def test_an_entry_point_and_a_builder_are_agents(monkeypatch: pytest.MonkeyPatch) -> None:
    module = ModuleType("entry_of_agent")
    module.shout, module.graph = shout, chat_graph("Hello")  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "entry_of_agent", module)
    assert await Agent.load("entry_of_agent:shout").ainvoke({"query": "x"}) == {"said": "x"}
    output = await Agent.load("entry_of_agent:graph").ainvoke({"messages": ["hi"]})
    assert output["messages"][-1].content == "Hello"


def test_invoke_from_plain_code() -> None:
    assert Agent.load(shout).invoke({"query": "x"}) == {"said": "x"}


@pytest.mark.parametrize("source", [5, None, "nowhere.yaml", "no_module:x"])
def test_what_is_no_agent_is_refused(source: Any) -> None:
    with pytest.raises((LoadError, DockfileError)):
        Agent.load(source)


def test_a_plain_loop_in_a_plain_script() -> None:
    agent = Agent.load(shout)
    assert [event.type for event in stream_sync(agent.invoke_stream({"query": "a"}))] == [
        "started",
        "token",
        "progress",
        "complete",
    ]
    assert "".join(event.chunk or "" for event in agent.stream_chat_sync("a b")) == "A B "


def test_leaving_a_plain_loop_stops_the_agent() -> None:
    stopped = []

    async def endless(payload: Any, context: Any) -> None:
        try:
            while True:
                await context.emit_token("on")
                await asyncio.sleep(0.001)
        finally:
            stopped.append(True)

    for event in stream_sync(Agent.load(endless).invoke_stream({})):
        if event.type == "token":
            break
    assert stopped == [True]


def test_a_plain_loop_raises_what_the_agent_raises() -> None:
    def fail(payload: Any) -> None:
        raise ZeroDivisionError("by hand")

    with pytest.raises(ZeroDivisionError, match="by hand"):
        list(stream_sync(Agent.load(fail).invoke_stream({})))


def test_a_chat_keeps_to_the_nodes_and_tags_of_the_dockfile(tmp_path: Any) -> None:
    (tmp_path / "summing.py").write_text(
        "from langchain_core.language_models import GenericFakeChatModel\n"
        "from langchain_core.messages import AIMessage\n"
        "from langgraph.graph import START, MessagesState, StateGraph\n"
        "def said(text):\n"
        "    async def node(state):\n"
        "        model = GenericFakeChatModel(messages=iter([AIMessage(text)]))\n"
        "        return {'messages': [await model.ainvoke(state['messages'])]}\n"
        "    return node\n"
        "builder = StateGraph(MessagesState).add_node('sum', said('aside')).add_node('talk', said('hello'))\n"
        "graph = builder.add_edge(START, 'sum').add_edge('sum', 'talk')\n"
    )
    (tmp_path / "Dockfile.yaml").write_text(
        'version: "1.0"\nagent: {name: a, framework: langgraph, entrypoint: summing:graph}\n'
        "streaming: {events: {nodes: {deny: [sum]}}}\n"
    )
    agent = Agent.load(tmp_path / "Dockfile.yaml")

    async def chat() -> str:
        return "".join([event.chunk or "" async for event in agent.stream_chat("hi", serialize=False)])

    assert asyncio.run(chat()) == "hello"


async def test_invoke_from_plain_code_of_a_graph_with_asynchronous_nodes() -> None:
    async def answer(state: MessagesState) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"messages": [AIMessage("yes")]}

    builder = StateGraph(MessagesState).add_node(answer).add_edge(START, "answer")
    for source in (builder.compile(), builder):
        agent = Agent.load(source)
        for output in (
            agent.invoke({"messages": "hi"}),
            await asyncio.to_thread(agent.invoke, {"messages": "hi"}),
        ):
            assert [message.text for message in output["messages"]] == ["hi", "yes"]
