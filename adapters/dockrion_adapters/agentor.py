"""Agentor's agents: what a run gives, and what its model and tools say on the way.

``Agentor.stream_chat`` tells of no tokens and mixes the results of tools into the text; so the loop beneath
is watched, which knows both (``Agentor._loop``, ``AgentLoop._astream``: not public, held by tests).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Mapping
from contextlib import aclosing
from copy import copy
from typing import Any, Final, Literal, overload

from agentor.engine import AgentLoop

from agentor import Agentor
from dockrion_events import (
    AnyEvent,
    Event,
    EventsFilter,
    Exit,
    MessageEvent,
    ReasoningEvent,
    StreamContext,
    StreamEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
    context_scope,
    get_current_context,
)

from .contexts import silent_context, stream_context
from .entrypoint import load_entrypoint
from .errors import LoadError
from .report import reporter
from .stream import EventStream
from .threads import run_blocking

_EVENTS: Final = ("token", "reasoning", "tool_call", "tool_result", "usage", "message")


class AgentorAdapter:
    """Wraps an ``Agentor``, given as an object or as ``module:attribute``.

    What ``agent.arun`` returns, a ``RunResult``, or raises is what comes out; ``options`` go to it untouched.
    The payload is a prompt, a list of messages or of prompts, or ``{"input": …}`` of one of these.

    The text of an answer comes in pieces. Agentor gives reasoning and calls of tools when the answer is
    complete, so they come whole and behind its text. A tool that raises gives a ``tool_result`` with
    ``error``, and the run goes on, as Agentor does.
    """

    framework: str = "agentor"
    keeps_threads: bool = False

    def __init__(self, agent: Any = None) -> None:
        self.agent_name: str = "agent"
        self._agent: Any = None
        if agent is not None:
            self.load(agent)

    def load(self, target: Any) -> None:
        """Take an ``Agentor``, or ``module:attribute`` of one. Raises `LoadError`."""
        found = load_entrypoint(target) if isinstance(target, str) else target
        if not isinstance(found, Agentor):
            shown = repr(target) if isinstance(target, str) else f"{target!r:.80}"
            raise LoadError(f"{shown} is a {type(found).__name__}; expected an Agentor")
        self._agent = found
        self.agent_name = found.name

    def metadata(self) -> dict[str, Any]:
        return {"tools": [tool.name for tool in self._loaded().tools]}

    def chat_payload(self, message: str) -> Any:
        return {"input": message}

    # -- executing -----------------------------------------------------------------------------

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``agent.arun`` on an event loop of its own."""
        return run_blocking(lambda: self.ainvoke(payload, context=context, **options))

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``agent.arun``; Agentor knows no config."""
        with context_scope(context or get_current_context() or silent_context()):
            return await self._loaded().arun(_input(payload), **options)

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: Literal[False] = False,
        **options: Any,
    ) -> EventStream[StreamEvent]: ...

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: Literal[True],
        **options: Any,
    ) -> EventStream[str]: ...

    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        **options: Any,
    ) -> EventStream[Any]:
        """Return the stream of one execution: what the model and the tools say, and users' events."""
        agent = self._loaded()
        context = stream_context(context, events_filter)
        wanted = {name for name in _EVENTS if context.events_filter.is_allowed(name)}

        async def run(exit_: Exit) -> Any:
            watched = copy(agent)
            if wanted:
                watched._loop = _WatchedLoop(agent._loop, wanted, reporter(exit_), context)
            return await watched.arun(_input(payload), **options)

        return EventStream(
            run, context, agent_name=self.agent_name, framework=self.framework, serialize=serialize
        )

    def _loaded(self) -> Any:
        if self._agent is None:
            raise LoadError("no agent is loaded; call load() first")
        return self._agent


class _WatchedLoop(AgentLoop):
    """A loop that tells what happens in it; to its store, its tracer and its result it is as it was."""

    def __init__(
        self,
        loop: Any,
        wanted: Collection[str],
        sink: Callable[[AnyEvent], None],
        context: StreamContext,
    ) -> None:
        self.__dict__.update(loop.__dict__)
        self._watching = (wanted, sink, context)

    def with_model(self, model: Any, **params: Any) -> Any:
        return _WatchedLoop(super().with_model(model, **params), *self._watching)

    async def _astream(self, messages: Any, stream_text: bool = False, *rest: Any) -> AsyncIterator[Any]:
        wanted, sink, context = self._watching
        speech = _Speech(wanted, sink)
        streaming = stream_text or not {"token", "message"}.isdisjoint(wanted)
        async with aclosing(super()._astream(messages, streaming, *rest)) as events:
            async for event in events:
                speech.take(event)
                if context.queue.crowded:
                    await context.queue.room()
                if stream_text or event.type != "text_delta":
                    yield event


class _Speech:
    """What one run says, as events."""

    def __init__(self, wanted: Collection[str], sink: Callable[[AnyEvent], None]) -> None:
        self._wanted = wanted
        self._sink = sink
        self._message = ""  # the id of the one that has begun

    def take(self, event: Any) -> None:
        if event.type == "text_delta":
            self._begin()
            self._tell(TokenEvent(event.text, message_id=self._message))
        elif event.type == "generation":
            self._generation(event)
        elif event.type == "tool_result":
            self._tell(ToolResultEvent(event.call_id, event.name, event.result, event.error is not None))

    def _generation(self, event: Any) -> None:
        streamed = bool(self._message)
        self._begin()
        if event.reasoning:
            self._tell(ReasoningEvent(event.reasoning, self._message))
        if event.text and not streamed:
            self._tell(TokenEvent(event.text, message_id=self._message))
        for call in event.calls or ():
            self._call(call["id"], call["function"]["name"], call["function"]["arguments"])
        usage = event.usage
        if usage is not None and (usage.input_tokens or usage.output_tokens):
            counts = (usage.input_tokens, usage.output_tokens, usage.total_tokens)
            self._tell(UsageEvent(*counts, message_id=self._message))
        self._tell(MessageEvent(self._message, "assistant", "end"))
        self._message = ""

    def _call(self, identifier: str, name: str, text: str) -> None:
        try:
            arguments = json.loads(text or "{}")
        except ValueError:
            arguments = None
        if isinstance(arguments, dict):
            self._tell(ToolCallEvent(identifier, name, arguments, message_id=self._message))
        else:  # no JSON object: the text it is
            self._tell(ToolCallEvent(identifier, name, None, text, self._message))

    def _begin(self) -> None:
        if not self._message:
            self._message = str(uuid.uuid4())
            self._tell(MessageEvent(self._message, "assistant", "start"))

    def _tell(self, event: Event) -> None:
        if event.type in self._wanted:
            self._sink(event)


def _input(payload: Any) -> Any:
    return payload["input"] if isinstance(payload, Mapping) and "input" in payload else payload
