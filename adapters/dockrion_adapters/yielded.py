"""What an agent yields, as events, and the output that is made of it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AbstractContextManager, aclosing, closing, nullcontext
from typing import Any

from dockrion_events import CustomEvent, Event, RunCancelled, StreamContext, TokenEvent


class Yielded:
    """What has been yielded, as far as its output may be made of it.

    A string is a token; a bare ``yield`` only gives way; for the rest see `event`.
    """

    def __init__(self) -> None:
        self.texts: list[str] = []
        self._last: dict[Any, Any] | None = None

    def event(self, item: Any) -> Event:
        """Return the event that an item other than text means."""
        if isinstance(item, TokenEvent):
            self.texts.append(str(item.content))
        elif isinstance(item, dict):
            self._last = item
        return item if isinstance(item, Event) else CustomEvent("custom:partial", item)

    def output(self, returned: Any = None) -> Any:
        """Return the output: the return value, the last dict, or the tokens."""
        if returned is not None:
            return returned
        return self._last if self._last is not None else {"text": "".join(self.texts)}


def iterate(iterator: Iterator[Any], context: StreamContext) -> Any:
    """Send what a generator or another iterator yields, in whatever thread this is; return its output."""
    yielded = Yielded()
    with _closing(iterator):
        while True:
            try:
                item = next(iterator)
            except StopIteration as stop:
                return yielded.output(stop.value)
            if isinstance(item, str):
                yielded.texts.append(item)
                context.sync_emit_token(item)
            elif item is not None:
                context.sync_send(yielded.event(item))
            elif context.cancelled:
                raise RunCancelled(f"execution {context.run_id} was cancelled")


def finished(result: Any, context: StreamContext) -> Any:
    """Return the output of a call: what it returned, or what the generator gives that it returned."""
    return iterate(result, context) if inspect.isgenerator(result) else result


async def aiterate(iterator: AsyncIterator[Any], context: StreamContext) -> Any:
    """Send what an async generator or another async iterator yields; return its output."""
    yielded = Yielded()
    async with _aclosing(iterator):
        async for item in iterator:
            if isinstance(item, str):
                yielded.texts.append(item)
                await context.emit_token(item)
            elif item is not None:
                await context.send(yielded.event(item))
            else:
                await asyncio.sleep(0)
    return yielded.output()


def _closing(iterator: Any) -> AbstractContextManager[Any]:
    return closing(iterator) if hasattr(iterator, "close") else nullcontext()


def _aclosing(iterator: Any) -> AbstractAsyncContextManager[Any]:
    return aclosing(iterator) if hasattr(iterator, "aclose") else nullcontext()
