"""Reading a stream with an eye on the clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import TracebackType
from typing import Any, Final, Generic, Self, TypeVar

from .base import Operator, Passing

T = TypeVar("T")


class Reader(Generic[T]):
    """Reads a stream in a task of its own, so that waiting for an item can be given up without losing it.

    A context manager, which closes the stream. One item is read ahead at most.
    """

    END: Final[Any] = object()

    def __init__(self, stream: AsyncIterator[T]) -> None:
        self._stream = stream
        self._reading: asyncio.Task[Any] | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reading is not None:
            self._reading.cancel()
            await asyncio.wait((self._reading,))
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()

    async def next(self, seconds: float | None) -> Any:
        """Return the next item, `END` behind the last, or None where it does not come in time."""
        if self._reading is None:
            self._reading = asyncio.ensure_future(anext(self._stream, self.END))
        timeout = None if seconds is None else max(0.0, seconds)
        done, _ = await asyncio.wait((self._reading,), timeout=timeout)
        if not done:
            return None
        reading, self._reading = self._reading, None
        return reading.result()


def timeout(seconds: float | None = None, *, idle: float | None = None) -> Passing:
    """Raise `TimeoutError` where the stream takes longer than ``seconds``, or is silent for ``idle`` seconds.

    Time that the reader spends with an item counts towards ``seconds`` and not as silence. The stream is
    closed then, which stops its agent.
    """
    if seconds is None and idle is None:
        raise TypeError("timeout() needs seconds, idle, or both")

    async def timed(stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        loop = asyncio.get_running_loop()
        due = None if seconds is None else loop.time() + seconds
        async with Reader(stream) as reader:
            while True:
                left = None if due is None else due - loop.time()
                limits = [limit for limit in (left, idle) if limit is not None]
                item = await reader.next(min(limits))
                if item is reader.END:
                    return
                if item is None:
                    if idle is not None and idle == min(limits):
                        raise TimeoutError(f"no event for {idle:g} s")
                    raise TimeoutError(f"the stream took longer than {seconds:g} s")
                yield item

    return Operator(timed)
