"""Every streaming backend against the suite that comes with the contract."""

from __future__ import annotations

from collections.abc import Callable

from dockrion_adapters import HandlerAdapter
from dockrion_events import AnyEvent, QueueBackend, StreamContext, StreamingBackend, context_scope
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
