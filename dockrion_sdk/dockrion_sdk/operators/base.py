"""What an operator is, and the simple ones."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from dockrion_events import CONFIGURABLE, MANDATORY, Event, EventsFilter, TokenEvent
from dockrion_events.events import CUSTOM_PREFIX

T = TypeVar("T")
In = TypeVar("In")
Out = TypeVar("Out")


class Operator(Generic[In, Out]):
    """A step between a stream and its reader: ``stream | operator``, or ``operator(stream)``.

    ``transform`` gets an async iterator that it need not close, and returns what the reader gets.
    """

    def __init__(self, transform: Callable[[AsyncIterator[In]], Out]) -> None:
        self._transform = transform

    def __call__(self, stream: AsyncIterable[In]) -> Out:
        """Return what the operator makes of ``stream``."""
        return self._transform(aiter(stream))

    def __ror__(self, stream: AsyncIterable[In]) -> Out:
        return self(stream)


@asynccontextmanager
async def closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Hold a stream, and close it on the way out, however that is."""
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def only(*types: str) -> Operator[Event, AsyncIterator[Event]]:
    """Let events of these types pass: names of events, ``custom``, ``custom:<name>``, or one preset.

    As everywhere, the events that begin and end a stream always pass. Raises `InvalidFilter`.
    """
    alone = types[0] if len(types) == 1 else None
    allowed = EventsFilter(list(types) if alone is None or _is_type(alone) else alone)

    async def passing(stream: AsyncIterator[Event]) -> AsyncIterator[Event]:
        async with closing(stream):
            async for event in stream:
                if allowed.is_allowed(event.type):
                    yield event

    return Operator(passing)


def _is_type(name: str) -> bool:
    return name in CONFIGURABLE or name in MANDATORY or name.startswith(CUSTOM_PREFIX)


def text() -> Operator[Event, AsyncIterator[str]]:
    """Yield the text of the tokens, and nothing else."""

    async def texts(stream: AsyncIterator[Event]) -> AsyncIterator[str]:
        async with closing(stream):
            async for event in stream:
                if isinstance(event, TokenEvent) and event.content:
                    yield event.content

    return Operator(texts)


def collect() -> Operator[T, Coroutine[Any, Any, list[T]]]:
    """Read to the end and return everything: ``await (stream | collect())``."""

    async def collected(stream: AsyncIterator[T]) -> list[T]:
        async with closing(stream):
            return [item async for item in stream]

    return Operator(collected)
