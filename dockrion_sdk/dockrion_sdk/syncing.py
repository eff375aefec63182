"""Asynchronous streams in plain scripts."""

from __future__ import annotations

import asyncio
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
    task: asyncio.Task[Any] | None = None
    ended = asyncio.Event()

    async def within() -> T:
        nonlocal task
        task = asyncio.current_task()
        try:
            return await call()
        finally:
            ended.set()

    async def stop() -> None:
        if task is not None:
            task.cancel()
            await ended.wait()

    try:
        return portal.call(within)
    except BaseException:
        # The thread may have been interrupted anywhere in there. Only the loop knows whether the call has
        # come to it; what was asked of it before this has begun by now.
        portal.call(stop)
        raise
