"""What an operator is, and the simple ones."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Generic, Protocol, TypeVar, cast

from dockrion_events import PRESETS, Event, EventsFilter, StreamEvent, TokenEvent

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


class Passing(Protocol):
    """An operator that yields items of the type that it gets, whatever that is."""

    def __call__(self, stream: AsyncIterable[T], /) -> AsyncIterator[T]: ...

    def __ror__(self, stream: AsyncIterable[T], /) -> AsyncIterator[T]: ...


class Batching(Protocol):
    """An operator that yields lists of what it gets."""

    def __call__(self, stream: AsyncIterable[T], /) -> AsyncIterator[list[T]]: ...

    def __ror__(self, stream: AsyncIterable[T], /) -> AsyncIterator[list[T]]: ...


class Collecting(Protocol):
    """An operator that returns a list of all that it gets, when it is awaited."""

    def __call__(self, stream: AsyncIterable[T], /) -> Coroutine[Any, Any, list[T]]: ...

    def __ror__(self, stream: AsyncIterable[T], /) -> Coroutine[Any, Any, list[T]]: ...


@asynccontextmanager
async def closing(stream: AsyncIterator[T]) -> AsyncIterator[AsyncIterator[T]]:
    """Hold a stream, and close it on the way out, however that is."""
    try:
        yield stream
    finally:
        close = getattr(stream, "aclose", None)
        if close is not None:
            await close()


def only(*types: str) -> Operator[Event, AsyncIterator[StreamEvent]]:
    """Let events of these types pass: names of events, ``custom``, ``custom:<name>``, or one preset.

    As everywhere, the events that begin and end a stream always pass. Raises `InvalidFilter`.
    """
    alone = len(types) == 1 and types[0] in PRESETS
    allowed = EventsFilter(types[0] if alone else list(types))

    async def passing(stream: AsyncIterator[Event]) -> AsyncIterator[StreamEvent]:
        async with closing(stream):
            async for event in stream:
                if allowed.is_allowed(event.type):
                    yield cast("StreamEvent", event)

    return Operator(passing)


def text() -> Operator[Event, AsyncIterator[str]]:
    """Yield the text of the tokens, and nothing else."""

    async def texts(stream: AsyncIterator[Event]) -> AsyncIterator[str]:
        async with closing(stream):
            async for event in stream:
                if isinstance(event, TokenEvent) and event.content:
                    yield event.content

    return Operator(texts)


def collect() -> Collecting:
    """Read to the end and return everything: ``await (stream | collect())``."""

    async def collected(stream: AsyncIterator[Any]) -> list[Any]:
        async with closing(stream):
            return [item async for item in stream]

    return Operator(collected)
