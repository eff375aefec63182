"""A run's events to one of its followers, as Server-Sent Events with ids."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from litestar.types import Send

from dockrion_events import BackendUnavailable, EncodedEvent, HeartbeatEvent, sse_frame
from dockrion_events.bus import Follower
from dockrion_events.bus.base import follower_epoch
from dockrion_events.forms import CHUNK_BYTES

from ..edge import Edge
from ..observability.meter import Meter
from ..sse import EventResponse

log = logging.getLogger("dockrion")

RETRY: Final = b"retry: 1000\n\n"
"""What a reader gets before a close that is not the run's end: come back in a second, perhaps elsewhere."""


LARGE: Final = 16 * 1024
"""Bytes sent at once after which the next events wait until the reader has room for them."""


class RunResponse(EventResponse):
    """Sends a run's log to one reader, from its cursor to the end of the run.

    The reader is a cursor in the log: leaving, or not reading, costs the run nothing. After ``seconds``,
    or by `leave_off`, the response ends cleanly in mid-run; the reader comes back with the last id it
    has seen.
    """

    __slots__ = ("_asked", "_follower", "_leaving", "_meter", "_on_close", "_run_id", "_seconds")

    def __init__(
        self,
        follower: Follower,
        run_id: str,
        edge: Edge,
        meter: Meter,
        *,
        seconds: float,
        heartbeat: float,
        heartbeat_events: bool,
        on_close: Callable[[RunResponse], None],
    ) -> None:
        super().__init__(edge, heartbeat=heartbeat, heartbeat_events=heartbeat_events)
        self._follower = follower
        self._meter = meter
        self._run_id = run_id
        self._seconds = seconds
        self._on_close = on_close
        self._asked = False
        self._leaving = False

    @property
    def _label(self) -> str:
        return f"run {self._run_id}"

    def leave_off(self) -> None:
        """End the response in mid-run, in a way that makes the reader come back."""
        self._leaving = True
        self._follower.nudge()

    def _wake(self) -> None:
        self._follower.nudge()

    def _ask_heartbeat(self) -> None:
        self._asked = True
        self._follower.nudge()

    async def _send_all(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        loop = asyncio.get_running_loop()
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        follower = self._follower
        timer = loop.call_later(self._seconds, self.leave_off)
        try:
            while not self._gone:
                # After a disconnect a server's send may return at once; without this a reader with a
                # long log before it would keep the loop to itself.
                await asyncio.sleep(0)
                events = await self._next_batch()
                self._meter.count_gap(events)
                chunks = self._chunks(events, follower_epoch(follower))
                if self._asked:
                    self._asked = False
                    if not chunks and not follower.ended:
                        chunks.append(self._sign_of_life(HeartbeatEvent(run_id=self._run_id)))
                leaving = self._leaving and not chunks and not follower.ended
                if leaving:
                    chunks.append(RETRY)
                large = sum(map(len, chunks)) > LARGE
                chunks.reverse()
                while chunks:
                    self._sending_since = self._last_sent = loop.time()
                    await send({"type": "http.response.body", "body": chunks.pop(), "more_body": True})
                if large:
                    # Returns when the reader has taken most of it. A reader that is behind has a cursor
                    # meanwhile, and not the next chunk as well.
                    await send({"type": "http.response.body", "body": b"", "more_body": True})
                self._sending_since = 0.0
                if follower.ended or leaving:
                    await send({"type": "http.response.body", "body": b"", "more_body": False})
                    return
        finally:
            timer.cancel()

    async def _next_batch(self) -> list[EncodedEvent]:
        try:
            return await self._follower.next_batch()
        except BackendUnavailable as error:
            log.warning("%s: %s", self._label, error)
            self._leaving = True
            return []

    @staticmethod
    def _chunks(events: list[EncodedEvent], epoch: str) -> list[bytes]:
        chunks: list[bytes] = []
        frames: list[bytes] = []
        size = 0
        for event in events:
            frame = sse_frame(event, event_id=event.sequence, epoch=epoch)
            frames.append(frame)
            size += len(frame)
            if size >= CHUNK_BYTES:
                chunks.append(b"".join(frames))
                frames, size = [], 0
        if frames:
            chunks.append(b"".join(frames))
        return chunks

    def _close(self) -> Coroutine[Any, Any, None] | None:
        self._follower.close()
        self._on_close(self)
        return None
