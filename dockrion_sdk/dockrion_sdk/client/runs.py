"""Runs, from the client's side."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any, Final, Literal, TypeAlias
from urllib.parse import quote

import httpx
import httpx_sse
import msgspec

from dockrion_events import (
    TERMINAL,
    Event,
    GapEvent,
    HeartbeatEvent,
    StreamEvent,
    decode_event,
)
from dockrion_events.cursor import Cursor

from .errors import error_of
from .transport import AGAIN, Patience, Transport, retry_after

Status: TypeAlias = Literal["accepted", "running", "completed", "failed", "cancelled"]


SILENCE_SECONDS: Final = 90.0
"""A connection without even a heartbeat for so long counts as broken."""


class Run(msgspec.Struct, frozen=True, kw_only=True):
    """A run as the server showed it. Times are UTC.

    ``output`` is there once it is completed, ``error`` (``{code, error, details?}``) once it has failed.
    ``attempt`` counts its executions, ``last_sequence`` its events. ``thread_id`` is the conversation that it
    was created for. Runs of a list have neither ``output`` nor ``error`` nor ``reason``: `Runs.get` has.
    """

    run_id: str
    status: Status
    created_at: datetime
    events_url: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    first_sequence: int = 1
    last_sequence: int = 0
    output: Any = None
    error: dict[str, Any] | None = None
    reason: str | None = None
    thread_id: str | None = None

    @property
    def ended(self) -> bool:
        """Whether its terminal event is there."""
        return self.status in ("completed", "failed", "cancelled")


class _Page(msgspec.Struct):
    runs: list[Run]
    next: str | None


_decode_run = msgspec.json.Decoder(Run).decode
_decode_page = msgspec.json.Decoder(_Page).decode


class Runs:
    """``client.runs``: the runs of whoever the client's key belongs to."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def create(
        self, payload: dict[str, Any], *, run_id: str | None = None, thread_id: str | None = None
    ) -> Run:
        """Begin a run and return it without waiting for it.

        Asked again after a lost answer it is the same run: it is named by ``run_id`` or else by an
        idempotency key of this call. Raises `APIError` (409 where ``run_id`` names another request).
        """
        params = {"run_id": run_id, "thread_id": thread_id}
        headers = {} if run_id is not None else {"Idempotency-Key": str(uuid.uuid4())}
        answer = await self._transport.request(
            "POST",
            "/runs",
            again=True,
            content=msgspec.json.encode(payload),
            params={name: value for name, value in params.items() if value is not None},
            headers=headers,
        )
        return _decode_run(answer.content)

    async def get(self, run_id: str) -> Run:
        """Return a run. Raises `APIError` (404)."""
        return _decode_run((await self._transport.request("GET", _path(run_id), again=True)).content)

    async def list(self, *, page_size: int = 50) -> AsyncIterator[Run]:
        """Yield the caller's runs, newest first, without their outputs."""
        params: dict[str, Any] = {"limit": page_size}
        while True:
            answer = await self._transport.request("GET", "/runs", again=True, params=params)
            page = _decode_page(answer.content)
            for run in page.runs:
                yield run
            if page.next is None:
                return
            params["cursor"] = page.next

    async def cancel(self, run_id: str, *, reason: str | None = None) -> None:
        """Cancel a run; again is as well. Raises `APIError` (409 where it has ended otherwise, 404)."""
        params = {} if reason is None else {"reason": reason}
        await self._transport.request("DELETE", _path(run_id), again=True, params=params)

    async def events(self, run_id: str, *, from_sequence: int | str = 0) -> AsyncIterator[StreamEvent]:
        """Yield the run's events from ``from_sequence`` on, each once and in order, to the terminal one.

        ``from_sequence`` is a number, or ``<sequence>.<epoch>`` with the epoch of the event before.

        Connections that break, servers that go down, and pauses of the server's own are bridged: the
        next connection goes on behind the last event that was yielded. Where the server keeps events
        no more, a `GapEvent` says which are missing. Where it lost events and others took their place, the
        gap's ``first_available`` may be a sequence that was yielded before: the events from there on come
        as they are now. Heartbeats are not yielded. Raises `APIError` (404
        for a run that is unknown) and `ServerUnreachable` after ``patience`` seconds without a server.
        """
        first = Cursor.parse(str(from_sequence))
        seen = Cursor(max(first - 1, 0), first.epoch)
        patience = Patience(self._transport.patience)
        pause = 0.0
        while True:
            why = "the connection was closed"
            try:
                async with self._transport.sse(
                    "GET", f"{_path(run_id)}/events", silence=SILENCE_SECONDS, **_behind(seen)
                ) as source:
                    status = source.response.status_code
                    if status == 204:
                        return
                    if status != 200 and status not in AGAIN:
                        raise error_of(source.response)
                    if status == 200:
                        patience.reset()
                        async for event, place in _events(source, seen):
                            seen = place
                            yield event
                            if event.type in TERMINAL:
                                return
                    else:
                        why = str(error_of(source.response))
                        pause = retry_after(source.response)
            except httpx.TransportError as error:
                why = self._transport.describe(error)
            await patience.pause(why, at_least=pause)
            pause = 0.0


async def _events(source: httpx_sse.EventSource, seen: Cursor) -> AsyncIterator[tuple[StreamEvent, Cursor]]:
    """Yield what one connection brings of what was not seen yet, and the cursor behind it."""
    async for frame in source.aiter_sse():
        if not frame.data:
            continue
        event = decode_event(frame.data)
        if isinstance(event, HeartbeatEvent):
            continue
        if not event.sequence or event.sequence > seen:
            seen = _place(event, frame.id, seen)
            yield event, seen


def _place(event: Event, event_id: str, seen: Cursor) -> Cursor:
    """Return the cursor of what is behind us after an event.

    A gap may lead back: to where the log is another one than before, or to the end of a run that has ended
    before the cursor. It has no epoch; the event that follows it has.
    """
    if isinstance(event, GapEvent):
        return Cursor(event.first_available - 1)
    if not event.sequence:
        return seen
    epoch = event_id.partition(".")[2]  # of a frame without an id this is the last one's, as SSE has it
    return Cursor(event.sequence, epoch)


def _behind(seen: Cursor) -> dict[str, Any]:
    return {"headers": {"Last-Event-ID": seen.text}} if seen else {}


def _path(run_id: str) -> str:
    return f"/runs/{quote(run_id, safe='')}"
