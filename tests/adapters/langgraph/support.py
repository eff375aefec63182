"""What these tests share: scripted chat models, and ways to run an agent and look at its stream."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import (
    CompleteEvent,
    CustomEvent,
    Event,
    EventsFilter,
    StartedEvent,
    StepEvent,
    TokenEvent,
)

FILTERS: tuple[Any, ...] = (
    None,
    "minimal",
    "chat",
    "debug",
    "all",
    [],
    ["token"],
    ["step"],
    ["custom:x"],
    ["progress", "heartbeat"],
)


def chunks_of(text: str, message_id: str = "m") -> list[AIMessageChunk]:
    """Return one chunk for each word; the words keep the blank after them."""
    words = text.split(" ")
    return [
        AIMessageChunk(content=word + (" " if place < len(words) - 1 else ""), id=message_id)
        for place, word in enumerate(words)
    ]


class Scripted(BaseChatModel):
    """Streams its chunks, synchronously or, through the inherited method, from a thread."""

    chunks: list[AIMessageChunk]

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _whole(self) -> ChatResult:
        message = self.chunks[0]
        for chunk in self.chunks[1:]:
            message = message + chunk
        whole = AIMessage(
            content=message.content,
            id=message.id,
            tool_calls=message.tool_calls,
            usage_metadata=message.usage_metadata,
            response_metadata=message.response_metadata,
        )
        return ChatResult(generations=[ChatGeneration(message=whole)])

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._whole()

    def _stream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for chunk in self.chunks:
            yield ChatGenerationChunk(message=chunk.model_copy())


class ScriptedAsync(Scripted):
    """Streams its chunks from a coroutine; with a gate it waits there after the first."""

    gate: Any = None

    async def _agenerate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return self._whole()

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for place, chunk in enumerate(self.chunks):
            if place and self.gate is not None:
                await self.gate.wait()
            yield ChatGenerationChunk(message=chunk.model_copy())


class Turns(Scripted):
    """Streams one script after the other, and takes tools."""

    chunks: list[AIMessageChunk] = []  # noqa: RUF012 - a pydantic field, copied for each instance
    turns: list[list[AIMessageChunk]]

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Turns:
        return self

    def _next(self) -> None:
        self.chunks, *self.turns = self.turns

    def _generate(self, *args: Any, **kwargs: Any) -> ChatResult:
        self._next()
        return super()._generate(*args, **kwargs)

    def _stream(self, *args: Any, **kwargs: Any) -> Iterator[ChatGenerationChunk]:
        self._next()
        return super()._stream(*args, **kwargs)


class TurnsAsync(Turns):
    """The same from a coroutine."""

    async def _agenerate(self, *args: Any, **kwargs: Any) -> ChatResult:
        return self._generate(*args, **kwargs)

    async def _astream(self, *args: Any, **kwargs: Any) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(*args, **kwargs):
            yield chunk


class Whole(BaseChatModel):
    """A model that cannot stream: it answers with one message, its replies in turn."""

    replies: list[AIMessage]
    asked: int = 0

    @property
    def _llm_type(self) -> str:
        return "whole"

    def bind_tools(self, tools: Sequence[Any], **kwargs: Any) -> Whole:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        reply = self.replies[self.asked]
        self.asked += 1
        return ChatResult(generations=[ChatGeneration(message=reply.model_copy())])


class Log:
    """What an execution did, by name; lets a test wait for it instead of for a while."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._changed: dict[str, asyncio.Event] = {}

    def add(self, name: str) -> None:
        self.done.append(name)
        self._changed.setdefault(name, asyncio.Event()).set()

    async def reached(self, name: str) -> None:
        await self._changed.setdefault(name, asyncio.Event()).wait()


async def collect(
    graph: Any, payload: Any, *, events: Any = None, config: Any = None, **options: Any
) -> list[Event]:
    """Run a graph through an adapter and return all its events, after checking the stream's form."""
    adapter = graph if isinstance(graph, LangGraphAdapter) else LangGraphAdapter(graph)
    async with adapter.invoke_stream(
        payload, config=config, events_filter=EventsFilter(events), **options
    ) as stream:
        received = [event async for event in stream]
    check_form(received)
    return received


async def until_failure(stream: Any) -> tuple[list[Event], Exception]:
    """Return what came before the failure of a stream, and the failure."""
    received: list[Event] = []
    try:
        async for event in stream:
            received.append(event)  # noqa: PERF401 - they count although the comprehension would not end
    except Exception as error:  # noqa: BLE001 - whichever it is, the test looks at it
        return received, error
    raise AssertionError("the stream did not fail")


def check_form(events: Sequence[Event]) -> None:
    """One started event first, one complete event last, numbered from 1 without a hole."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert isinstance(events[0], StartedEvent)
    assert isinstance(events[-1], CompleteEvent)
    assert not any(isinstance(event, StartedEvent | CompleteEvent) for event in events[1:-1])


def output_of(events: Sequence[Event]) -> Any:
    last = events[-1]
    assert isinstance(last, CompleteEvent)
    return last.output


def tokens(events: Sequence[Event]) -> list[str]:
    return [event.content for event in events if isinstance(event, TokenEvent)]


def steps(events: Sequence[Event]) -> list[str]:
    return [event.node_name for event in events if isinstance(event, StepEvent)]


def customs(events: Sequence[Event]) -> list[tuple[str, Any]]:
    return [(event.name, event.data) for event in events if isinstance(event, CustomEvent)]


def brief(events: Sequence[Event]) -> list[str]:
    """Tokens, steps and custom events as ``kind:value``, in their order."""
    shown = []
    for event in events:
        if isinstance(event, TokenEvent):
            shown.append(f"token:{event.content}")
        elif isinstance(event, StepEvent):
            shown.append(f"step:{event.node_name}")
        elif isinstance(event, CustomEvent):
            shown.append(event.type)
    return shown


def plain(value: Any) -> Any:
    """Return an output without what differs from run to run: the random ids of messages."""
    if isinstance(value, BaseMessage):
        return value.model_copy(update={"id": None})
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(plain(item) for item in value)
    return value
