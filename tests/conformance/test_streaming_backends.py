"""Every streaming backend against the suite that comes with the contract."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from dockrion_adapters import HandlerAdapter
from dockrion_adapters.langgraph import LangGraphBackend
from dockrion_events import (
    AnyEvent,
    EventsFilter,
    QueueBackend,
    StepEvent,
    StepStartedEvent,
    StreamContext,
    StreamingBackend,
    context_scope,
)
from dockrion_events.testing import StreamingBackendSuite


class TestQueueBackend(StreamingBackendSuite):
    def make(self) -> QueueBackend:
        return QueueBackend()

    def delivered(self, backend: StreamingBackend, work: Callable[[], None]) -> list[AnyEvent]:
        assert isinstance(backend, QueueBackend)
        work()
        return backend.drain()

    def make_unavailable(self, backend: StreamingBackend) -> None:
        assert isinstance(backend, QueueBackend)
        backend.close()


class TestHandlerAdapter(StreamingBackendSuite):
    def make(self) -> StreamingBackend:
        return HandlerAdapter(lambda payload: payload)

    def delivered(self, backend: StreamingBackend, work: Callable[[], None]) -> list[AnyEvent]:
        context = StreamContext("conformance", streaming_backend=backend)
        with context_scope(context):
            work()
        return context.queue.drain()


class TestLangGraphBackend(StreamingBackendSuite):
    def make(self) -> LangGraphBackend:
        return LangGraphBackend(EventsFilter())

    def delivered(self, backend: StreamingBackend, work: Callable[[], None]) -> list[AnyEvent]:
        assert isinstance(backend, LangGraphBackend)
        builder: Any = StateGraph(dict).add_node("work", lambda _: work()).add_edge(START, "work")
        graph, events = builder.compile(), list[AnyEvent]()
        graph.invoke({"a": 1}, backend.hooked(graph, None, events.append))
        return [event for event in events if not isinstance(event, StepStartedEvent | StepEvent)]

    @pytest.mark.parametrize("events", ["minimal", ["heartbeat"]], ids=str)
    def test_it_is_unavailable_where_custom_events_are_not_streamed(self, events: Any) -> None:
        backend, answers = LangGraphBackend(EventsFilter(events)), list[bool]()
        self.delivered(backend, lambda: answers.append(backend.is_available()))
        assert answers == [False]
