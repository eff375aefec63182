"""One place in a run's log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ...cursor import epoch_of
from ...events import TERMINAL, EncodedEvent
from ..notices import gap, run_lost
from .branches import Branches

if TYPE_CHECKING:
    from .reader import RunReader
    from .readers import Readers

NUDGE_SECONDS: Final = 1.0
"""So long a nudged reader still waits for stored events that are on their way."""


class RedisFollower:
    """A cursor, and a future while its reader waits; see `dockrion_events.bus.base.EpochFollower`."""

    __slots__ = (
        "_arrival",
        "_branches",
        "_closed",
        "_epoch",
        "_late",
        "_lost_from",
        "_nudged",
        "_older",
        "_older_top",
        "_position",
        "_reader",
        "_readers",
    )

    def __init__(self, readers: Readers, reader: RunReader, after: int) -> None:
        self._readers = readers
        self._reader = reader
        self._position = int(after)
        self._epoch = epoch_of(after)
        self._branches: Branches | None = None  # those that the position was compared with
        self._lost_from = 0  # what was asked for before the log turned out to be another one
        self._closed = False
        self._nudged = False
        self._late = False  # nudged, and the log does not answer
        self._arrival: asyncio.Future[None] | None = None
        self._older_top = 0  # the reader's top when it was asked for
        self._older: asyncio.Future[list[EncodedEvent]] | None = None

    @property
    def position(self) -> int:
        return self._lost_from - 1 if self._lost_from else self._position

    @property
    def epoch(self) -> str:
        return self._epoch

    @property
    def ended(self) -> bool:
        return self._closed

    async def next_batch(self) -> list[EncodedEvent]:
        while not self._closed:
            batch = self._read()
            if batch or (self._nudged and (self._older is None or self._late)):
                self._nudged = self._late = False
                return batch
            if not self._closed:
                await self._wait()
        return []

    def _read(self) -> list[EncodedEvent]:
        """Return what there is behind the position, and stop at the end of the run."""
        reader = self._reader
        if reader.gone:
            self.close()
            return [run_lost(reader.key)]
        if self._branches is not reader.branches:
            self._compare(reader.branches)
        position = self._position
        if position < reader.top:
            batch = reader.recent(position)
            return self._taken(self._read_older() if batch is None else batch)
        if not reader.ended:
            return []
        self.close()
        if (position == reader.top and not self._lost_from) or reader.terminal is None:
            return []
        requested, self._lost_from = self._lost_from or position + 1, 0
        self._position = reader.top
        self._epoch = reader.branches.epoch_at(reader.top)
        return [gap(reader.key, requested, reader.top), reader.terminal]

    def _compare(self, branches: Branches) -> None:
        """Go back to where the log begins to differ from what the reader has seen."""
        self._branches = branches
        position = self._position
        fork = branches.fork(position, self._epoch)
        if fork is not None:
            self._lost_from = self._lost_from or position + 1
            self._position = fork - 1
            self._older = None
            self._epoch = branches.epoch_at(fork - 1)
        elif not self._epoch and position <= self._reader.top:
            self._epoch = branches.epoch_at(position)

    def _read_older(self) -> list[EncodedEvent]:
        """Return what was read from the log for this place, or begin to read it."""
        reader = self._reader
        while True:
            if self._older is None:
                self._older, self._older_top = reader.older(self._position), reader.top
            if not self._older.done():
                self._older.add_done_callback(self._woken)
                return []
            events = list(self._older.result())
            self._older = None
            if events or self._older_top == reader.top:  # with the same top it would find nothing again
                return events

    def _woken(self, _: asyncio.Future[list[EncodedEvent]]) -> None:
        self.wake()

    def _taken(self, batch: list[EncodedEvent]) -> list[EncodedEvent]:
        if not batch:
            return batch
        branches = self._reader.branches
        first, last = batch[0].sequence or 0, batch[-1].sequence or 0
        end = branches.end_of(first)
        if end < last:  # a batch is of one epoch
            del batch[end - first + 1 :]
            last = end
        requested = self._lost_from or self._position + 1
        lost = self._lost_from or first > requested
        self._position, self._lost_from = last, 0
        self._epoch = branches.epoch_at(last)
        if batch[-1].type in TERMINAL:
            self.close()
        if lost:
            batch.insert(0, gap(self._reader.key, requested, first))
        return batch

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._arrival = loop.create_future()
        timer = loop.call_later(NUDGE_SECONDS, self._hurry) if self._nudged else None
        try:
            await self._arrival
        finally:
            self._arrival = None
            if timer is not None:
                timer.cancel()

    def _hurry(self) -> None:
        self._late = True
        self.wake()

    def wake(self, error: BaseException | None = None) -> None:
        """Let a waiting `next_batch` look again, or raise ``error``."""
        if self._arrival is None or self._arrival.done():
            return
        if error is None:
            self._arrival.set_result(None)
        else:
            self._arrival.set_exception(error)

    def nudge(self) -> None:
        self._nudged = True
        self.wake()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._readers.left(self._reader, self)
            self.wake()
