"""A run's log: chunks of events, of which the oldest go first and ended ones become bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

import msgspec

from ...events import EVENT_CLASSES, EncodedEvent

CHUNK_EVENTS: Final = 512
CHUNK_BYTES: Final = 256 * 1024
"""At most so much is in a chunk, and in a batch; an event that is larger is in one of its own."""

_LARGE: Final = 2048  # bytes of an event beside which its object does not matter


class _TypeOnly(msgspec.Struct):
    type: str


_read_type = msgspec.json.Decoder(_TypeOnly).decode
_OPENING = b'{"type":"'
_TYPE_AT = len(_OPENING)
_NAMES = {name.encode(): name for name in EVENT_CLASSES}  # so that events share the name


def _type_of(json: bytes) -> str:
    """Return the type of an encoded event; msgspec writes it first."""
    if json.startswith(_OPENING):
        name = json[_TYPE_AT : json.find(b'"', _TYPE_AT)]
        if b"\\" not in name:
            return _NAMES.get(name) or name.decode()
    return _read_type(json).type


class Chunk:
    """Events that follow each other, the first of which has the sequence ``first``.

    They are objects, or, once `compact`ed, lines of JSON in one piece of bytes: an object for each
    would cost as much as the JSON of a token.
    """

    __slots__ = ("count", "events", "first", "lines", "size")

    def __init__(self, first: int) -> None:
        self.first: int = first
        self.count: int = 0
        self.size: int = 0
        self.events: list[EncodedEvent] = []
        self.lines: bytes | None = None

    def since(self, sequence: int) -> list[EncodedEvent]:
        """Return the events from ``sequence`` on, which is in this chunk."""
        start = sequence - self.first
        if self.lines is None:
            return self.events[start:]
        lines = self.lines.rsplit(b"\n", self.count - start)  # what stays in front is not needed
        if start:
            del lines[0]
        return [EncodedEvent(_type_of(json), json, number) for number, json in enumerate(lines, sequence)]

    def compact(self) -> None:
        """Turn the objects into bytes, where that is possible and worth it."""
        if self.lines is not None or self.count < 2 or self.size > self.count * _LARGE:
            return
        lines = b"\n".join([event.json for event in self.events])
        if lines.count(b"\n") == self.count - 1:  # JSON of some foreign encoder may have lines
            self.lines = lines
            self.events = []


_first = attrgetter("first")


class Log:
    """The events of one run that are kept.

    ``first`` is the sequence of the oldest, ``last`` that of the newest. When more than ``limit``
    are kept, whole chunks go, so that ``limit`` stay.
    """

    __slots__ = ("_chunk_events", "_chunks", "_limit", "_newest", "_trim_at", "first", "last")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._chunk_events = min(CHUNK_EVENTS, max(1, limit // 8))
        self._newest = Chunk(1)
        self._chunks = [self._newest]
        self._trim_at = limit
        self.first: int = 1
        self.last: int = 0

    def append(self, events: Sequence[EncodedEvent]) -> None:
        """Append events whose sequences follow ``last``."""
        count = len(events)
        size = len(events[0].json) if count == 1 else sum([len(event.json) for event in events])
        chunk = self._newest
        if chunk.count + count > self._chunk_events or chunk.size + size > CHUNK_BYTES:
            if chunk.count:
                chunk = self._new_chunk(self.last + 1)
            if count > self._chunk_events or size > CHUNK_BYTES:
                self._append_each(chunk, events)
                return
        chunk.events.extend(events)
        chunk.count += count
        chunk.size += size
        self.last += count
        if self.last >= self._trim_at:
            self._trim()

    def _append_each(self, chunk: Chunk, events: Sequence[EncodedEvent]) -> None:
        for event in events:
            size = len(event.json)
            if chunk.count and (chunk.count >= self._chunk_events or chunk.size + size > CHUNK_BYTES):
                chunk = self._new_chunk(self.last + 1)
            chunk.events.append(event)
            chunk.count += 1
            chunk.size += size
            self.last += 1
        self._trim()

    def _new_chunk(self, first: int) -> Chunk:
        self._newest = Chunk(first)
        self._chunks.append(self._newest)
        return self._newest

    def _trim(self) -> None:
        chunks = self._chunks
        index = bisect_right(chunks, self.last - self._limit + 1, key=_first) - 1
        if index > 0:
            del chunks[:index]
            self.first = chunks[0].first
        # The oldest chunk is not needed any more once the events behind it are enough.
        self._trim_at = (chunks[1].first if len(chunks) > 1 else chunks[0].first) + self._limit - 1

    def since(self, sequence: int) -> list[EncodedEvent]:
        """Return a batch of events that begins with ``sequence``, which is kept."""
        chunks = self._chunks
        index = len(chunks) - 1
        if sequence < chunks[index].first:
            index = bisect_right(chunks, sequence, key=_first) - 1
        chunk = chunks[index]
        batch = chunk.since(sequence)
        size = chunk.size
        for chunk in chunks[index + 1 :]:
            size += chunk.size
            if len(batch) + chunk.count > CHUNK_EVENTS or size > CHUNK_BYTES:
                break
            batch += chunk.since(chunk.first)
        return batch

    def holds(self, events: Sequence[EncodedEvent]) -> bool:
        """Whether the log has these, byte for byte; those it does not keep any more count as had."""
        expected = [event.json for event in events if (event.sequence or 0) >= self.first]
        sequence = max(self.first, events[0].sequence or 0)
        while expected:
            kept = [event.json for event in self.since(sequence)][: len(expected)]
            if kept != expected[: len(kept)]:
                return False
            sequence += len(kept)
            del expected[: len(kept)]
        return True

    def compact(self) -> None:
        """Keep the events as bytes from now on; nothing may be appended any more.

        The last one stays an object, which the run's record shares.
        """
        chunk = self._newest
        if chunk.count > 1:
            last = chunk.events.pop()
            size = len(last.json)
            chunk.count -= 1
            chunk.size -= size
            chunk = self._new_chunk(self.last)
            chunk.events.append(last)
            chunk.count = 1
            chunk.size = size
        for chunk in self._chunks:
            chunk.compact()

    def clear(self) -> None:
        """Let go of the events."""
        self._chunks = [Chunk(self.last + 1)]
