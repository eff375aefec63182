"""Asynchronous streams in plain scripts."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Generator
from typing import Any, Final, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

T = TypeVar("T")

_END: Final[Any] = object()


def stream_sync(stream: AsyncIterable[T]) -> Generator[T, None, None]:
    """Yield what an asynchronous stream yields: ``for event in stream_sync(adapter.invoke_stream(payload))``.

    The stream runs on an event loop in a thread of its own. Leaving the loop closes it, which stops its
    agent; so does Ctrl-C. What it raises is raised here.
    """
    with start_blocking_portal() as portal:
        yield from iterated(portal, aiter(stream))


def iterated(portal: BlockingPortal, source: AsyncIterator[T]) -> Generator[T, None, None]:
    """Yield what ``source`` yields on the portal's loop; leaving the iterator closes it."""

    async def following() -> T:
        return await anext(source, _END)

    try:
        while (item := interruptible(portal, following)) is not _END:
            yield item
    finally:
        close = getattr(source, "aclose", None)
        if close is not None:
            portal.call(close)


def interruptible(portal: BlockingPortal, call: Callable[[], Awaitable[T]]) -> T:
    """Return what ``call`` returns on the portal's loop.

    Where this thread is interrupted (Ctrl-C raises KeyboardInterrupt in it), the call is cancelled and has
    ended before the interruption goes on.
    """
    ended = threading.Event()

    async def within() -> T:
        try:
            return await call()
        finally:
            ended.set()

    future = portal.start_task_soon(within)
    try:
        return future.result()
    except BaseException:
        if not future.done():
            future.cancel()
            ended.wait()
        raise
