"""Tokens joined to larger pieces, and events gathered into lists."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Any, Final, Literal, cast

import msgspec

from dockrion_events import TERMINAL, Event, StreamEvent, TokenEvent

from .base import Batching, Operator
from .timing import Reader

_WORD_END: Final = re.compile(r"\s+")
_SENTENCE_END: Final = re.compile(r"[.!?…][\"'”’)\]]*\s+|[。！？][」』”’）]*\s*")


def buffer(by: Literal["word", "sentence"] | int | float) -> Operator[Event, AsyncIterator[StreamEvent]]:
    """Join tokens to pieces: whole words, whole sentences, at least so many characters (an int), or
    what has come within so many seconds (a float).

    No piece ends inside a word, but for the last one. Pieces of different messages (``message_id``) never
    mix. A piece is a token with the sequence and the other fields of the last one in it. Everything else
    passes as it comes; what waits leaves before the event that ends the stream.
    """
    counted = isinstance(by, int | float) and not isinstance(by, bool) and by > 0
    if not counted and by not in ("word", "sentence"):
        raise ValueError(f"buffer(by={by!r}): by is 'word', 'sentence', a number of characters or of seconds")
    seconds = by if isinstance(by, float) else None

    async def buffered(stream: AsyncIterator[Event]) -> AsyncIterator[StreamEvent]:
        pieces = _Pieces(by)
        loop = asyncio.get_running_loop()
        due: float | None = None
        async with Reader(stream) as reader:
            while (event := await reader.next(None if due is None else due - loop.time())) is not reader.END:
                for piece in pieces.whole_words() if event is None else pieces.pass_on(event):
                    yield piece
                if event is None or not pieces:
                    due = None
                elif due is None and seconds is not None:
                    due = loop.time() + seconds
        for piece in pieces.rest():
            yield piece

    return Operator(buffered)


class _Pieces:
    """The text that waits, by message."""

    def __init__(self, by: Literal["word", "sentence"] | int | float) -> None:
        self._by = by
        self._texts: dict[str | None, str] = {}
        self._last: dict[str | None, TokenEvent] = {}

    def __bool__(self) -> bool:
        return bool(self._texts)

    def pass_on(self, event: Event) -> list[StreamEvent]:
        """Take an event, and return what may leave now."""
        if isinstance(event, TokenEvent):
            return [*self._add(event)]
        other = cast("StreamEvent", event)
        return [*self.rest(), other] if event.type in TERMINAL else [other]

    def _add(self, token: TokenEvent) -> list[TokenEvent]:
        message = token.message_id
        waiting = self._texts[message] = self._texts.get(message, "") + token.content
        self._last[message] = token
        end = self._end(waiting)
        pieces = [self._cut(message, end)] if end else []
        if token.finish_reason is not None and message in self._texts:
            pieces.append(self._cut(message, len(self._texts[message])))
        return pieces

    def _end(self, waiting: str) -> int:
        if isinstance(self._by, float):
            return 0
        if isinstance(self._by, int):
            end = _last_end(_WORD_END, waiting)
            return end if end >= self._by else 0
        return _last_end(_WORD_END if self._by == "word" else _SENTENCE_END, waiting)

    def whole_words(self) -> list[TokenEvent]:
        """Return what waits, but for words that may go on."""
        ends = {message: _last_end(_WORD_END, waiting) for message, waiting in self._texts.items()}
        return [self._cut(message, end) for message, end in ends.items() if end]

    def rest(self) -> list[TokenEvent]:
        """Return everything that waits."""
        return [self._cut(message, len(waiting)) for message, waiting in list(self._texts.items()) if waiting]

    def _cut(self, message: str | None, end: int) -> TokenEvent:
        waiting = self._texts.pop(message)
        if waiting[end:]:
            self._texts[message] = waiting[end:]
        return msgspec.structs.replace(self._last[message], content=waiting[:end])


def _last_end(pattern: re.Pattern[str], text: str) -> int:
    end = 0
    for match in pattern.finditer(text):
        end = match.end()
    return end


def batch(n: int, seconds: float | None = None) -> Batching:
    """Yield lists of ``n`` events; a shorter one at the end, and ``seconds`` after the first of a list."""
    if n < 1:
        raise ValueError(f"batch({n}): a list has at least one event")

    async def batches(stream: AsyncIterator[Any]) -> AsyncIterator[list[Any]]:
        loop = asyncio.get_running_loop()
        items: list[Any] = []
        async with Reader(stream) as reader:
            due: float | None = None
            while True:
                item = await reader.next(None if due is None or seconds is None else due - loop.time())
                if item is reader.END:
                    break
                if item is not None:
                    items.append(item)
                    if seconds is not None and due is None:
                        due = loop.time() + seconds
                if items and (item is None or len(items) == n):
                    yield items
                    items, due = [], None
        if items:
            yield items

    return Operator(batches)
