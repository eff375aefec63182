"""The yardstick: an ASGI app that encodes and sends the same frames, and is nothing besides.

What one would write by hand for this one purpose: no framework, no validation, no queue between the
source and the response, no time limits, no look-out for a client that leaves.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime
from typing import Any, Final

import msgspec

CHUNK_BYTES: Final = 64 * 1024
TEXT: Final = "lorem "
HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]

encode = msgspec.json.Encoder().encode


class Started(msgspec.Struct, tag_field="type", tag="started"):
    agent_name: str
    framework: str
    timestamp: datetime
    request_id: str
    sequence: int


class Token(msgspec.Struct, tag_field="type", tag="token"):
    content: str
    timestamp: datetime
    request_id: str
    sequence: int


class Complete(msgspec.Struct, tag_field="type", tag="complete"):
    output: Any
    latency_seconds: float
    metadata: dict[str, Any]
    timestamp: datetime
    request_id: str
    sequence: int


async def app(scope: Any, receive: Any, send: Any) -> None:
    """Serve ``POST /burst``, ``/one_by_one`` and ``/by_the_clock``, and ``GET /ready``."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
        return
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            break
    if scope["path"] == "/ready":
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"{}", "more_body": False})
        return
    payload = msgspec.json.decode(body)
    await send({"type": "http.response.start", "status": 200, "headers": HEADERS})
    await STREAMS[scope["path"]](send, payload)
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def burst(send: Any, payload: dict[str, Any]) -> None:
    """All frames that are ready leave in one send, of at most about 64 KiB."""
    request_id = str(uuid.uuid4())
    began = time.monotonic()
    frames = [started(request_id)]
    size = len(frames[0])
    for sequence in range(2, payload["tokens"] + 2):
        frame = token(TEXT, request_id, sequence)
        frames.append(frame)
        size += len(frame)
        if size >= CHUNK_BYTES:
            await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})
            frames = []
            size = 0
    frames.append(complete(payload, began, request_id))
    await send({"type": "http.response.body", "body": b"".join(frames), "more_body": True})


async def one_by_one(send: Any, payload: dict[str, Any]) -> None:
    """One frame per send, and the loop gets its turn after each."""
    request_id = str(uuid.uuid4())
    began = time.monotonic()
    await send({"type": "http.response.body", "body": started(request_id), "more_body": True})
    for sequence in range(2, payload["tokens"] + 2):
        frame = token(TEXT, request_id, sequence)
        await send({"type": "http.response.body", "body": frame, "more_body": True})
        await asyncio.sleep(0)
    frame = complete(payload, began, request_id)
    await send({"type": "http.response.body", "body": frame, "more_body": True})


async def by_the_clock(send: Any, payload: dict[str, Any]) -> None:
    """One token every ``interval`` seconds from ``start`` on; a token's text is when it was made."""
    request_id = str(uuid.uuid4())
    began = time.monotonic()
    start, interval = payload["start"], payload["interval"]
    await send({"type": "http.response.body", "body": started(request_id), "more_body": True})
    for number in range(payload["tokens"]):
        await asyncio.sleep(start + number * interval - time.monotonic())
        frame = token(str(time.monotonic_ns()), request_id, number + 2)
        await send({"type": "http.response.body", "body": frame, "more_body": True})
    frame = complete(payload, began, request_id)
    await send({"type": "http.response.body", "body": frame, "more_body": True})


STREAMS: Final = {"/burst": burst, "/one_by_one": one_by_one, "/by_the_clock": by_the_clock}


def started(request_id: str) -> bytes:
    return b"event: started\ndata: %b\n\n" % encode(
        Started("bench", "handler", datetime.now(UTC), request_id, 1)
    )


def token(text: str, request_id: str, sequence: int) -> bytes:
    return b"event: token\ndata: %b\n\n" % encode(Token(text, datetime.now(UTC), request_id, sequence))


def complete(payload: dict[str, Any], began: float, request_id: str) -> bytes:
    output = {"tokens": payload["tokens"]}
    latency = time.monotonic() - began
    sequence = payload["tokens"] + 2
    return b"event: complete\ndata: %b\n\n" % encode(
        Complete(output, latency, {}, datetime.now(UTC), request_id, sequence)
    )


async def _lifespan(receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await send({"type": "lifespan.shutdown.complete"})
