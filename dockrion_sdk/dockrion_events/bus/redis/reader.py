"""Reading one run's log for all its followers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ...events import TERMINAL, EncodedEvent
from .follower import RedisFollower
from .records import RunKeys, Stored, moment, type_name
from .scripts import READ

if TYPE_CHECKING:
    from .readers import Readers

BATCH_EVENTS: Final = 512
BATCH_BYTES: Final = 64 * 1024
"""What a follower gets at once, unless one event is larger: it is what a slow reader costs."""

WINDOW_EVENTS: Final = 2048
WINDOW_BYTES: Final = 1024 * 1024

SMALL_EVENT: Final = 2048
"""Where no event is larger, events are counted and not weighed."""


def decoded(entries: Sequence[Any]) -> list[EncodedEvent]:
    """Return a log's entries as events."""
    if not entries:
        return []
    first = int(entries[0][0][:-2])
    return [
        EncodedEvent(type_name(fields[1]), fields[3], sequence)
        for sequence, (_, fields) in enumerate(entries, first)
    ]


class RunReader:
    """The recent events of one run, up to ``top``.

    ``ended`` says that ``top`` is the last event there will be, ``gone`` that the run is not kept any
    more.
    """

    def __init__(self, readers: Readers, key: str, keys: RunKeys, found: Stored) -> None:
        self.key: str = key
        self.keys: RunKeys = keys
        self.top: int = found.record.last_sequence
        self.ended: bool = found.record.ended
        self.terminal: EncodedEvent | None = found.record.terminal
        self.gone: bool = False
        self.appending: int = 0  # appends of this process that are on their way, and will tell
        self.followers: set[RedisFollower] = set()
        self.created_at: datetime = found.record.created_at
        self._readers = readers
        self._largest = found.largest
        self._window: list[EncodedEvent] = []
        self._window_bytes = 0
        self._known = self.top  # the top that hints speak of
        self._reading = False
        self._looking = False
        self._older: dict[int, asyncio.Future[list[EncodedEvent]]] = {}

    # -- what followers ask --------------------------------------------------------------------

    def recent(self, after: int) -> list[EncodedEvent] | None:
        """Return what follows ``after``, which is below the top, or None where the window begins later."""
        window = self._window
        start = after - self.top + len(window)
        return window[start : start + self._at_once()] if start >= 0 else None

    def _at_once(self) -> int:
        """Return how many events a follower gets at once: so many as are not too large in any case."""
        return max(1, min(BATCH_EVENTS, BATCH_BYTES // max(1, self._largest)))

    def older(self, after: int) -> asyncio.Future[list[EncodedEvent]]:
        """Read what follows ``after`` from the log; followers at the same place share it."""
        reading = self._older.get(after)
        if reading is None:
            reading = self._older[after] = asyncio.ensure_future(self._read(after))
            reading.add_done_callback(lambda done: self._read_done(after, done))
        return reading

    def _read_done(self, after: int, reading: asyncio.Future[list[EncodedEvent]]) -> None:
        self._older.pop(after, None)
        if not reading.cancelled():
            reading.exception()  # whoever asked may be gone

    async def _read(self, after: int) -> list[EncodedEvent]:
        events = decoded(await self._request(after, self._at_once()))
        if events and events[0].sequence == after + 1:
            self.offer(events)
        elif not events:
            await self.look_now()
            if self.ended and after < self.top:
                self.vanish()  # the record is there, and its log is not
        return events

    def _request(self, after: int, count: int = BATCH_EVENTS) -> asyncio.Future[Any]:
        """Ask for up to ``count`` events; where events may be large, by a script that counts their bytes."""
        commands, log = self._readers.commands, self.keys.log
        start = b"%d-0" % (after + 1)
        if self._largest <= SMALL_EVENT:
            return commands.call(log, b"XRANGE", log, start, b"+", b"COUNT", count)
        return commands.run(READ, (log,), start, BATCH_EVENTS, BATCH_BYTES)

    # -- what wakes it -------------------------------------------------------------------------

    def hint(self, message: bytes | None) -> None:
        """Take the top that a message names; look, where messages may have been missed."""
        if message is None:
            self.look()
            return
        words = message.split()
        top, largest = int(words[0]), int(words[1])
        self._largest = max(self._largest, largest)
        if top > self.top:
            self._known = max(self._known, top)
            self.catch_up()
        elif len(words) > 2 and not self.ended:
            self.look()  # ended below what was read: the store went back in time

    def catch_up(self) -> None:
        """Read on, unless that is being done."""
        if self._reading or self.appending or self._known <= self.top:
            return
        self._reading = True
        self._request(self.top).add_done_callback(self._arrived)

    def _arrived(self, reply: asyncio.Future[Any]) -> None:
        self._reading = False
        error = reply.exception()
        if error is not None:
            self._known = self.top  # the regular look finds out again
            self.fail(error)
            return
        events = decoded(reply.result())
        if events:
            self._add(events)
            self.catch_up()
        else:
            self._known = self.top
            self.look()

    def offer(self, events: Sequence[EncodedEvent]) -> None:
        """Take events that are in the log by now, if they continue what is here."""
        if events:
            last = events[-1].sequence or 0
            if events[0].sequence == self.top + 1:
                self._add(events)
            elif last > self._known:
                self._known = last
        self.catch_up()

    def _add(self, events: Sequence[EncodedEvent]) -> None:
        first, last = events[0].sequence or 0, events[-1].sequence or 0
        if last <= self.top:
            return
        window = self._window
        if first != self.top + 1:
            if first <= self.top:
                events = events[self.top + 1 - first :]
            else:  # trimmed in between
                window.clear()
                self._window_bytes = 0
        window += events
        self._window_bytes += sum([len(event.json) for event in events])
        self.top = last
        if len(window) > WINDOW_EVENTS or self._window_bytes > WINDOW_BYTES:
            self._shrink(len(events))
        if events[-1].type in TERMINAL:
            self._end(events[-1])
        self.wake()

    def _shrink(self, keep: int) -> None:
        """Let go of the older half of the window, but not of what has just come."""
        window = self._window
        gone = max(0, len(window) - max(keep, min(WINDOW_EVENTS // 2, len(window) // 2)))
        self._window_bytes -= sum([len(event.json) for event in window[:gone]])
        del window[:gone]

    def _end(self, terminal: EncodedEvent) -> None:
        self.ended, self.terminal = True, terminal
        self._readers.leave(self)

    def settle(self) -> None:
        """Let go of the window if every follower has it all."""
        if self._window and all(follower.position >= self.top for follower in self.followers):
            self._window.clear()
            self._window_bytes = 0

    # -- looking at the record -----------------------------------------------------------------

    def look(self) -> None:
        """Ask what the record says, soon."""
        if not self._looking:
            self._looking = True
            self._ask().add_done_callback(self._seen)

    async def look_now(self) -> None:
        """Ask what the record says, and return when it is known. Raises `BackendUnavailable`."""
        self._apply(await self._ask())

    def _ask(self) -> asyncio.Future[Any]:
        record = self.keys.record
        return self._readers.commands.call(record, b"HMGET", record, b"ca", b"la", b"mx", b"ea")

    def _seen(self, reply: asyncio.Future[Any]) -> None:
        self._looking = False
        error = reply.exception()
        if error is not None:
            self.fail(error)
        else:
            self._apply(reply.result())

    def _apply(self, fields: list[bytes | None]) -> None:
        created, last, largest, ended = fields
        if created is None or last is None or largest is None or moment(created) != self.created_at:
            self.vanish()
            return
        if self.gone or self.ended:
            return
        self._largest = max(self._largest, int(largest))
        top = int(last)
        if top > self.top:
            self._known = max(self._known, top)
            self.catch_up()
            return
        if top < self.top:  # the store went back in time
            self.top = self._known = top
            self._window.clear()
            self._window_bytes = 0
        if ended is not None:
            self._readers.finish(self)

    def finished(self, found: Stored | None) -> None:
        """Take the record of a run that has ended although its terminal event was not read."""
        if found is None or found.record.created_at != self.created_at:
            self.vanish()
        elif found.record.terminal is not None and not self.ended:
            if found.record.last_sequence > self.top:
                self._known = found.record.last_sequence
                self.catch_up()
                return
            self.top = found.record.last_sequence
            self._end(found.record.terminal)
        self.wake()

    def vanish(self) -> None:
        """Let the followers know that the run is gone."""
        self.gone = True
        self._readers.leave(self)
        self.wake()

    def fail(self, error: BaseException) -> None:
        """Let those that wait know that the log cannot be read."""
        for follower in self.followers:
            follower.wake(error)

    def wake(self) -> None:
        for follower in self.followers:
            follower.wake()
