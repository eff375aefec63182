"""An agent in a program of one's own."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self, overload

from dockrion_adapters import Adapter, DescribesInput, Driver, EventStream, adapter_of, load_entrypoint
from dockrion_adapters.contexts import silent_context, stream_context
from dockrion_events import EventsFilter, StreamEvent

from .chat import chat_payload
from .dockfile import Dockfile, load_dockfile
from .loading import load
from .syncing import stream_sync


class Agent:
    """One agent and every way to run it; made by `load`.

    ``async with`` holds what the agent holds (a graph's factory, say); an agent that holds nothing may be
    used without. ``events_filter`` is the Dockfile's, where there is one.
    """

    def __init__(self, adapter: Adapter, dockfile: Dockfile | None = None) -> None:
        self.adapter: Adapter = adapter
        self.dockfile: Dockfile | None = dockfile
        self._driver = Driver(adapter)
        self._held = AsyncExitStack()

    @classmethod
    def load(cls, source: Any = "Dockfile.yaml") -> Agent:
        """Return the agent that ``source`` is or names.

        A Dockfile (its path, its directory, or a loaded one), an entry point ``module:attribute``, or the
        agent itself: a graph, a builder, a plain function. Raises `DockfileError` and `LoadError`.
        """
        if isinstance(source, Dockfile):
            return cls(load(source), source)
        if isinstance(source, os.PathLike) or (isinstance(source, str) and _is_path(source)):
            dockfile = load_dockfile(source)
            return cls(load(dockfile), dockfile)
        return cls(adapter_of(load_entrypoint(source) if isinstance(source, str) else source))

    async def __aenter__(self) -> Self:
        await self._held.enter_async_context(self._driver.lifetime())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._held.aclose()

    # -- executing -----------------------------------------------------------------------------

    def invoke(self, payload: Any, *, thread_id: str | None = None) -> Any:
        """Execute once and return the very object that the agent returns; raise what it raises."""
        return self.adapter.invoke(payload, config=_config(thread_id))

    async def ainvoke(self, payload: Any, *, thread_id: str | None = None) -> Any:
        """Do what `invoke` does, from asynchronous code."""
        return await self._driver.call(payload, _config(thread_id), silent_context())

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        events_filter: EventsFilter | None = ...,
        serialize: Literal[False] = ...,
        thread_id: str | None = ...,
    ) -> EventStream[StreamEvent]: ...

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        events_filter: EventsFilter | None = ...,
        serialize: Literal[True],
        thread_id: str | None = ...,
    ) -> EventStream[str]: ...

    def invoke_stream(
        self,
        payload: Any,
        *,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        thread_id: str | None = None,
    ) -> EventStream[Any]:
        """Return the stream of one execution: ``started``, every allowed event, ``complete``.

        Yields event objects, or JSON strings with ``serialize``. A failure is raised as the agent raised
        it. Leaving the stream stops the agent.
        """
        if events_filter is None and self.dockfile is not None:
            events_filter = self.dockfile.streaming.events.events_filter
        context = stream_context(None, events_filter)
        return self._driver.stream(payload, _config(thread_id), context, serialize=serialize)

    # -- chatting ------------------------------------------------------------------------------

    @overload
    def stream_chat(
        self, message: str, *, serialize: Literal[True] = ..., thread_id: str | None = ...
    ) -> EventStream[str]: ...

    @overload
    def stream_chat(
        self, message: str, *, serialize: Literal[False], thread_id: str | None = ...
    ) -> EventStream[StreamEvent]: ...

    def stream_chat(
        self, message: str, *, serialize: bool = True, thread_id: str | None = None
    ) -> EventStream[Any]:
        """Say ``message`` to the agent and stream its answer: the events of the preset ``chat``.

        Yields JSON strings, or event objects, whose ``chunk`` is a token's text and None for other events.
        The message goes where the agent takes one: the ``messages`` of a graph's state, the prompt of a
        model, else the one required text of ``io_schema.input`` or of the graph's own input, else the field
        ``query``. ``thread_id`` goes on with a conversation, where the agent keeps them.
        """
        payload, chat = self.chat_payload(message), EventsFilter("chat")
        if self.dockfile is not None:
            chat = self.dockfile.streaming.events.events_filter.with_events("chat")
        if serialize:
            return self.invoke_stream(payload, events_filter=chat, serialize=True, thread_id=thread_id)
        return self.invoke_stream(payload, events_filter=chat, thread_id=thread_id)

    def chat_payload(self, message: str) -> Any:
        """Return the payload that says ``message``; see `stream_chat`."""
        schema = self.dockfile.io_schema.input if self.dockfile is not None else None
        if schema is None and isinstance(self.adapter, DescribesInput):
            schema = self.adapter.input_schema()
        return chat_payload(message, self.adapter, schema)

    def stream_chat_sync(self, message: str, *, thread_id: str | None = None) -> Iterator[StreamEvent]:
        """Do what `stream_chat` does, with event objects, for a plain loop in a plain script."""
        return stream_sync(self._chat_events(message, thread_id))

    async def _chat_events(self, message: str, thread_id: str | None) -> AsyncIterator[StreamEvent]:
        async with self.stream_chat(message, serialize=False, thread_id=thread_id) as stream:
            async for event in stream:
                yield event


def _config(thread_id: str | None) -> dict[str, Any]:
    return {} if thread_id is None else {"configurable": {"thread_id": thread_id}}


def _is_path(source: str) -> bool:
    return source.endswith((".yaml", ".yml")) or Path(source).is_dir()
