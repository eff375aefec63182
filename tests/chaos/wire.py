"""A small HTTP client that sees what others hide: clean ends of bodies, and each frame's own bytes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from dockrion_events.cursor import Cursor, epoch_of

PATIENCE = 10.0
BROKEN = (OSError, EOFError, TimeoutError)
"""What a connection raises that was refused, cut in the middle, or silent for too long."""


class Answer(NamedTuple):
    """A response that was read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Frame(NamedTuple):
    """One frame of an event stream; ``data`` is None for comments and for ``retry:``."""

    event: str
    data: bytes | None
    id: int | None
    retry: int | None

    def json(self) -> Any:
        return json.loads(self.data or b"null")


class Response:
    """A response whose body comes bit by bit."""

    def __init__(self, status: int, headers: dict[str, str], reader: asyncio.StreamReader) -> None:
        self.status = status
        self.headers = headers
        self._reader = reader

    async def parts(self, silence: float) -> AsyncIterator[bytes]:
        """Yield the body as it comes. Raises one of `BROKEN` where it stops before its end."""
        reader = self._reader
        if self.headers.get("transfer-encoding") != "chunked":
            length = int(self.headers.get("content-length", 0))
            yield await asyncio.wait_for(reader.readexactly(length), silence)
            return
        while True:
            async with asyncio.timeout(silence):
                size = int(await reader.readuntil(b"\r\n"), 16)
                part = (await reader.readexactly(size + 2))[:-2]
            if not part:
                return
            yield part

    async def frames(self, silence: float = PATIENCE) -> AsyncIterator[Frame]:
        """Yield the frames that are complete, as they come."""
        rest = b""
        async for part in self.parts(silence):
            *whole, rest = (rest + part).split(b"\n\n")
            for text in whole:
                yield _frame(text)
        assert not rest, f"the body ended cleanly within a frame: {rest!r}"


def _frame(text: bytes) -> Frame:
    fields: dict[bytes, bytes] = {}
    for line in text.split(b"\n"):
        name, _, value = line.partition(b": ")
        fields[name] = value
    last_id, retry = fields.get(b"id"), fields.get(b"retry")
    return Frame(
        fields.get(b"event", b"").decode(),
        fields.get(b"data"),
        None if last_id is None else Cursor.parse(last_id.decode()),
        None if retry is None else int(retry),
    )


@asynccontextmanager
async def request(
    port: int,
    method: str,
    path: str,
    *,
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[Response]:
    """Send a request on a connection of its own; yields when the response has begun."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(patience):
            reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 20)
            writer.write(_packed(method, path, body, headers or {}))
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        named = (line.split(":", 1) for line in head[1:] if line)
        fields = {name.lower(): value.strip() for name, value in named}
        yield Response(int(head[0].split()[1]), fields, reader)
    finally:
        if writer is not None:
            writer.transport.abort()


def _packed(method: str, path: str, body: Any, headers: Mapping[str, str]) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    fields = {"Host": "localhost", "Connection": "close", "Content-Length": str(len(data)), **headers}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items()), "", ""]
    return "\r\n".join(lines).encode() + data


async def ask(port: int, method: str, path: str, *, patience: float = PATIENCE, **options: Any) -> Answer:
    """Send a request and read the whole answer. Raises one of `BROKEN`."""
    async with request(port, method, path, patience=patience, **options) as response:
        body = b"".join([part async for part in response.parts(patience)])
        return Answer(response.status, response.headers, body)


@asynccontextmanager
async def followed(
    port: int,
    run_id: str,
    after: int = 0,
    *,
    headers: Mapping[str, str] | None = None,
    patience: float = PATIENCE,
) -> AsyncIterator[Response]:
    """Follow a run from behind a sequence, or from behind a frame's id."""
    fields = {**(headers or {}), **({"Last-Event-ID": Cursor(after, epoch_of(after)).text} if after else {})}
    path = f"/runs/{run_id}/events"
    async with request(port, "GET", path, headers=fields, patience=patience) as response:
        yield response
