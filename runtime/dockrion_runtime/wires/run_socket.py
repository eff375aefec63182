"""A run's events to one of its followers, over a WebSocket."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

from dockrion_events import BackendUnavailable, HeartbeatEvent, encode_json
from dockrion_events.bus import Follower
from dockrion_events.bus.base import follower_epoch

from ..observability.meter import Meter
from .line import FINISHED, GOING_AWAY, Line

log = logging.getLogger("dockrion")


class RunSocket:
    """Sends a run's log to one reader, from its cursor to the end of the run or of ``seconds``.

    With ``tells_epochs`` a frame precedes the first event of each epoch, for the reader's cursor:
    ``{"type":"epoch","run_id":…,"epoch":…}``.
    """

    def __init__(
        self,
        follower: Follower,
        run_id: str,
        line: Line,
        meter: Meter,
        *,
        seconds: float,
        heartbeat: float | None,
        tells_epochs: bool = False,
        on_close: Callable[[RunSocket], None],
    ) -> None:
        self._follower = follower
        self._run_id = run_id
        self._line = line
        self._meter = meter
        self._seconds = seconds
        self._heartbeat = heartbeat
        self._on_close = on_close
        self._epoch = "" if tells_epochs else None
        self._leaving = False
        self._beat = False

    def leave_off(self) -> None:
        """Close the socket in mid-run; the reader comes back with the last sequence it has seen."""
        self._leaving = True
        self._follower.nudge()

    async def run(self) -> None:
        """Send until the end, and close the socket. Raises `ConnectionError` where the reader is gone."""
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self._seconds, self.leave_off)
        beat: asyncio.TimerHandle | None = None
        try:
            while not self._follower.ended and not self._leaving:
                if self._heartbeat is not None:
                    beat = loop.call_later(self._heartbeat, self._ask_heartbeat)
                texts = await self._next_batch()
                if beat is not None:
                    beat.cancel()
                await self._line.send(texts)
            await self._line.close(FINISHED if self._follower.ended else GOING_AWAY)
        finally:
            for pending in (timer, beat):
                if pending is not None:
                    pending.cancel()

    def close(self) -> None:
        """Let go of the run's log."""
        self._follower.close()
        self._on_close(self)

    async def _next_batch(self) -> list[str]:
        try:
            events = await self._follower.next_batch()
        except BackendUnavailable as error:
            log.warning("run %s: %s", self._run_id, error)
            self._leaving = True
            return []
        self._meter.count_gap(events)
        if not events and self._beat:
            self._beat = False
            return [encode_json(HeartbeatEvent(run_id=self._run_id)).decode()]
        texts = [event.json.decode() for event in events]
        if self._epoch is not None and self._epoch != (epoch := follower_epoch(self._follower)):
            self._epoch = epoch
            place = 1 if events and events[0].sequence is None else 0  # a gap is of no epoch
            told = {"type": "epoch", "run_id": self._run_id, "epoch": epoch}
            texts.insert(place, encode_json(told).decode())
        return texts

    def _ask_heartbeat(self) -> None:
        self._beat = True
        self._follower.nudge()
