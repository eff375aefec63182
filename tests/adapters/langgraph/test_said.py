"""A node that returns, as a new message, what its model has just said: told once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import InjectedToolCallId, tool
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command

from dockrion_events import MessageEvent, ToolCallEvent, ToolResultEvent

from .support import Scripted, ScriptedAsync, Whole, chunks_of, collect, output_of, tokens
from .test_messages import SPOKEN, call, of, shown
from .test_tokens import HI, at_root, graph_of


def saying(text: str = "so it is", message_id: str = "m") -> ScriptedAsync:
    return ScriptedAsync(chunks=chunks_of(text, message_id))


async def new_message(state: MessagesState) -> dict[str, Any]:
    said = await saying().ainvoke(state["messages"])
    return {"messages": [AIMessage(said.text)]}


async def stripped(state: MessagesState) -> dict[str, Any]:
    said = await saying(" so it is\n").ainvoke(state["messages"])
    return {"messages": [AIMessage(said.text.strip(), name="agent")]}


async def collected(state: MessagesState) -> dict[str, Any]:
    pieces = [chunk.text async for chunk in saying().astream(state["messages"])]
    return {"messages": AIMessage("".join(pieces))}


def synchronous(state: MessagesState) -> dict[str, Any]:
    said = Scripted(chunks=chunks_of("so it is")).invoke(state["messages"])
    return {"messages": [AIMessage(said.text)]}


def whole(state: MessagesState) -> dict[str, Any]:
    said = Whole(replies=[AIMessage("so it is")]).invoke(state["messages"])
    return {"messages": [AIMessage(said.text)]}


async def by_command(state: MessagesState) -> Command[Any]:
    said = await saying().ainvoke(state["messages"])
    return Command(update={"messages": [AIMessage(said.text)]})


async def through_a_subgraph(state: MessagesState, config: RunnableConfig) -> dict[str, Any]:
    done = await at_root(new_message).ainvoke(state, config)
    return {"messages": [AIMessage(done["messages"][-1].text, name="expert")]}


NODES = [new_message, stripped, collected, synchronous, whole, by_command, through_a_subgraph]


@pytest.mark.parametrize("node", NODES)
async def test_once(node: Any) -> None:
    received = await collect(at_root(node), HI, events=SPOKEN)
    assert "".join(tokens(received)).strip() == "so it is"
    assert [event.phase for event in of(received, MessageEvent)] == ["start", "end"]
    assert output_of(received)["messages"][-1].text == "so it is"


async def test_once_where_a_subgraph_is_the_node() -> None:
    received = await collect(graph_of(sub=at_root(new_message)), HI, events=SPOKEN)
    assert "".join(tokens(received)) == "so it is"


async def test_once_in_a_functional_graph() -> None:
    @task
    async def ask(question: str) -> str:
        return (await saying().ainvoke(question)).text

    @entrypoint()
    async def flow(question: str) -> AIMessage:
        return AIMessage(await ask(question))

    assert tokens(await collect(flow, "hi", events=["token"])) == ["so ", "it ", "is"]


# -- what is said twice is told twice --------------------------------------------------------------


async def test_two_calls_with_the_same_text() -> None:
    async def talk(state: MessagesState) -> dict[str, Any]:
        one = await saying(message_id="one").ainvoke(state["messages"])
        other = await saying(message_id="other").ainvoke(state["messages"])
        return {"messages": [AIMessage(one.text), AIMessage(other.text)]}

    received = await collect(at_root(talk), HI, events=SPOKEN)
    assert [event.id for event in of(received, MessageEvent)] == ["one", "one", "other", "other"]


async def test_a_message_and_another_one_with_its_text() -> None:
    """The first is what was streamed, so the second is one more."""

    async def talk(state: MessagesState) -> dict[str, Any]:
        said = await saying().ainvoke(state["messages"])
        return {"messages": [said, AIMessage(said.text, id="again")]}

    received = await collect(at_root(talk), HI, events=["message"])
    assert [event.id for event in of(received, MessageEvent)] == ["m", "m", "again", "again"]


async def test_another_node_with_the_same_text() -> None:
    def repeat(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("so it is", id="again")]}

    builder = StateGraph(MessagesState).add_node(new_message).add_node(repeat)
    graph = builder.add_edge(START, "new_message").add_edge("new_message", "repeat").compile()
    received = await collect(graph, HI, events=SPOKEN)
    assert "".join(tokens(received)) == "so it isso it is"


async def test_nodes_at_once_are_told_apart() -> None:
    async def one(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await saying(message_id="one").ainvoke(state["messages"])]}

    def other(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("so it is", id="other")]}

    received = await collect(graph_of(one=one, other=other), HI, events=["message"])
    assert sorted({event.id for event in of(received, MessageEvent)}) == ["one", "other"]


async def test_another_text_is_told() -> None:
    async def talk(state: MessagesState) -> dict[str, Any]:
        said = await saying().ainvoke(state["messages"])
        return {"messages": [AIMessage(f"In short: {said.text}")]}

    received = await collect(at_root(talk), HI, events=["token"])
    assert tokens(received) == ["so ", "it ", "is", "In short: so it is"]


async def test_a_text_that_comes_back_with_calls_that_nobody_told() -> None:
    async def talk(state: MessagesState) -> dict[str, Any]:
        said = await saying().ainvoke(state["messages"])
        return {"messages": [AIMessage(said.text, tool_calls=[{"id": "1", "name": "add", "args": {}}])]}

    received = await collect(at_root(talk), HI, events=["tool_call"])
    assert [event.id for event in of(received, ToolCallEvent)] == ["1"]


async def test_calls_alone_that_come_back_are_told_once() -> None:
    async def talk(state: MessagesState) -> dict[str, Any]:
        said = await ScriptedAsync(chunks=[call(0, "1", "add", "{}")]).ainvoke(state["messages"])
        return {"messages": [AIMessage("", tool_calls=said.tool_calls)]}

    received = await collect(at_root(talk), HI, events=SPOKEN)
    assert [event.id for event in of(received, ToolCallEvent)] == ["1"]


# -- results of tools ------------------------------------------------------------------------------

ASKED = AIMessage("", id="m", tool_calls=[{"id": "1", "name": "add", "args": {}}])


def answering(*messages: Any) -> Callable[[MessagesState], dict[str, Any]]:
    def answer(state: MessagesState) -> dict[str, Any]:
        said = Whole(replies=[ASKED]).invoke(state["messages"])
        return {"messages": [said, *messages]}

    return answer


AS_DICT = {"role": "tool", "tool_call_id": "1", "content": "5"}


@pytest.mark.parametrize(
    "answer", [AS_DICT, {**AS_DICT, "name": "add"}, {"type": "tool", "tool_call_id": "1", "content": "5"}]
)
async def test_results_that_are_dicts(answer: dict[str, Any]) -> None:
    """Also where the graph around sees the message that LangGraph has made of them."""
    for graph in (at_root(answering(answer)), graph_of(sub=at_root(answering(answer)))):
        received = await collect(graph, HI, events=["tool_call", "tool_result"])
        assert shown(received) == ["call 1 add {}", "result 1 add 5 False"]


async def test_other_dicts_are_no_results() -> None:
    odd = [
        {"role": "user", "content": "hi"},
        {"role": "tool", "tool_call_id": "1", "content": "5", "status": "error"},
    ]
    received = await collect(at_root(answering(*odd)), HI, events=["tool_result"])
    assert shown(received) == ["result 1 add 5 True"]


async def test_what_a_tool_gives_for_the_program() -> None:
    @tool(response_format="content_and_artifact")
    def look(a: int) -> tuple[str, Any]:
        """Look."""
        return "two rows", {"rows": [1, 2]}

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage("", tool_calls=[{"id": "1", "name": "look", "args": {"a": 1}}])]}

    builder = StateGraph(MessagesState).add_node(ask).add_node("tools", ToolNode([look]))
    graph = builder.add_edge(START, "ask").add_edge("ask", "tools").compile()
    (result,) = of(await collect(graph, HI), ToolResultEvent)
    assert (result.content, result.artifact) == ("two rows", {"rows": [1, 2]})


@tool
def transfer(tool_call_id: Annotated[str, InjectedToolCallId]) -> Command[Any]:
    """Hand over to the other agent, as langgraph-swarm and -supervisor do."""
    done = ToolMessage("transferred", tool_call_id=tool_call_id, name="transfer")
    return Command(goto="other", graph=Command.PARENT, update={"messages": [done]})


def handoff(*, more: bool = False) -> Any:
    def ask(state: MessagesState) -> dict[str, Any]:
        calls = [{"id": name, "name": "transfer", "args": {}} for name in ("1", "2")[: 1 + more]]
        return {"messages": [Whole(replies=[AIMessage("", tool_calls=calls)]).invoke(state["messages"])]}

    inner = StateGraph(MessagesState).add_node(ask).add_node("tools", ToolNode([transfer]))
    agent = inner.add_edge(START, "ask").add_edge("ask", "tools").compile()
    outer = StateGraph(MessagesState).add_node("agent", agent, destinations=("other",))
    outer.add_node("other", lambda state: {"messages": [AIMessage("done", id="d")]})
    return outer.add_edge(START, "agent").compile()


@pytest.mark.parametrize("more", [False, True])
async def test_a_handoff_ends_its_call(more: bool) -> None:
    received = await collect(handoff(more=more), HI, events=["tool_call", "tool_result", "token"])
    names = ["1", "2"][: 1 + more]
    calls, results, rest = (
        shown(received)[: len(names)],
        shown(received)[len(names) : -1],
        shown(received)[-1],
    )
    assert calls == [f"call {name} transfer {{}}" for name in names]
    assert sorted(results) == [f"result {name} transfer transferred False" for name in names]
    assert rest == "token done"


async def test_a_handoff_by_the_node_itself_ends_its_call() -> None:
    def leave(state: MessagesState) -> Command[Any]:
        said = Whole(replies=[ASKED]).invoke(state["messages"])
        update = {"messages": [*state["messages"], said, ToolMessage("gone", tool_call_id="1")]}
        return Command(goto="other", graph=Command.PARENT, update=update)

    outer = StateGraph(MessagesState).add_node("agent", at_root(leave), destinations=("other",))
    outer.add_node("other", lambda state: {"messages": [HumanMessage("h")]}).add_edge(START, "agent")
    received = await collect(outer.compile(), HI, events=["tool_call", "tool_result"])
    assert shown(received) == ["call 1 add {}", "result 1 add gone False"]
