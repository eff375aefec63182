"""Agentor's agents: what comes out, what they say on the way, and how they end."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import pytest
from agentor.engine import AgentLoop, ModelResponse, ToolCall, Usage
from agentor.engine.models import StreamChunk
from agentor.engine.store import MemoryStore

from agentor import Agentor, function_tool
from dockrion_adapters import Adapter, LoadError, adapter_of, get_adapter
from dockrion_adapters.agentor import AgentorAdapter
from dockrion_adapters.testing import AdapterSuite
from dockrion_events import (
    Event,
    EventsFilter,
    MessageEvent,
    ReasoningEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
    get_current_context,
)


class Scripted:
    """A model that gives its answers in turn, or what ``act`` returns; words are parted by bars."""

    def __init__(self, *answers: ModelResponse, act: Callable[[Any], Any] | None = None) -> None:
        self.answers = answers
        self.act = act

    async def _answer(self, messages: Any) -> ModelResponse:
        if self.act is not None:
            result = self.act(messages)
            value = await result if inspect.isawaitable(result) else result
            return ModelResponse(content=value)
        said = sum(message["role"] == "assistant" for message in messages)
        return self.answers[said]

    async def complete(self, messages: Any, *rest: Any) -> ModelResponse:
        return _whole(await self._answer(messages))

    async def stream(self, messages: Any, *rest: Any) -> AsyncIterator[StreamChunk]:
        answer = await self._answer(messages)
        for word in (answer.content or "").split("|"):
            if word:
                yield StreamChunk(delta=word)
        yield StreamChunk(final=_whole(answer))


def _whole(answer: ModelResponse) -> ModelResponse:
    content = (answer.content or "").replace("|", "") or None
    return ModelResponse(content, answer.tool_calls, answer.usage, None, answer.reasoning)


@function_tool
async def add(a: int, b: int) -> int:
    """Add."""
    context = get_current_context()
    if context is not None:
        await context.emit("added", sum=a + b)
    return a + b


@function_tool
def divide(a: int, b: int) -> float:
    """Divide."""
    context = get_current_context()
    if context is not None:
        context.sync_emit("dividing")
    return a / b


CALLS = ModelResponse(
    content="let|me",
    reasoning="two calls",
    tool_calls=[ToolCall("1", "add", '{"a": 1, "b": 2}'), ToolCall("2", "divide", '{"a": 1, "b": 0}')],
    usage=Usage(7, 3, 10),
)
DONE = ModelResponse(content="it| is| 3", usage=Usage(9, 2, 11))


def agent(*answers: ModelResponse, **options: Any) -> Agentor:
    return Agentor(name="Sums", model=Scripted(*answers), tools=[add, divide], **options)


async def collect(
    target: Agentor, payload: Any = "1 + 2?", events: Any = "all", **options: Any
) -> list[Event]:
    adapter = AgentorAdapter(target)
    async with adapter.invoke_stream(payload, events_filter=EventsFilter(events), **options) as stream:
        return [event async for event in stream]


def shown(events: Sequence[Event]) -> list[str]:
    lines = []
    for event in events:
        match event:
            case TokenEvent():
                lines.append(f"token {event.content}")
            case ReasoningEvent():
                lines.append(f"reasoning {event.content}")
            case MessageEvent():
                lines.append(f"{event.phase} {event.role}")
            case ToolCallEvent():
                lines.append(f"call {event.id} {event.name} {event.arguments or event.arguments_delta}")
            case ToolResultEvent():
                lines.append(f"result {event.id} {event.name} {event.content} {event.error}")
            case UsageEvent():
                lines.append(f"usage {event.input_tokens}+{event.output_tokens}={event.total_tokens}")
    return lines


SAID = [
    "start assistant", "token let", "token me", "reasoning two calls",
    "call 1 add {'a': 1, 'b': 2}", "call 2 divide {'a': 1, 'b': 0}", "usage 7+3=10", "end assistant",
    "result 1 add 3 False", "result 2 divide Error: ZeroDivisionError: division by zero True",
    "start assistant", "token it", "token  is", "token  3", "usage 9+2=11", "end assistant",
]  # fmt: skip


def plain(result: Any) -> Any:
    kinds = [event.type for event in result.events]
    return result.final_output, result.status, result.usage, result.messages, kinds


async def test_all_that_is_said() -> None:
    events = await collect(agent(CALLS, DONE))
    assert shown(events) == SAID
    assert {event.type for event in events if event.type.startswith("custom:")} == {
        "custom:added",
        "custom:dividing",
    }
    assert len({event.message_id for event in events if isinstance(event, TokenEvent)}) == 2


@pytest.mark.parametrize(
    "events", ["minimal", "chat", "debug", "all", ["token"], ["usage"], ["custom:added"]], ids=str
)
async def test_the_output_is_that_of_arun(events: Any) -> None:
    expected = plain(await agent(CALLS, DONE).arun("1 + 2?"))
    received = await collect(agent(CALLS, DONE), events=events)
    assert plain(received[-1].output) == expected  # type: ignore[attr-defined]
    assert plain(await AgentorAdapter(agent(CALLS, DONE)).ainvoke({"input": "1 + 2?"})) == expected
    assert plain(await asyncio.to_thread(AgentorAdapter(agent(CALLS, DONE)).invoke, "1 + 2?")) == expected


async def test_arguments_that_are_no_json_come_as_they_are() -> None:
    broken = ModelResponse(tool_calls=[ToolCall("1", "add", "{a")])
    events = await collect(agent(broken, DONE), events=["tool_call", "tool_result"])
    assert shown(events)[0] == "call 1 add {a"
    assert shown(events)[1].startswith("result 1 add Error: arguments were not valid JSON")


async def test_the_store_gets_what_it_gets_bare() -> None:
    logs = []
    for watched in (False, True):
        store = MemoryStore()
        target = agent(DONE)
        target._loop.store = store
        result = (await collect(target))[-1].output if watched else await target.arun("hi")  # type: ignore[attr-defined]
        logs.append([event.type for event in store.load(result.run_id)])
    assert logs[0] == logs[1]


async def test_several_prompts_at_once() -> None:
    events = await collect(agent(DONE), ["one", "two"])
    assert len({event.message_id for event in events if isinstance(event, TokenEvent)}) == 2
    assert [result.final_output for result in events[-1].output] == ["it is 3"] * 2  # type: ignore[attr-defined]


async def test_another_model_that_stands_in_is_heard_too() -> None:
    import litellm

    def limited(_: Any) -> Any:
        raise litellm.RateLimitError("full", "none", "none")

    target = Agentor(name="Sums", model=Scripted(act=limited))
    events = await collect(target, fallback_models=[Scripted(DONE)])
    assert "token it" in shown(events)


async def test_cancelling_reaches_a_tool() -> None:
    begun, ended = asyncio.Event(), list[str]()

    @function_tool
    async def wait() -> str:
        """Wait."""
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        return ""

    calls = ModelResponse(tool_calls=[ToolCall("1", "wait", "{}")])
    stream = AgentorAdapter(Agentor(name="W", model=Scripted(calls), tools=[wait])).invoke_stream("hi")
    await stream.__anext__()
    await begun.wait()
    await stream.aclose()
    assert ended == ["cancelled"]


def test_what_is_loaded() -> None:
    assert isinstance(get_adapter("agentor"), AgentorAdapter)
    adapter = adapter_of(agent(DONE))
    assert isinstance(adapter, AgentorAdapter)
    assert adapter.agent_name == "Sums"
    assert adapter.metadata() == {"tools": ["add", "divide"]}
    assert adapter.chat_payload("hi") == {"input": "hi"}
    with pytest.raises(LoadError, match="no agent is loaded"):
        AgentorAdapter().invoke_stream("hi")


def test_what_the_adapter_relies_on() -> None:
    assert isinstance(agent()._loop, AgentLoop)
    assert list(inspect.signature(AgentLoop._astream).parameters)[:3] == ["self", "messages", "stream_text"]


class TestAgentor(AdapterSuite):
    payload = "hello"

    def make(self, act: Callable[[Any], Any]) -> Adapter:
        return AgentorAdapter(Agentor(name="Acts", model=Scripted(act=act)))

    def speaking(self, words: Sequence[str]) -> Adapter:
        return AgentorAdapter(Agentor(name="Speaks", model=Scripted(ModelResponse("|".join(words)))))

    def is_output(self, output: Any, value: str) -> bool:
        return type(output).__name__ == "RunResult" and output.final_output == value
