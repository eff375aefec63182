"""What models say besides text, in the forms in which the packages of their providers give it."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables import RunnableLambda

from dockrion_adapters.langchain import LangChainAdapter
from dockrion_events import (
    ContentBlockEvent,
    Event,
    EventsFilter,
    MessageEvent,
    ReasoningEvent,
    StreamContext,
    TokenEvent,
)
from dockrion_events.encoding import EventEncoder
from dockrion_events.forms import as_encoded

from ..langgraph.support import ScriptedAsync, Whole
from ..langgraph.support import collect as of_graph
from ..langgraph.test_tokens import HI, async_node, at_root

WANTED = ["token", "reasoning", "content_block", "message"]


def said(content: Any = "", provider: str | None = None, /, **extra: Any) -> dict[str, Any]:
    about = {} if provider is None else {"model_provider": provider}
    return {"content": content, "additional_kwargs": extra, "response_metadata": about}


SUMMARY = [{"type": "summary_text", "text": "hm", "index": 0}]
IN_CONVERSE = {"type": "reasoning_content", "reasoning_content": {"text": "hm", "signature": "s"}}
THINKING = {"type": "thinking", "thinking": "hm", "index": 0}
REASONING: dict[str, dict[str, Any]] = {
    "langchain v1": said([{"type": "reasoning", "reasoning": "hm", "index": 0}]),
    "anthropic": said([THINKING], "anthropic"),
    "anthropic behind a proxy": said([THINKING]),
    "bedrock": said([THINKING], "bedrock"),
    "bedrock converse": said([IN_CONVERSE], "bedrock_converse"),
    "bedrock converse unnamed": said([IN_CONVERSE]),
    "boto": said([{"reasoningContent": {"reasoningText": {"text": "hm"}}}]),
    "openai responses": said([{"type": "reasoning", "id": "rs", "summary": SUMMARY}], "openai"),
    "openai open weights": said(
        [{"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]}],
        "openai",
    ),
    "openai v0": said("", "openai", reasoning={"id": "rs", "summary": SUMMARY}),
    "azure, databricks": said([{"type": "reasoning", "summary": SUMMARY}]),
    "google": said([THINKING], "google_genai"),
    "google v1": said([{"type": "reasoning", "reasoning": "hm"}], "google_genai"),
    "google's parts": said([{"text": "hm", "thought": True}]),
    "google's parts with a type": said([{"type": "text", "text": "hm", "thought": True}], "google_genai"),
    "vertex": said([THINKING], "google_vertexai"),
    "mistral": said([{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}], "mistralai"),
    "cohere": said([{"type": "thinking", "thinking": "hm"}], "cohere"),
    "deepseek": said("", "deepseek", reasoning_content="hm"),
    "xai": said("", "xai", reasoning_content="hm"),
    "groq": said("", "groq", reasoning_content="hm"),
    "groq raw": said("", reasoning="hm"),
    "ollama": said("", "ollama", reasoning_content="hm"),
    "ollama raw": said("", thinking="hm"),
    "qwen, vllm, nvidia": said("", reasoning_content="hm"),
    "openrouter": said("", reasoning="hm", reasoning_details=[{"type": "reasoning.text", "text": "hm"}]),
    "minimax": said("", reasoning_details=[{"type": "reasoning.text", "text": "hm"}]),
    "litellm": said("", reasoning_content="hm", thinking_blocks=[{"type": "thinking", "thinking": "hm"}]),
    "litellm for anthropic": said("", thinking_blocks=[{"type": "thinking", "thinking": "hm"}]),
}

NO_REASONING: dict[str, dict[str, Any]] = {
    "signature": said([{"type": "thinking", "signature": "s", "index": 0}], "anthropic"),
    "empty": said([{"type": "reasoning", "summary": []}], "openai", reasoning_content=""),
    "odd": said([{"type": "reasoning", "summary": 5}, "", {"type": None}], "openai", reasoning=["", None, 3]),
}

SEARCH = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {"query": "q"}}
FOUND = {"type": "web_search_tool_result", "tool_use_id": "s1", "content": [{"url": "u", "title": "t"}]}
CITED = {"type": "web_search_result_location", "url": "u", "title": "t", "cited_text": "c"}
LINK = {"type": "url_citation", "url": "u", "title": "t"}
DATA_URL = "data:image/png;base64,AAAA"
BLOCKS: dict[str, tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]] = {
    "image, v1": (said([{"type": "image", "base64": "AAAA", "mime_type": "image/png"}]),
                  [("image", {"base64": "AAAA", "mime_type": "image/png"})]),
    "image of gemini": (said([{"type": "image_url", "image_url": {"url": DATA_URL}}], "google_genai"),
                        [("image", {})]),
    "image of openai": (said([{"type": "image_generation_call", "id": "i", "result": "AAAA"}], "openai"),
                        [("image", {})]),
    "image of openrouter": (said("", images=[{"type": "image_url", "image_url": {"url": DATA_URL}}]),
                            [("image", {"image_url": {"url": DATA_URL}})]),
    "audio of openai": (said("", audio={"id": "a", "data": "AAAA", "transcript": "hi"}),
                        [("audio", {"id": "a", "data": "AAAA", "transcript": "hi"})]),
    "file": (said([{"type": "file", "url": "u", "mime_type": "application/pdf"}]), [("file", {"url": "u"})]),
    "citations of anthropic": (said([{"type": "text", "text": "x", "citations": [CITED]}], "anthropic"),
                               [("citation", {"url": "u", "title": "t", "cited_text": "c"})]),
    "citations of openai": (
        said([{"type": "text", "text": "x", "annotations": [LINK]}], "openai"),
        [("citation", {"url": "u", "title": "t"})]),
    "citations of perplexity": (said("x", citations=["u"]), [("citation", "u")]),  # type: ignore[list-item]
    "server tool of anthropic": (said([SEARCH, FOUND], "anthropic"),
                                 [("server_tool_call", {"id": "s1", "args": {"query": "q"}}),
                                  ("server_tool_result", {"tool_call_id": "s1"})]),
    "server tool of openai": (said([{"type": "web_search_call", "id": "w", "status": "completed",
                                     "action": {"type": "search", "query": "q"}}], "openai"),
                              [("server_tool_call", {"id": "w", "name": "web_search"}),
                               ("server_tool_result", {"tool_call_id": "w"})]),
    "server tool of a stranger": (said([SEARCH, FOUND]),
                                  [("server_tool_call", {"id": "s1", "input": {"query": "q"}}),
                                   ("server_tool_result", {"tool_use_id": "s1"})]),
    "refusal of openai": (said("", refusal="no"), [("refusal", {"refusal": "no"})]),
    "refusal in responses": (said([{"type": "refusal", "refusal": "no"}], "openai"),
                             [("refusal", {"refusal": "no"})]),
    "redacted thinking": (said([{"type": "redacted_thinking", "data": "secret"}], "anthropic"),
                          [("redacted_reasoning", {})]),
    "a provider's own": (said([{"type": "compaction", "content": "sum"}], "anthropic"),
                         [("compaction", {"content": "sum"})]),
}  # fmt: skip


async def events_of(message: dict[str, Any], *, streamed: bool, graph: bool = False) -> list[Event]:
    """Return what is told of a message, said by a model in a chain or returned by a node."""
    last = AIMessageChunk("", id="m", chunk_position="last")
    model: Any = (
        ScriptedAsync(chunks=[AIMessageChunk(id="m", **message), last])
        if streamed
        else Whole(replies=[AIMessage(id="m", **message)])
    )
    if graph:
        return await of_graph(at_root(async_node(model)), HI, events=WANTED)
    stream = LangChainAdapter(model).invoke_stream("hi", events_filter=EventsFilter(WANTED))
    return [event async for event in stream]


def thoughts(events: list[Event]) -> list[str]:
    return [event.content for event in events if isinstance(event, ReasoningEvent)]


def blocks(events: list[Event]) -> list[ContentBlockEvent]:
    return [event for event in events if isinstance(event, ContentBlockEvent)]


WAYS = pytest.mark.parametrize(
    ("streamed", "graph"), [(True, False), (False, False), (True, True), (False, True)]
)


@WAYS
@pytest.mark.parametrize("provider", REASONING)
async def test_reasoning_in_every_known_form(provider: str, streamed: bool, graph: bool) -> None:
    events = await events_of(REASONING[provider], streamed=streamed, graph=graph)
    assert thoughts(events) == ["hm"]
    assert "".join(event.content for event in events if isinstance(event, TokenEvent)) == ""
    assert blocks(events) == []


@pytest.mark.parametrize("streamed", [True, False])
@pytest.mark.parametrize("form", NO_REASONING)
async def test_what_has_no_thought_in_it(form: str, streamed: bool) -> None:
    assert thoughts(await events_of(NO_REASONING[form], streamed=streamed)) == []


@WAYS
@pytest.mark.parametrize("form", BLOCKS)
async def test_other_blocks(form: str, streamed: bool, graph: bool) -> None:
    message, expected = BLOCKS[form]
    found = blocks(await events_of(message, streamed=streamed, graph=graph))
    assert [block.kind for block in found] == [kind for kind, _ in expected]
    for block, (_, some) in zip(found, expected, strict=True):
        assert block.message_id == "m"
        assert block.data == some if not isinstance(some, dict) else some.items() <= block.data.items()
        assert "secret" not in str(block.data)


async def test_a_text_with_citations_stays_a_text() -> None:
    events = await events_of(BLOCKS["citations of anthropic"][0], streamed=True)
    assert [event.type for event in events[1:-1]] == ["message", "token", "content_block", "message"]


async def test_a_call_of_a_providers_tool_in_pieces_is_told_whole() -> None:
    """As Anthropic streams it; the call comes as soon as the model goes on."""
    pieces = [
        [{**SEARCH, "input": {}, "index": 0}],
        [{"type": "input_json_delta", "partial_json": '{"que', "index": 0}],
        [{"type": "input_json_delta", "partial_json": 'ry": "q"}', "index": 0}],
        [{**FOUND, "index": 1}],
        [{**SEARCH, "id": "s2", "input": {}, "index": 2}],
    ]
    chunks = [AIMessageChunk(id="m", **said(piece, "anthropic")) for piece in pieces]
    stream = LangChainAdapter(ScriptedAsync(chunks=chunks)).invoke_stream("hi")
    found = blocks([event async for event in stream])
    assert [(block.kind, block.data.get("id"), block.data.get("args")) for block in found] == [
        ("server_tool_call", "s1", {"query": "q"}),
        ("server_tool_result", None, None),
        ("server_tool_call", "s2", {}),
    ]


async def test_calls_of_the_agents_own_tools_are_no_blocks() -> None:
    call = {"type": "tool_use", "id": "1", "name": "add", "input": {}, "index": 0}
    piece = {"id": "1", "name": "add", "args": "{}", "index": 0}
    chunk = AIMessageChunk(id="m", tool_call_chunks=[piece], **said([call], "anthropic"))
    stream = LangChainAdapter(ScriptedAsync(chunks=[chunk])).invoke_stream("hi")
    assert blocks([event async for event in stream]) == []


async def test_an_image_too_large_to_send_is_named() -> None:
    image = {"type": "image", "base64": "A" * 20_000}
    model = ScriptedAsync(chunks=[AIMessageChunk(id="m", **said([image]))])
    chain = model | RunnableLambda(lambda _: None)
    context = StreamContext("r", events_filter=EventsFilter(["content_block"]))
    stream: Any = LangChainAdapter(chain).invoke_stream("hi", context=context)
    stream.leave_as(as_encoded, EventEncoder(5000))
    (found,) = [event.decode() async for event in stream if event.type == "content_block"]
    assert (found.kind, found.data) == ("image", {"type": "builtins.dict", "repr": "<not serialisable>"})


@pytest.mark.parametrize("graph", [False, True])
@pytest.mark.parametrize("given_up", [False, True])
async def test_a_message_whose_model_fails_ends_in_error(graph: bool, given_up: bool) -> None:
    class Failing(ScriptedAsync):
        async def _astream(self, *args: Any, **kwargs: Any) -> Any:
            async for chunk in super()._astream(*args, **kwargs):
                yield chunk
            raise ValueError("gone")

    model = Failing(chunks=[AIMessageChunk("so", id="m")])

    async def talk(value: Any) -> Any:
        if given_up:
            parts = model.astream("hi")
            await anext(parts)
            await parts.aclose()  # type: ignore[attr-defined]
        else:
            with pytest.raises(ValueError, match="gone"):
                await model.ainvoke("hi")
        return {}

    if graph:
        events = await of_graph(at_root(talk), HI, events=["message"])
    else:
        stream = LangChainAdapter(RunnableLambda(talk)).invoke_stream(
            {}, events_filter=EventsFilter(["message"])
        )
        events = [event async for event in stream]
    edges = [(event.phase, event.error) for event in events if isinstance(event, MessageEvent)]
    assert edges == [("start", False), ("end", not given_up)]
