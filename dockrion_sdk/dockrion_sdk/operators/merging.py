"""Several streams as one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class Labelled(NamedTuple, Generic[T]):
    """An item of one of several streams: ``source`` is its name.

    ``item`` is None, and ``error`` what was raised, where that stream has failed.
    """

    source: str
    item: T | None
    error: Exception | None = None


async def merge(*, fail_fast: bool = False, **streams: AsyncIterable[T]) -> AsyncIterator[Labelled[T]]:
    """Read several streams at once and yield what comes, labelled: ``merge(first=…, second=…)``.

    Each stream keeps its order, and is read no faster than the merged one: of each, one item waits at
    most. One that fails ends with a `Labelled` that carries its error while the others go on; with
    ``fail_fast`` the error is raised instead, and all are closed. Leaving the iterator closes all.
    """
    sources = {name: aiter(stream) for name, stream in streams.items()}
    reading: dict[asyncio.Task[T], str] = {}

    def read(name: str) -> None:
        reading[asyncio.ensure_future(_next(sources[name]))] = name

    try:
        for name in sources:
            read(name)
        while reading:
            done, _ = await asyncio.wait(reading, return_when=asyncio.FIRST_COMPLETED)
            for task in [task for task in reading if task in done]:  # in the order in which they were begun
                name = reading.pop(task)
                try:
                    item = task.result()
                except _Ended:
                    continue
                except Exception as error:
                    if fail_fast:
                        raise
                    yield Labelled(name, None, error)
                    continue
                yield Labelled(name, item)
                read(name)
    finally:
        for task in reading:
            task.cancel()
        await asyncio.gather(*reading, return_exceptions=True)
        for source in sources.values():
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()


class _Ended(Exception):
    """A stream has ended; a task cannot carry a `StopAsyncIteration` out."""


async def _next(source: AsyncIterator[T]) -> T:
    try:
        return await anext(source)
    except StopAsyncIteration:
        raise _Ended from None
