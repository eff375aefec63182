"""Which nodes and which models' tags may tell something: ``EventsFilter(nodes=…, tags=…)``."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, RemoveMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.graph.message import REMOVE_ALL_MESSAGES
from langgraph.prebuilt import ToolNode

from dockrion_adapters.langchain import LangChainAdapter
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import Event, EventsFilter, InvalidFilter, get_current_context

from .langgraph.graphs import add
from .langgraph.support import ScriptedAsync, Whole, chunks_of, customs, steps, tokens
from .langgraph.test_messages import usage

HI = {"messages": [HumanMessage("hi", id="h")]}


async def collect(graph: Any, **sources: Any) -> list[Event]:
    stream = LangGraphAdapter(graph).invoke_stream(HI, events_filter=EventsFilter(**sources))
    return [event async for event in stream]


def model(text: str, message_id: str, *, tags: list[str] | None = None) -> Any:
    chunks = chunks_of(text, message_id)
    chunks[-1] = chunks[-1].model_copy(update={"usage_metadata": usage(1, 2)})
    made = ScriptedAsync(chunks=chunks)
    return made.with_config(tags=tags) if tags else made


async def summarise(state: MessagesState) -> dict[str, Any]:
    """As LangChain's SummarizationMiddleware does."""
    said = await model("a summary", "s", tags=["internal"]).ainvoke(state["messages"])
    return {"messages": [RemoveMessage(REMOVE_ALL_MESSAGES), HumanMessage(f"So far: {said.text}")]}


async def talk(state: MessagesState) -> dict[str, Any]:
    context = get_current_context()
    assert context is not None
    await context.emit("told", {"by": "talk"})
    return {"messages": [await model("an answer", "a", tags=["final"]).ainvoke(state["messages"])]}


def middleware() -> Any:
    builder = StateGraph(MessagesState)
    builder.add_node("Summarization.before_model", summarise).add_node("model", talk)
    builder.add_edge(START, "Summarization.before_model").add_edge("Summarization.before_model", "model")
    return builder.compile()


ANSWER, SUMMARY = ["an ", "answer"], ["a ", "summary"]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({}, SUMMARY + ANSWER),
        ({"nodes": {"deny": ["Summarization.before_model"]}}, ANSWER),
        ({"nodes": {"deny": ["Summarization.*"]}}, ANSWER),
        ({"nodes": ["model"]}, ANSWER),
        ({"nodes": {"allow": ["model"]}}, ANSWER),
        ({"nodes": {"allow": ["*"], "deny": ["model"]}}, SUMMARY),
        ({"nodes": []}, []),
        ({"nodes": {}}, SUMMARY + ANSWER),
        ({"tags": {"deny": ["internal"]}}, ANSWER),
        ({"tags": ["final"]}, ANSWER),
        ({"tags": ["final", "internal"]}, SUMMARY + ANSWER),
        ({"tags": ["final"], "nodes": {"deny": ["model"]}}, []),
        ({"tags": {"allow": ["unheard of"]}}, []),
    ],
)
async def test_what_a_chat_shows(sources: Any, expected: list[str]) -> None:
    assert tokens(await collect(middleware(), events="all", **sources)) == expected


async def test_all_that_adapters_tell_of_a_node_is_kept_back_and_nothing_else() -> None:
    graph = middleware()
    everything = await collect(graph)
    without = await collect(graph, nodes={"deny": ["model"]})
    assert customs(without) == [("told", {"by": "talk"})]  # what the agent itself emits
    assert steps(without) == ["Summarization.before_model"]
    assert without[-1].output["messages"][-1].text == "an answer"  # type: ignore[attr-defined]
    of_node = [event for event in everything if getattr(event, "node_name", None) == "model"]
    assert len(everything) - len(without) == len(of_node) + 1  # and the usage, which names no node


async def test_by_tags_a_models_usage_and_messages_are_kept_back_but_no_steps() -> None:
    received = await collect(middleware(), tags=["final"])
    assert steps(received) == ["Summarization.before_model", "model"]
    assert [event.message_id for event in received if event.type == "usage"] == ["a"]  # type: ignore[attr-defined]
    assert {event.id for event in received if event.type == "message"} == {"a"}  # type: ignore[attr-defined]


@pytest.mark.parametrize("anew", [False, True])
async def test_a_message_that_was_kept_back_does_not_come_when_its_node_returns_it(anew: bool) -> None:
    async def quiet(state: MessagesState) -> dict[str, Any]:
        said = await model("an aside", "q", tags=["internal"]).ainvoke(state["messages"])
        return {"messages": [AIMessage(said.text) if anew else said, AIMessage("loud", id="l")]}

    graph = StateGraph(MessagesState).add_node(quiet).add_edge(START, "quiet").compile()
    assert tokens(await collect(graph, tags={"deny": ["internal"]})) == ["loud"]


async def test_nodes_within_a_node_belong_to_it() -> None:
    outer = StateGraph(MessagesState).add_node("research", middleware()).add_edge(START, "research").compile()
    assert tokens(await collect(outer, nodes=["research"])) == SUMMARY + ANSWER
    assert tokens(await collect(outer, nodes={"deny": ["research"]})) == []
    received = await collect(outer, nodes={"deny": ["Summarization.*"]})
    assert tokens(received) == ANSWER
    assert steps(received) == ["model", "research"]


def using_tools(**tagged: Any) -> Any:
    asked = AIMessage("", id="m", tool_calls=[{"id": "1", "name": "add", "args": {"a": 1, "b": 2}}])

    async def agent(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await Whole(replies=[asked]).with_config(**tagged).ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(agent).add_node("tools", ToolNode([add]))
    return builder.add_edge(START, "agent").add_edge("agent", "tools").compile()


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({}, ["tool_call", "tool_result"]),
        ({"nodes": {"deny": ["tools"]}}, ["tool_call"]),
        ({"nodes": {"deny": ["agent"]}}, []),  # no result of a call that nobody has seen
        ({"tags": {"deny": ["hush"]}}, []),
        ({"tags": ["hush"]}, ["tool_call", "tool_result"]),
    ],
)
async def test_calls_and_results_of_tools(sources: Any, expected: list[str]) -> None:
    graph = using_tools(tags=["hush"])
    for events in (["tool_call", "tool_result"], ["tool_result"]):
        received = await collect(graph, events=events, **sources)
        assert [event.type for event in received[1:-1]] == [kind for kind in expected if kind in events]


# -- tags that LangGraph knows ---------------------------------------------------------------------


@pytest.mark.parametrize("tag", ["nostream", "langsmith:nostream"])
@pytest.mark.parametrize("how", ["model", "returns", "new message"])
async def test_a_silent_node_says_nothing(tag: str, how: str) -> None:
    async def quiet(state: MessagesState) -> dict[str, Any]:
        said = await model("an aside", "q").ainvoke(state["messages"])
        return {"model": {}, "returns": {"messages": [said]}, "new message": {"messages": [AIMessage("x")]}}[
            how
        ]

    builder = StateGraph(MessagesState).add_node("quiet", RunnableLambda(quiet).with_config(tags=[tag]))
    received = await collect(builder.add_edge(START, "quiet").compile())
    assert [event.type for event in received[1:-1]] == ["step_started", "step"]


async def test_a_silent_node_of_tools_still_ends_the_calls() -> None:
    asked = AIMessage("", id="m", tool_calls=[{"id": "1", "name": "add", "args": {"a": 1, "b": 2}}])
    builder = StateGraph(MessagesState).add_node("agent", lambda _: {"messages": [asked]})
    builder.add_node("tools", ToolNode([add]).with_config(tags=["nostream"]))
    received = await collect(builder.add_edge(START, "agent").add_edge("agent", "tools").compile())
    assert [event.type for event in received if event.type.startswith("tool")] == ["tool_call", "tool_result"]


# -- in chains -------------------------------------------------------------------------------------


async def in_chain(chain: Any, **sources: Any) -> list[Event]:
    stream = LangChainAdapter(chain).invoke_stream("hi", events_filter=EventsFilter(**sources))
    return [event async for event in stream]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ({}, sorted(SUMMARY + ANSWER)),
        ({"nodes": ["answer"]}, ANSWER),
        ({"nodes": {"deny": ["aside"]}}, ANSWER),
        ({"tags": {"deny": ["internal"]}}, ANSWER),
        ({"tags": ["final"]}, ANSWER),
        ({"tags": {"deny": ["internal", "final"]}}, []),
    ],
)
async def test_steps_of_a_chain(sources: Any, expected: list[str]) -> None:
    aside, answer = model("a summary", "s", tags=["internal"]), model("an answer", "a", tags=["final"])
    chain = RunnableParallel(aside=aside, answer=answer)
    received = await in_chain(chain, **sources)
    found = tokens(received)
    assert (sorted(found) if not sources else found) == expected
    shown = {"aside", "answer"} if "tags" in sources or not sources else {"answer"}
    assert set(steps(received)) == shown


async def test_results_in_a_chain_follow_their_calls() -> None:
    asked = AIMessage("", id="m", tool_calls=[{"id": "1", "name": "add", "args": {"a": 1, "b": 2}}])

    async def act(_: Any) -> Any:
        said = await Whole(replies=[asked]).with_config(tags=["hush"]).ainvoke("hi")
        return await add.ainvoke(said.tool_calls[0])

    for sources, expected in (({}, 2), ({"tags": {"deny": ["hush"]}}, 0)):
        received = await in_chain(RunnableLambda(act), events=["tool_call", "tool_result"], **sources)
        assert len(received) == 2 + expected


async def test_a_hidden_part_of_a_chain_is_no_step() -> None:
    chain = RunnableLambda(lambda value: value, name="shown") | RunnableLambda(
        lambda value: value, name="hidden"
    ).with_config(tags=["langsmith:hidden"])
    received = await in_chain(chain)
    assert steps(received) == ["shown"]


# -- the filter itself -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sources", "words"),
    [
        ({"nodes": "model"}, "nodes: expected a list of names, not 'model'"),
        ({"nodes": [""]}, "nodes: a name is a string that is not empty, not ''"),
        ({"tags": {"only": ["a"]}}, "tags: unknown key 'only'; valid keys: allow, deny"),
        ({"tags": {"deny": "a"}}, "tags: expected a list of names, not 'a'"),
        ({"tags": {"allow": [1]}}, "tags: a name is a string that is not empty, not 1"),
    ],
)
def test_what_is_no_choice_is_refused(sources: Any, words: str) -> None:
    with pytest.raises(InvalidFilter) as refused:
        EventsFilter(**sources)
    assert str(refused.value) == words


def test_filters_are_compared_with_what_they_choose() -> None:
    one, same = EventsFilter("chat", nodes=["a"]), EventsFilter("chat", nodes={"allow": ["a"]})
    assert one == same
    assert hash(one) == hash(same)
    assert one != EventsFilter("chat")
    assert EventsFilter("chat", nodes={}) == EventsFilter("chat")
    assert repr(one) == "EventsFilter(['token', 'step', 'heartbeat'], nodes={'allow': ('a',), 'deny': ()})"
    assert not EventsFilter("all").chooses_sources
