"""Reading one run's log for all its followers in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from ...errors import RunUnreadable
from ...events import TERMINAL, EncodedEvent
from .branches import Branches, branches
from .follower import RedisFollower
from .records import RunKeys, Stored, check_version, moment, type_name
from .scripts import READ

if TYPE_CHECKING:
    from .readers import Readers

BATCH_EVENTS: Final = 512
BATCH_BYTES: Final = 64 * 1024
"""What a follower gets at once, unless one event is larger: it is what a slow reader costs."""

WINDOW_EVENTS: Final = 2048
WINDOW_BYTES: Final = 1024 * 1024

HINT_WORDS: Final = 5
"""Top, largest, epoch, base, and whether the run has ended; releases before epochs sent two or three."""

VERSION_AT: Final = 5

LOOKED_AT: Final = (b"ca", b"la", b"mx", b"ea", b"ep", b"ba", b"fe", b"v")

SMALL_EVENT: Final = 2048
"""Where no event is larger, events are counted and not weighed."""


def decoded(entries: Sequence[Any]) -> list[EncodedEvent]:
    """Return a log's entries as events. Raises `RunUnreadable`."""
    if not entries:
        return []
    try:
        return _decoded(entries)
    except (ValueError, TypeError, IndexError, AttributeError) as error:
        raise RunUnreadable(f"the log of a run in Redis is broken: {error}") from None


def _decoded(entries: Sequence[Any]) -> list[EncodedEvent]:
    first = int(entries[0][0][:-2])
    for _, fields in (entries[0], entries[-1]):  # its version only rises
        if len(fields) > VERSION_AT:
            check_version(fields[VERSION_AT], "an event of the log")
    return [
        EncodedEvent(type_name(fields[1]), fields[3], sequence)
        for sequence, (_, fields) in enumerate(entries, first)
    ]


class RunReader:
    """The recent events of one run, up to ``top``.

    ``ended`` says that ``top`` is the last event there will be, ``gone`` that the run is not kept any
    more. ``branches`` says who wrote the events up to ``top``. A store that has lost data can only be
    met over a new connection, so after a lost one nothing is read on before the record was looked at.
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
        self.branches: Branches = found.branches
        self._readers = readers
        self._commands = readers.commands
        self._confirmed = readers.commands.troubles  # the count of lost connections at the latest look
        self._largest = found.largest
        self._window: list[EncodedEvent] = []
        self._window_bytes = 0
        self._known = self.top  # the top that hints speak of
        self._reading = False
        self._looking = False
        self._absent = 0  # a top up to which the log had no events although the record names it
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
        if self._older.get(after) is reading:
            del self._older[after]
        if not reading.cancelled():
            reading.exception()  # whoever asked may be gone

    async def _read(self, after: int) -> list[EncodedEvent]:
        while True:
            under = self.branches
            events = decoded(await self._request(after, self.top, self._at_once()))
            confirmed = self._still(under)  # else it is read again after a look
            if confirmed and events:
                return events
            await self.look_now()
            if self.gone or after >= self.top:
                return []
            if confirmed and self._still(under):
                if self.ended:
                    self.vanish()  # the record is there, and its log is not
                return []

    def _still(self, under: Branches) -> bool:
        """Whether what was read meanwhile is of the log that ``branches`` describe."""
        return self.branches is under and self._commands.troubles == self._confirmed

    def _request(self, after: int, to: int, count: int = BATCH_EVENTS) -> asyncio.Future[Any]:
        """Ask for up to ``count`` events; where events may be large, by a script that counts their bytes."""
        commands, log = self._commands, self.keys.log
        start, end = b"%d-0" % (after + 1), b"%d-0" % to
        if self._largest <= SMALL_EVENT:
            return commands.call(log, b"XRANGE", log, start, end, b"COUNT", count)
        return commands.run(READ, (log,), start, end, BATCH_EVENTS, BATCH_BYTES)

    # -- what wakes it -------------------------------------------------------------------------

    def hint(self, message: bytes | None) -> None:
        """Take the top that a message names; look, where messages may have been missed."""
        if message is None:
            self.look()
            return
        words = message.split()
        top, largest = int(words[0]), int(words[1])
        self._largest = max(self._largest, largest)
        if len(words) == HINT_WORDS and not self._continues(words[2].decode(), int(words[3])):
            self.look()
        elif top > self.top:
            self._known = max(self._known, top)
            self.catch_up()
        elif words[-1] == b"e" and not self.ended:
            self.look()  # ended below what was read: the store went back in time

    def _continues(self, epoch: str, base: int) -> bool:
        """Whether events of ``epoch``, which begin behind ``base``, continue what is here."""
        if epoch == self.branches.newest:
            return True
        if base != self.top or self._commands.troubles != self._confirmed:
            return False
        self._adopt(self.branches.extended(base + 1, epoch))
        return True

    def catch_up(self) -> None:
        """Read on, unless that is being done."""
        if self._reading or self.appending or self._known <= self.top:
            return
        if self._commands.troubles != self._confirmed:
            self.look()
            return
        self._reading = True
        to, under = self._known, self.branches
        self._request(self.top, to).add_done_callback(lambda reply: self._arrived(reply, to, under))

    def _arrived(self, reply: asyncio.Future[Any], to: int, under: Branches) -> None:
        self._reading = False
        error = reply.exception()
        if error is not None:
            self._known = self.top  # the regular look finds out again
            self.fail(error)
            return
        if not self._still(under):
            self.look()
            return
        try:
            events = decoded(reply.result())
        except RunUnreadable as broken:
            self._known = self.top
            self.fail(broken)
            return
        if events:
            self._add(events)
            self.catch_up()
        else:
            # Trimmed meanwhile, and so is all that came before; or the log itself is gone.
            self._absent, self._known = to, self.top
            self._clear_window()
            self.look()

    def offer(self, events: Sequence[EncodedEvent], epoch: str, base: int) -> None:
        """Take events that are in the log by now, if they continue what is here."""
        if events:
            last = events[-1].sequence or 0
            if not self._continues(epoch, base):
                self.look()
            elif events[0].sequence == self.top + 1:
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
                self._clear_window()
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
            self._clear_window()

    # -- looking at the record -----------------------------------------------------------------

    def look(self) -> None:
        """Ask what the record says, soon."""
        if not self._looking:
            self._looking = True
            asked_at = self._commands.troubles
            self._ask().add_done_callback(lambda reply: self._seen(reply, asked_at))

    async def look_now(self) -> None:
        """Ask what the record says, and return when it is known. Raises `BackendUnavailable`."""
        asked_at = self._commands.troubles
        self._apply(await self._ask(), asked_at)

    def _ask(self) -> asyncio.Future[Any]:
        record = self.keys.record
        return self._commands.call(record, b"HMGET", record, *LOOKED_AT)

    def _seen(self, reply: asyncio.Future[Any], asked_at: int) -> None:
        self._looking = False
        error = reply.exception()
        if error is None:
            try:
                self._apply(reply.result(), asked_at)
            except RunUnreadable as unreadable:
                error = unreadable
        if error is not None:
            self.fail(error)

    def _apply(self, fields: list[bytes | None], asked_at: int) -> None:
        created, last, largest, ended, listed, base, fence, version = fields
        if created is None or last is None or largest is None or moment(created) != self.created_at:
            self.vanish()
            return
        check_version(version, f"the run {self.key!r}")
        self._confirmed = asked_at
        top = int(last)
        found = branches(listed, base, fence, top, ended=ended is not None)
        if self.gone or (self.ended and top == self.top and found.parts == self.branches.parts):
            return
        if self.ended:  # the store went back to a time before the end
            self.ended, self.terminal = False, None
            self._readers.join(self)
        self._largest = max(self._largest, int(largest))
        if found.parts != self.branches.parts or found.open != self.branches.open:
            self._adopt(found, top)
        if top > self.top:
            if top != self._absent:
                self._known = max(self._known, top)
                self.catch_up()
                return
            if ended is not None:
                self.vanish()  # the record is there, and its log is not
                return
        elif top < self.top:  # the store went back in time
            self._go_back(top)
        if ended is not None:
            self._readers.finish(self)

    def _adopt(self, found: Branches, top: int | None = None) -> None:
        """Take what is known of the log's parts now; go back to ``top`` where the log is another one."""
        forked = found.fork(self.top, self.branches.epoch_at(self.top)) is not None
        self.branches = found
        if forked and top is not None:
            self._go_back(top)
        self.wake()

    def _go_back(self, top: int) -> None:
        self.top = self._known = top
        self._clear_window()
        self._older.clear()

    def _clear_window(self) -> None:
        self._window.clear()
        self._window_bytes = 0

    def finished(self, found: Stored | None) -> None:
        """Take the record of a run that has ended although its terminal event was not read."""
        if found is None or found.record.created_at != self.created_at:
            self.vanish()
        elif found.record.terminal is not None and not self.ended:
            self._adopt(found.branches, found.record.last_sequence)
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
