"""What models and tools say: messages, reasoning, calls, results and usage, each once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, create_react_agent

from dockrion_events import (
    MessageEvent,
    ReasoningEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
)

from .graphs import add, react
from .support import Scripted, ScriptedAsync, Turns, TurnsAsync, Whole, chunks_of, collect, output_of, tokens
from .test_tokens import HI, PLACES, async_node, at_root, graph_of, in_subgraph, streaming_node, sync_node

SPOKEN = ["token", "reasoning", "tool_call", "tool_result", "usage", "message"]
MODELS = {"sync": (Scripted, sync_node), "async": (ScriptedAsync, async_node),
          "streamed": (ScriptedAsync, streaming_node)}  # fmt: skip


def usage(read: int, written: int, **details: Any) -> Any:
    return {"input_tokens": read, "output_tokens": written, "total_tokens": read + written, **details}


def call(index: int, identifier: str | None, name: str | None, args: str) -> AIMessageChunk:
    piece = {"index": index, "id": identifier, "name": name, "args": args}
    return AIMessageChunk("", id="m", tool_call_chunks=[piece])


def of(events: Any, kind: type[Any]) -> list[Any]:
    return [event for event in events if isinstance(event, kind)]


def shown(events: Any) -> list[str]:
    """What was said, in its order."""
    lines = []
    for event in events:
        match event:
            case TokenEvent():
                lines.append(f"token {event.content}")
            case ReasoningEvent():
                lines.append(f"reasoning {event.content}")
            case MessageEvent():
                lines.append(f"{event.phase} {event.id} {event.role} {event.node_name}")
            case ToolCallEvent():
                given = event.arguments_delta if event.arguments is None else event.arguments
                lines.append(f"call {event.id} {event.name} {given}")
            case ToolResultEvent():
                lines.append(f"result {event.id} {event.name} {event.content} {event.error}")
            case UsageEvent():
                lines.append(f"usage {event.input_tokens}+{event.output_tokens}={event.total_tokens}")
    return lines


SCRIPT = [
    AIMessageChunk([{"type": "reasoning", "reasoning": "let me", "index": 0}], id="m"),
    AIMessageChunk([{"type": "reasoning", "reasoning": " see", "index": 0}], id="m",
                   usage_metadata=usage(7, 0, input_token_details={"cache_read": 5})),
    AIMessageChunk([{"type": "text", "text": "so", "index": 1}], id="m"),
    call(2, "1", "add", ""),
    call(2, None, None, '{"a": 1}'),
    AIMessageChunk([], id="m", usage_metadata=usage(0, 3)),
]  # fmt: skip
SAID = ["start m assistant talk", "reasoning let me", "reasoning  see", "token so", "call 1 add ",
        'call 1 add {"a": 1}', "usage 7+3=10", "end m assistant talk"]  # fmt: skip


@pytest.mark.parametrize("place", ["root", "subgraph", "awaited", "called"])
@pytest.mark.parametrize("kind", MODELS)
async def test_a_streamed_message_once_with_all_that_belongs_to_it(kind: str, place: str) -> None:
    model, node = MODELS["sync" if place == "called" else kind]
    received = await collect(PLACES[place][0](node(model(chunks=SCRIPT))), HI, events=SPOKEN)
    assert shown(received) == SAID
    for kinds in (TokenEvent, ReasoningEvent, ToolCallEvent, UsageEvent):
        assert {event.message_id for event in of(received, kinds)} == {"m"}
    assert of(received, UsageEvent)[0].details == {"input_token_details": {"cache_read": 5}}


@pytest.mark.parametrize("allowed", SPOKEN)
async def test_only_what_is_allowed_is_made(allowed: str) -> None:
    graph = at_root(async_node(ScriptedAsync(chunks=SCRIPT)))
    received = await collect(graph, HI, events=[allowed])
    assert {event.type for event in received[1:-1]} <= {allowed}
    prefix = {"message": ("start", "end"), "tool_call": ("call",)}.get(allowed, (allowed,))
    assert shown(received) == [line for line in SAID if line.startswith(prefix)]


async def test_a_message_that_comes_at_once() -> None:
    reply = AIMessage(
        "so",
        id="w",
        tool_calls=[{"id": "1", "name": "add", "args": {"a": 1}}, {"id": None, "name": "now", "args": {}}],
        invalid_tool_calls=[{"id": "3", "name": "add", "args": "{a", "error": None}],
        usage_metadata=usage(7, 3),
        additional_kwargs={"reasoning_content": "hm"},
    )
    expected = ["start w assistant talk", "reasoning hm", "token so", "call 1 add {'a': 1}",
                "call w-call-1 now {}", "call 3 add {a", "usage 7+3=10", "end w assistant talk"]  # fmt: skip
    for node in (sync_node, async_node):
        received = await collect(at_root(node(Whole(replies=[reply]))), HI, events=SPOKEN)
        assert shown(received) == expected
    canned = await collect(at_root(lambda _: {"messages": [reply]}), HI, events=SPOKEN)
    assert shown(canned) == expected


async def test_a_model_that_may_not_be_streamed_is_told_whole_when_its_node_returns_it() -> None:
    model = ScriptedAsync(chunks=SCRIPT).with_config(tags=["nostream"])
    received = await collect(in_subgraph(async_node(model)), HI, events=SPOKEN)
    expected = [*SAID[:1], "reasoning let me see", "token so", "call 1 add {'a': 1}", *SAID[-2:]]
    assert shown(received) == expected


async def test_the_id_of_a_message_is_its_first_chunks() -> None:
    """Some models name their message once; LangChain calls the other chunks something else."""
    chunks = [
        AIMessageChunk("", id="m"),
        *chunks_of("a b", None),
        AIMessageChunk("", usage_metadata=usage(1, 2)),
    ]  # type: ignore[arg-type]
    received = await collect(at_root(async_node(ScriptedAsync(chunks=chunks))), HI, events=SPOKEN)
    assert shown(received) == [SAID[0], "token a ", "token b", "usage 1+2=3", SAID[-1]]
    assert {event.message_id for event in of(received, TokenEvent)} == {"m"}
    assert output_of(received)["messages"][-1].id == "m"


@pytest.mark.parametrize("kind", MODELS)
async def test_a_message_without_any_id(kind: str) -> None:
    model, node = MODELS[kind]
    chunks = chunks_of("a b", None)  # type: ignore[arg-type]
    received = await collect(at_root(node(model(chunks=chunks))), HI, events=SPOKEN)
    first, last = of(received, MessageEvent)
    assert first.id == last.id == output_of(received)["messages"][-1].id
    assert {event.message_id for event in of(received, TokenEvent)} == {first.id}


async def test_a_node_may_return_what_it_streamed_as_often_as_it_likes() -> None:
    model = ScriptedAsync(chunks=SCRIPT)

    async def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    async def repeat(state: MessagesState) -> dict[str, Any]:
        return {"messages": state["messages"]}

    inner = StateGraph(MessagesState).add_node(talk).add_node(repeat)
    inner.add_edge(START, "talk").add_edge("talk", "repeat")
    received = await collect(graph_of(sub=inner.compile()), HI, events=SPOKEN)
    assert shown(received) == SAID


async def test_models_at_once_are_told_apart() -> None:
    nodes = {}
    for name in ("p", "q"):
        script = [chunk.model_copy(update={"id": f"id-{name}"}) for chunk in SCRIPT]
        nodes[name] = async_node(ScriptedAsync(chunks=script))
    received = await collect(graph_of(**nodes), HI, events=SPOKEN)
    for name in ("p", "q"):
        own = [
            e for e in received if f"id-{name}" in (getattr(e, "message_id", None), getattr(e, "id", None))
        ]
        assert shown(own) == [
            line.replace("m assistant talk", f"id-{name} assistant {name}") for line in SAID
        ]
    assert len(received) == 2 * len(SAID) + 2


async def test_a_model_that_fails_ends_its_message_and_has_cost_what_it_said() -> None:
    class Failing(ScriptedAsync):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk
            raise ValueError("gone")

    async def talk(state: MessagesState) -> dict[str, Any]:
        try:
            await Failing(chunks=SCRIPT).ainvoke(state["messages"])
        except ValueError:
            return {"messages": [AIMessage("sorry", id="s")]}
        raise AssertionError

    received = await collect(at_root(talk), HI, events=SPOKEN)
    assert shown(received) == [*SAID, "start s assistant talk", "token sorry", "end s assistant talk"]


async def test_a_node_that_stops_listening_ends_the_message() -> None:
    async def talk(state: MessagesState) -> dict[str, Any]:
        parts = ScriptedAsync(chunks=SCRIPT).astream(state["messages"])
        await anext(parts)
        await parts.aclose()  # type: ignore[attr-defined]
        return {}

    received = await collect(at_root(talk), HI, events=SPOKEN)
    assert shown(received) == ["start m assistant talk", "reasoning let me", "end m assistant talk"]


async def test_usage_alone_does_not_make_a_model_stream() -> None:
    """A model may say less about its usage when it streams."""

    class Reticent(ScriptedAsync):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("streamed")
            yield

    received = await collect(
        in_subgraph(async_node(Reticent(chunks=SCRIPT))), HI, events=["usage", "tool_result"]
    )
    assert shown(received) == ["usage 7+3=10"]


@pytest.mark.parametrize(
    ("content", "about", "thoughts"),
    [
        ([{"type": "reasoning", "summary": 5}], {"model_provider": "openai"}, []),
        (["a", {"type": "reasoning", "reasoning": "b"}], {"output_version": "v1"}, ["b"]),
        ([{"type": "reasoning"}, {"type": "reasoning", "reasoning": ""}], {}, []),
        ([{"type": "thinking", "thinking": "a", "signature": "s"}], {"model_provider": "anthropic"}, ["a"]),
        ([{"type": "thinking", "thinking": "a"}, {"type": "thinking", "thinking": "b"}],
         {"model_provider": "anthropic"}, ["a", "b"]),
    ],
)  # fmt: skip
async def test_reasoning_as_models_have_it(content: Any, about: Any, thoughts: list[str]) -> None:
    chunks = [AIMessageChunk(content, id="m", response_metadata=about), AIMessageChunk([], id="m")]
    streamed = await collect(
        at_root(async_node(ScriptedAsync(chunks=chunks))), HI, events=["reasoning", "usage"]
    )
    whole = AIMessage(content, response_metadata=about)
    received = await collect(at_root(lambda _: {"messages": [whole]}), HI, events=["reasoning"])
    for events in (streamed, received):
        assert [event.content for event in of(events, ReasoningEvent)] == thoughts


# -- tools -----------------------------------------------------------------------------------------


@tool
def fail(a: int) -> int:
    """Fail."""
    raise ValueError("broken")


PARALLEL = [
    [
        call(0, "1", "add", ""),
        call(1, "2", "fail", ""),
        call(0, None, None, '{"a": 2,'),
        call(1, None, None, '{"a"'),
        call(0, None, None, ' "b": 3}'),
        call(1, None, None, ": 1}"),
    ],
    chunks_of("it is 5", "n"),
]


@pytest.mark.filterwarnings("ignore:create_react_agent has been moved")
@pytest.mark.parametrize("version", ["v1", "v2"])
@pytest.mark.parametrize("model", [Turns, TurnsAsync])
async def test_an_agent_that_calls_two_tools_at_once(model: Any, version: Any) -> None:
    tools = ToolNode([add, fail], handle_tool_errors=lambda error: f"tool: {error}")
    graph = create_react_agent(model(turns=list(PARALLEL)), tools, version=version)
    received = await collect(graph, HI, events=[*SPOKEN])
    calls = of(received, ToolCallEvent)
    assert {(c.id, c.name, c.message_id) for c in calls} == {("1", "add", "m"), ("2", "fail", "m")}
    given = {name: "".join(c.arguments_delta for c in calls if c.name == name) for name in ("add", "fail")}
    assert {name: json.loads(text) for name, text in given.items()} == {
        "add": {"a": 2, "b": 3},
        "fail": {"a": 1},
    }
    results = sorted(of(received, ToolResultEvent), key=lambda result: result.id)
    assert shown(results) == ["result 1 add 5 False", "result 2 fail tool: broken True"]
    assert "".join(tokens(received)) == "it is 5"
    edges = [(event.id, event.phase) for event in of(received, MessageEvent)]
    assert edges == [("m", "start"), ("m", "end"), ("n", "start"), ("n", "end")]


async def test_a_loop_of_model_and_tools() -> None:
    graph, payload = react()
    received = await collect(graph, payload, events=SPOKEN)
    (first, *_, last) = of(received, MessageEvent)
    assert shown(received) == [
        f"start {first.id} assistant agent", "call call-1 add {'a': 2, 'b': 3}",
        f"end {first.id} assistant agent", "result call-1 add 5 False",
        "start last assistant agent", "token it is 5", "end last assistant agent",
    ]  # fmt: skip
    assert last.id == "last"


async def test_a_result_that_does_not_say_which_tool_it_is_of() -> None:
    asked = AIMessage("", id="m", tool_calls=[{"id": "1", "name": "add", "args": {}}])

    def answer(state: MessagesState) -> dict[str, Any]:
        said = Whole(replies=[asked]).invoke(state["messages"])
        results = [
            ToolMessage([{"type": "text", "text": "5"}], tool_call_id="1"),
            ToolMessage("?", tool_call_id="2"),
        ]
        return {"messages": [said, *results, HumanMessage("h2")]}

    received = await collect(at_root(answer), HI, events=["tool_result"])
    assert shown(received) == ["result 1 add [{'type': 'text', 'text': '5'}] False", "result 2  ? False"]


async def test_a_result_is_told_once_though_several_nodes_return_it() -> None:
    result = ToolMessage("5", tool_call_id="1", name="add")
    inner = at_root(lambda _: {"messages": [result]})
    received = await collect(graph_of(sub=inner), HI, events=["tool_result"])
    assert shown(received) == ["result 1 add 5 False"]
