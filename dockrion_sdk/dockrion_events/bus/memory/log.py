"""A run's log: chunks of events, of which the oldest go first and ended ones become bytes."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from operator import attrgetter
from typing import Final, Protocol

import msgspec

from ...events import EVENT_CLASSES, EncodedEvent

CHUNK: Final = 64 * 1024
"""What the events of a chunk, and of a batch, may weigh together; a heavier one is by itself.

An event weighs its bytes of JSON and `EVENT` more, so that 512 of them are the most.
"""
EVENT: Final = 128

_LARGE: Final = 2048  # bytes of an event beside which its object does not matter


_LINES = 256
"""Bytes that a chunk of lines takes besides them."""


class Memory(Protocol):
    """Whoever counts what a log takes."""

    def count(self, difference: int) -> None:
        """Take notice of bytes that were added, or freed."""

    def fits(self) -> bool:
        """Say whether what is kept is within its limit."""


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

    __slots__ = ("_count", "_lines", "events", "first", "room")

    def __init__(self, first: int) -> None:
        self.first: int = first
        self.room: int = CHUNK  # the weight that still fits in; below 0 where one event is heavier
        self.events: list[EncodedEvent] = []
        self._count = 0  # of the lines
        self._lines: bytes | None = None

    def bytes(self, extra: int) -> int:
        """Return what it takes of the memory; in its room each event weighs ``extra`` bytes too many."""
        if self._lines is not None:
            return len(self._lines) + _LINES
        return CHUNK - self.room - extra * len(self.events)

    def since(self, sequence: int) -> list[EncodedEvent]:
        """Return the events from ``sequence`` on, which is in this chunk."""
        start = sequence - self.first
        if self._lines is None:
            return self.events[start:]
        lines = self._lines.rsplit(b"\n", self._count - start)  # what stays in front is not needed
        if start:
            del lines[0]
        return [EncodedEvent(_type_of(json), json, number) for number, json in enumerate(lines, sequence)]

    def compact(self, light: int) -> None:
        """Turn the objects into bytes, where that is possible and they weigh less than ``light`` each."""
        count = len(self.events)
        if count < 2 or CHUNK - self.room > count * light:
            return
        lines = b"\n".join([event.json for event in self.events])
        if lines.count(b"\n") == count - 1:  # JSON of some foreign encoder may have lines
            self._lines = lines
            self._count = count
            self.events = []


_first = attrgetter("first")


class Log:
    """The events of one run that are kept.

    ``first`` is the sequence of the oldest, ``last`` that of the newest. When more than ``limit``
    are kept, whole chunks go, so that ``limit`` stay. They go as well while ``memory`` is full, but for
    the newest one. What the log takes is counted whenever it has a new chunk, and by `weigh`.
    """

    __slots__ = ("_chunks", "_counted", "_event", "_limit", "_memory", "_newest", "_sealed", "first", "last")

    def __init__(self, limit: int, memory: Memory) -> None:
        self._limit = limit
        self._memory = memory
        self._sealed = 0  # bytes of all chunks but the newest
        self._counted = 0  # bytes that ``memory`` knows of
        self._event = max(EVENT, 8 * CHUNK // max(8, limit))  # a short log has short chunks
        self._newest = Chunk(1)
        self._chunks = [self._newest]
        self.first: int = 1
        self.last: int = 0

    def append(self, events: Sequence[EncodedEvent]) -> None:
        """Append events whose sequences follow ``last``."""
        count = len(events)
        if count == 1:
            weight = len(events[0].json) + self._event
        else:
            weight = sum([len(event.json) for event in events]) + self._event * count
        chunk = self._newest
        room = chunk.room - weight
        if room < 0:
            self._append_apart(events, weight)
            return
        chunk.room = room
        chunk.events.extend(events)
        self.last += count

    def _append_apart(self, events: Sequence[EncodedEvent], weight: int) -> None:
        """Append what does not fit into the newest chunk to one of its own, or to several."""
        half = len(events) // 2
        if half and weight > CHUNK:
            self.append(events[:half])
            self.append(events[half:])
            return
        if self._newest.events:
            self._sealed += self._newest.bytes(self._event - EVENT)
            self._newest = Chunk(self.last + 1)
            self._chunks.append(self._newest)
        self._newest.room -= weight
        self._newest.events.extend(events)
        self.last += len(events)
        self._trim()
        while not self._memory.fits() and len(self._chunks) > 1:
            self._remove(1)

    def _trim(self) -> None:
        """Remove the chunks that are not needed; called when there is a new one."""
        index = bisect_right(self._chunks, self.last - self._limit + 1, key=_first) - 1
        if index > 0:
            self._remove(index)
        else:
            self.weigh()

    def _remove(self, count: int) -> None:
        """Remove the oldest chunks, which are sealed."""
        self._sealed -= sum(chunk.bytes(self._event - EVENT) for chunk in self._chunks[:count])
        del self._chunks[:count]
        self.first = self._chunks[0].first
        self.weigh()

    def weigh(self) -> None:
        """Count what the log takes now."""
        taken = self._sealed + self._newest.bytes(self._event - EVENT)
        self._memory.count(taken - self._counted)
        self._counted = taken

    def since(self, sequence: int) -> list[EncodedEvent]:
        """Return a batch of events that begins with ``sequence``, which is kept."""
        chunks = self._chunks
        index = len(chunks) - 1
        if sequence < chunks[index].first:
            index = bisect_right(chunks, sequence, key=_first) - 1
        chunk = chunks[index]
        batch = chunk.since(sequence)
        room = chunk.room
        for chunk in chunks[index + 1 :]:
            room -= CHUNK - chunk.room
            if room < 0:
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
        if len(chunk.events) > 1:
            last = chunk.events.pop()
            weight = len(last.json) + self._event
            chunk.room += weight
            self._newest = Chunk(self.last)
            self._newest.room -= weight
            self._newest.events.append(last)
            self._chunks.append(self._newest)
        for chunk in self._chunks:
            chunk.compact(_LARGE + self._event)
        extra = self._event - EVENT
        self._sealed = sum(chunk.bytes(extra) for chunk in self._chunks if chunk is not self._newest)
        self.weigh()

    def clear(self) -> None:
        """Let go of the events."""
        self._newest = Chunk(self.last + 1)
        self._chunks = [self._newest]
        self._sealed = 0
        self.weigh()
