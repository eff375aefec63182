"""Asynchronous streams in plain scripts."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Iterator
from typing import Any, Final, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

T = TypeVar("T")

_END: Final[Any] = object()


def stream_sync(stream: AsyncIterable[T]) -> Iterator[T]:
    """Yield what an asynchronous stream yields: ``for event in stream_sync(adapter.invoke_stream(payload))``.

    The stream runs on an event loop in a thread of its own. Leaving the loop closes it, which stops its
    agent. What it raises is raised here.
    """
    with start_blocking_portal() as portal:
        yield from iterated(portal, aiter(stream))


def iterated(portal: BlockingPortal, source: AsyncIterator[T]) -> Iterator[T]:
    """Yield what ``source`` yields on the portal's loop; leaving the iterator closes it."""

    async def following() -> T:
        return await anext(source, _END)

    try:
        while (item := portal.call(following)) is not _END:
            yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            portal.call(close)
