"""A connection in use, before a server that misbehaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis.asyncio.connection import Connection
from redis.exceptions import ConnectionError as LinkBroken
from redis.exceptions import InvalidResponse, ResponseError

from dockrion_events.bus.redis.link import Link
from dockrion_events.bus.redis.urls import UNNAMED

PATIENCE = 0.3


@asynccontextmanager
async def connected(answer: Callable[[bytes], bytes]) -> AsyncIterator[Connection]:
    """A connection to a server that sends what ``answer`` makes of each piece that comes."""
    talks: list[asyncio.Task[None]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                if not (reply := answer(data)):
                    continue
                if reply == b"bye":
                    break
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    connection = Connection(host="127.0.0.1", port=port, protocol=2, **UNNAMED)
    await connection.connect()
    try:
        yield connection
    finally:
        await connection.disconnect(nowait=True)
        await asyncio.gather(*talks)
        server.close()
        await server.wait_closed()


@asynccontextmanager
async def linked(answer: Callable[[bytes], bytes]) -> AsyncIterator[Link]:
    """A link over such a connection."""
    async with connected(answer) as connection:
        link = Link(connection, PATIENCE)
        try:
            yield link
        finally:
            link.close()


async def exchange(link: Link, replies: int) -> list[Any]:
    got: list[Any] = []
    async with asyncio.timeout(10):
        await link.exchange([b"X"], replies, got.append)
    return got


async def test_each_reply_is_handed_out_in_order_and_error_replies_are_values() -> None:
    async with linked(lambda _: b"+one\r\n-ERR two\r\n:3\r\n$-1\r\n") as link:
        for _ in range(2):
            one, two, three, nothing = await exchange(link, 4)
            assert (one, three, nothing) == (b"one", 3, None)
            assert isinstance(two, ResponseError)
        assert link.broken is None


async def test_what_cannot_be_written_breaks_it(monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def __init__(self, transport: Any) -> None:
            self.abort = transport.abort

        def writelines(self, _: object) -> None:
            raise MemoryError

    async with linked(lambda _: b"+one\r\n") as link:
        monkeypatch.setattr(link, "_transport", Full(link._transport))
        with pytest.raises(MemoryError):
            await exchange(link, 1)
        assert isinstance(link.broken, MemoryError)


async def test_a_reply_in_pieces_is_one_reply() -> None:
    pieces = iter([b"$5\r\nhe", b"llo\r\n"])
    async with linked(lambda _: next(pieces)) as link:
        got: list[Any] = []
        answered = link.exchange([b"X"], 1, got.append)
        await asyncio.sleep(0.05)
        assert not answered.done()
        link._transport.write(b"more")
        await answered
        assert got == [b"hello"]


@pytest.mark.parametrize(
    ("reply", "failure"),
    [
        (b"+yes\r\n+and more\r\n", LinkBroken),  # nobody has asked for the second
        (b"?\r\n", InvalidResponse),
        (b"bye", LinkBroken),
        (b"", TimeoutError),
    ],
)
async def test_a_server_that_misbehaves_breaks_the_link(reply: bytes, failure: type[Exception]) -> None:
    async with linked(lambda _: reply) as link:
        for _ in range(2):
            with pytest.raises(failure):
                await exchange(link, 1)
            assert isinstance(link.broken, failure)


async def test_a_server_that_answers_slowly_but_steadily_has_all_the_time_it_needs() -> None:
    async with linked(lambda _: b"+one\r\n") as link:
        got: list[Any] = []
        answered = link.exchange([b"X"], 4, got.append)
        for _ in range(3):
            await asyncio.sleep(PATIENCE * 0.7)
            link._transport.write(b"more")
        await answered
        assert len(got) == 4


async def test_what_a_taker_raises_breaks_the_link() -> None:
    def refuse(_: Any) -> None:
        raise LinkBroken("of no use")

    async with linked(lambda _: b"+one\r\n") as link:
        with pytest.raises(LinkBroken, match="of no use"):
            await link.exchange([b"X"], 1, refuse)
        assert link.broken is not None


async def test_a_connection_that_was_lost_before_is_broken_from_the_start() -> None:
    async with connected(lambda _: b"+one\r\n") as connection:
        Link(connection, PATIENCE).close()
        link = Link(connection, PATIENCE)
        with pytest.raises(LinkBroken, match="before it was used"):
            await exchange(link, 1)
