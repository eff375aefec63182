"""A stream of events as Server-Sent Events, in a web application of one's own."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterable, AsyncIterator
from typing import TYPE_CHECKING, Any, Final

import msgspec

from dockrion_adapters import AgentFailed
from dockrion_events import (
    TERMINAL,
    EncodedEvent,
    ErrorEvent,
    Event,
    encode_json,
    sse_comment,
    sse_frame,
)

from .operators.base import closing
from .operators.timing import Reader

if TYPE_CHECKING:

    class Base:
        """Starlette's ``Response`` where that is installed: FastAPI makes JSON of all else."""

        def __init__(self, *_: Any, **__: Any) -> None: ...

else:
    try:
        from starlette.responses import Response as Base
    except ImportError:

        class Base:
            def __init__(self, *_, **__) -> None: ...


log: logging.Logger = logging.getLogger("dockrion_sdk")

HEADERS: Final = {
    # A proxy that compresses or collects the response would hold events back to its end.
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
    "x-content-type-options": "nosniff",
}


class _Envelope(msgspec.Struct):
    type: str
    sequence: int = 0
    request_id: str | None = None
    run_id: str | None = None


_envelope = msgspec.json.Decoder(_Envelope).decode


async def as_sse(events: AsyncIterable[Event | str], *, heartbeat: float = 15.0) -> AsyncIterator[bytes]:
    r"""Yield each event as a frame ``event: <type>\ndata: <json>\n\n``; a comment after silence.

    Takes event objects or, from a stream with ``serialize=True``, their JSON. ``heartbeat`` is in seconds.
    What the stream raises is raised: a program that wants an ``error`` event makes one of it. Leaving the
    iterator closes the stream, which stops its agent.
    """
    async with Reader(aiter(events)) as reader:
        while (event := await reader.next(heartbeat)) is not reader.END:
            yield sse_comment("heartbeat") if event is None else _frame(event)


def _frame(event: Event | str) -> bytes:
    if isinstance(event, str):
        return sse_frame(EncodedEvent(_envelope(event).type, event.encode()))
    return sse_frame(EncodedEvent(event.type, encode_json(event)))


class EventStreamResponse(Base):
    """An ASGI response that sends a stream of events, for a route of FastAPI, Starlette or Litestar.

    Sends as `as_sse` yields. A reader that leaves closes the stream, which stops its agent. Where the stream
    raises, an ``error`` event is the last one sent, as by a server: with the code ``AGENT_ERROR`` and the
    type of the exception. Its text, which may hold secrets, goes to the log only.
    """

    media_type: str = "text/event-stream"
    background: None = None

    def __init__(self, events: AsyncIterable[Event | str], *, heartbeat: float = 15.0) -> None:
        super().__init__(None, media_type=self.media_type, headers=HEADERS)
        self._frames = as_sse(_with_error(events), heartbeat=heartbeat)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        sending = asyncio.ensure_future(self._send(send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            await asyncio.wait((sending, leaving), return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            if not sending.done():
                sending.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)
        if not sending.cancelled():
            sending.result()

    async def _send(self, send: Any) -> None:
        headers = [(b"content-type", self.media_type.encode())]
        headers += [(name.encode(), value.encode()) for name, value in HEADERS.items()]
        async with closing(self._frames) as frames:
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            async for frame in frames:
                await send({"type": "http.response.body", "body": frame, "more_body": True})
                await asyncio.sleep(0)  # a server's send may return at once when the reader is gone
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _with_error(events: AsyncIterable[Event | str]) -> AsyncIterator[Event | str]:
    """Yield events; where the stream raises, an error event in place of the exception."""
    last: Event | str | None = None
    iterator = aiter(events)
    try:
        async for last in iterator:
            yield last
    except (Exception, BaseExceptionGroup, SystemExit) as error:
        log.exception("the stream of a response has failed")
        before = _envelope(last) if isinstance(last, str) else last
        if before is None or before.type not in TERMINAL:
            yield _failure(error, before)
    finally:
        close = getattr(iterator, "aclose", None)
        if close is not None:
            await close()


def _failure(error: BaseException, before: Event | _Envelope | None) -> ErrorEvent:
    kind = type(error).__name__
    event = ErrorEvent(kind, "AGENT_ERROR", {"exception": kind})
    if isinstance(error, AgentFailed):  # what it says was meant for whoever reads the stream
        event = ErrorEvent(str(error), error.code, error.details)
    if before is not None:
        event.request_id, event.run_id = before.request_id, before.run_id
    event.sequence = 1 if before is None else before.sequence + 1
    return event


async def _left(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
