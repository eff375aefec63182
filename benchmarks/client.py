"""The client: keeps what it reads as it came, and looks into it only when the clock has stopped."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Final

import msgspec

END_OF_BODY: Final = b"0\r\n\r\n"
RESPONSE_SECONDS: Final = 60.0


class WrongStream(Exception):
    """A response that is not what it has to be; its speed means nothing."""


class Seen(msgspec.Struct):
    """What the benchmark reads of an event."""

    type: str
    sequence: int
    content: str = ""


class Connection(asyncio.Protocol):
    """One HTTP/1.1 connection that is kept open, one request at a time."""

    def __init__(self) -> None:
        self._transport: Any = None
        self._reads: list[bytes] = []
        self._times: list[int] | None = None
        self._streamed = True
        self._due = 0
        self._first: asyncio.Future[None] | None = None
        self._done: asyncio.Future[None] | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(cls, "127.0.0.1", port)
        return connection

    def send(
        self, path: str, body: bytes, *, streamed: bool = True, timed: bool = False, method: str = "POST"
    ) -> None:
        """Send a request; its response is chunked where ``streamed``, else has a length."""
        loop = asyncio.get_running_loop()
        self._reads, self._times = [], [] if timed else None
        self._streamed, self._due = streamed, 0
        self._first, self._done = loop.create_future(), loop.create_future()
        head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        self._transport.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)

    async def first_bytes(self) -> None:
        """Return when the response has begun."""
        assert self._first is not None
        await self._first

    async def reads(self) -> tuple[list[bytes], list[int] | None]:
        """Return all that was read, and when, as soon as the response is complete."""
        assert self._done is not None
        await self._done
        return self._reads, self._times

    async def response(self) -> Response:
        """Return the response when all of it is there."""
        return Response(*await self.reads())

    def close(self) -> None:
        self._transport.close()

    # -- the transport's calls -----------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if self._times is not None:
            self._times.append(time.monotonic_ns())
        reads = self._reads
        reads.append(data)
        assert self._done is not None
        assert self._first is not None
        if len(reads) == 1:
            self._first.set_result(None)
        if self._streamed:
            tail = data if len(data) >= len(END_OF_BODY) else b"".join(reads[-len(END_OF_BODY) :])
            ended = tail.endswith(END_OF_BODY)
        else:
            ended = self._length_reached()
        if ended:
            self._done.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        if self._done is not None and not self._done.done():
            lost = WrongStream(f"the server closed the connection in mid-response: {error!r}")
            self._done.set_exception(lost)
            if self._first is not None and not self._first.done():
                self._first.set_result(None)

    def _length_reached(self) -> bool:
        got = sum(map(len, self._reads))
        if not self._due:
            head, end, _ = b"".join(self._reads).partition(b"\r\n\r\n")
            if not end:
                return False
            length = head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0]
            self._due = len(head) + len(end) + int(length)
        return got >= self._due


class Response:
    """A whole response. Everything here is done after the measuring."""

    def __init__(self, reads: Sequence[bytes], times: Sequence[int] | None) -> None:
        self._raw = b"".join(reads)
        self._times = times
        self._read_ends = list(accumulate(map(len, reads))) if times is not None else []
        head, _, _ = self._raw.partition(b"\r\n\r\n")
        if not head.startswith((b"HTTP/1.1 200 ", b"HTTP/1.1 202 ")):
            raise WrongStream(f"the response is {self._raw[:300]!r}")
        self._body_at = len(head) + 4

    def json(self) -> Any:
        """Return the value of a body that has a length."""
        return msgspec.json.decode(self._raw[self._body_at :])

    def chunks(self) -> list[tuple[int, bytes]]:
        """Return the chunks of a chunked body, each with its place among all that was read."""
        raw, at = self._raw, self._body_at
        chunks: list[tuple[int, bytes]] = []
        while True:
            line_end = raw.index(b"\r\n", at)
            size = int(raw[at:line_end], 16)
            start = line_end + 2
            if not size:
                return chunks
            chunks.append((start, raw[start : start + size]))
            at = start + size + 2

    def frames(self) -> list[bytes]:
        """Return the frames of the stream, without comments."""
        frames = b"".join(chunk for _, chunk in self.chunks()).split(b"\n\n")
        if frames.pop():
            raise WrongStream("the stream ends in mid-frame")
        return [frame for frame in frames if not frame.startswith(b":")]

    def events(self, *, tokens: int, others: int = 0) -> list[Seen]:
        """Return all events, having made sure that these are all.

        ``started`` first, ``complete`` last, numbers from 1 without a hole, ``tokens`` tokens and
        ``others`` events besides. Raises `WrongStream`.
        """
        events = [_seen(frame) for frame in self.frames()]
        kinds = [event.type for event in events]
        if not events or kinds[0] != "started" or kinds[-1] != "complete":
            raise WrongStream(f"a stream of {kinds[:1]} … {kinds[-1:]}: {self.frames()[-1:]}")
        if [event.sequence for event in events] != list(range(1, len(events) + 1)):
            raise WrongStream("the numbers of the stream have holes")
        counted = sum(event.type == "token" and event.content != "" for event in events)
        if counted != tokens or len(events) != tokens + others + 2:
            raise WrongStream(
                f"{tokens} tokens and {others} others were due; {counted} of {len(events)} came"
            )
        if "complete" in kinds[:-1] or "started" in kinds[1:]:
            raise WrongStream("the stream begins or ends more than once")
        return events

    def arrivals(self) -> list[int]:
        """Return when the last byte of each frame was read, in nanoseconds of the monotonic clock."""
        assert self._times is not None
        arrived = []
        open_frame = b""
        for start, chunk in self.chunks():
            text = open_frame + chunk
            offset = start - len(open_frame)
            at = 0
            while (end := text.find(b"\n\n", at)) >= 0:
                if not text.startswith(b":", at):
                    arrived.append(self._times[bisect_left(self._read_ends, offset + end + 2)])
                at = end + 2
            open_frame = text[at:]
        return arrived


_decode = msgspec.json.Decoder(Seen).decode


def _seen(frame: bytes) -> Seen:
    name, data, *number = frame.split(b"\n")  # only the frames of a run have a number
    event = _decode(data.removeprefix(b"data: "))
    if number and number != [b"id: %d" % event.sequence]:
        raise WrongStream(f"the frame {frame!r} has another number than its event")
    if name != b"event: " + event.type.encode():
        raise WrongStream(f"the frame {frame!r} is named otherwise than its event")
    return event


async def ask(connection: Connection, path: str, body: bytes, **options: Any) -> Response:
    """Send a request and return its whole response."""
    connection.send(path, body, **options)
    return await connection.response()


@dataclass(frozen=True)
class Load:
    """What a number of requests took, their responses, and the client's own share of its core."""

    seconds: float
    client_busy: float
    responses: list[Response]


async def ask_all(connections: Sequence[Connection], path: str, body: bytes, runs: int) -> Load:
    """Send the request on all connections at once, ``runs`` times one after the other on each."""

    async def one(connection: Connection) -> list[Any]:
        reads = []
        for _ in range(runs):
            connection.send(path, body)
            reads.append(await connection.reads())
        return reads

    cpu, began = time.process_time(), time.perf_counter()
    async with asyncio.timeout(RESPONSE_SECONDS):
        read = await asyncio.gather(*map(one, connections))
    seconds = time.perf_counter() - began
    busy = (time.process_time() - cpu) / seconds
    return Load(seconds, busy, [Response(*reads) for several in read for reads in several])
