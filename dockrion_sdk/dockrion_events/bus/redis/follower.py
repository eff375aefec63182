"""One place in a run's log."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final

from ...events import TERMINAL, EncodedEvent
from ..notices import gap, run_lost

if TYPE_CHECKING:
    from .reader import RunReader
    from .readers import Readers

NUDGE_SECONDS: Final = 1.0
"""So long a nudged reader still waits for stored events that are on their way."""


class RedisFollower:
    """A cursor, and a future while its reader waits; see `dockrion_events.bus.Follower`."""

    __slots__ = ("_arrival", "_closed", "_late", "_nudged", "_older", "_position", "_reader", "_readers")

    def __init__(self, readers: Readers, reader: RunReader, after: int) -> None:
        self._readers = readers
        self._reader = reader
        self._position = after
        self._closed = False
        self._nudged = False
        self._late = False  # nudged, and the log does not answer
        self._arrival: asyncio.Future[None] | None = None
        self._older: asyncio.Future[list[EncodedEvent]] | None = None

    @property
    def position(self) -> int:
        return self._position

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
        reader, position = self._reader, self._position
        if reader.gone:
            self.close()
            return [run_lost(reader.key)]
        if position < reader.top:
            batch = reader.recent(position)
            return self._taken(self._read_older() if batch is None else batch)
        if not reader.ended:
            return []
        self.close()
        if position == reader.top or reader.terminal is None:
            return []
        self._position = reader.top
        return [gap(reader.key, position + 1, reader.top), reader.terminal]

    def _read_older(self) -> list[EncodedEvent]:
        """Return what was read from the log for this place, or begin to read it."""
        older = self._older
        if older is None:
            older = self._older = self._reader.older(self._position)
        if older.done():
            self._older = None
            return list(older.result())
        older.add_done_callback(self._woken)
        return []

    def _woken(self, _: asyncio.Future[list[EncodedEvent]]) -> None:
        self.wake()

    def _taken(self, batch: list[EncodedEvent]) -> list[EncodedEvent]:
        if not batch:
            return batch
        requested = self._position + 1
        first = batch[0].sequence or 0
        self._position = batch[-1].sequence or 0
        if batch[-1].type in TERMINAL:
            self.close()
        if first > requested:
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
