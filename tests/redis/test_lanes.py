"""Commands to one server: when they are sent, and what becomes of them when connections fail."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import pytest
from redis.asyncio.connection import Connection

from dockrion_events import BackendUnavailable
from dockrion_events.bus.redis.lanes import CROWD, HANDFUL, Call, Lane
from dockrion_events.bus.redis.urls import UNNAMED

from ..servers.redis import RedisServer


class Odd(Connection):
    """A connection whose first attempts fail otherwise than redis-py's do."""

    failures = 0

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        if Odd.failures:
            Odd.failures -= 1
            raise ValueError("unforeseen")
        await super().connect(*args, **kwargs)


class Held(Connection):
    """A connection whose attempts wait, while there is something to wait for."""

    until: asyncio.Future[None] | None = None

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        if Held.until is not None:
            await asyncio.shield(Held.until)
        await super().connect(*args, **kwargs)


@asynccontextmanager
async def laned(
    port: int, *, size: int = 1, kind: type[Connection] = Connection, reply_seconds: float = 1.0
) -> AsyncIterator[tuple[Lane, Callable[..., asyncio.Future[Any]]]]:
    """A lane, and what sends a command on it."""
    loop = asyncio.get_running_loop()
    lane = Lane(
        lambda: kind(host="127.0.0.1", port=port, protocol=2, **UNNAMED),
        size,
        "here",
        reply_seconds=reply_seconds,
    )

    def ask(*parts: Any, seconds: float = 5.0) -> asyncio.Future[Any]:
        future = loop.create_future()
        lane.submit(Call(parts, future, loop.time() + seconds, None))
        return future

    try:
        async with asyncio.timeout(20):
            yield lane, ask
    finally:
        await lane.close()


def clients(server: RedisServer) -> int:
    """Return how many connections the server has, besides the one that asks."""
    return server.command("CLIENT", "LIST").count(b"id=") - 1


@pytest.mark.parametrize("failures", [2, 1000])
async def test_no_call_is_left_behind(redis_server: RedisServer, failures: int) -> None:
    Odd.failures = failures
    async with laned(redis_server.port, kind=Odd) as (_, ask):
        futures = [ask(b"PING", seconds=1.0) for _ in range(2)]
        if failures == 2:
            assert await asyncio.gather(*futures) == [b"PONG", b"PONG"]
        else:
            for future in futures:
                with pytest.raises(BackendUnavailable, match="here cannot be reached: unforeseen"):
                    await future


async def test_a_handful_is_sent_while_the_loop_is_still_busy(redis_server: RedisServer) -> None:
    async with laned(redis_server.port) as (_, ask):
        await ask(b"PING")
        await asyncio.sleep(0.01)
        futures = [ask(b"INCR", b"few") for _ in range(HANDFUL - 1)]
        for _ in range(20):
            assert redis_server.command("GET", "few") == b"$-1\r\n"  # they wait for the turn's end
        futures.append(ask(b"INCR", b"few"))
        deadline = time.monotonic() + 5
        while redis_server.command("GET", "few") != b"$1\r\n%d\r\n" % HANDFUL:
            assert time.monotonic() < deadline
        assert await asyncio.gather(*futures) == list(range(1, HANDFUL + 1))


async def test_calls_gather_while_a_round_trip_is_under_way_and_a_crowd_gets_another_connection(
    redis_server: RedisServer,
) -> None:
    async with laned(redis_server.port, size=3) as (_, ask):
        assert await asyncio.gather(*[ask(b"INCR", b"n") for _ in range(CROWD - 1)])
        assert clients(redis_server) == 1
        sent = [ask(b"INCR", b"n") for _ in range(10 * CROWD)]
        assert sorted(await asyncio.gather(*sent)) == list(range(CROWD, 11 * CROWD))
        assert clients(redis_server) == 2


@pytest.mark.parametrize("calls", [1, HANDFUL, 4 * CROWD])
async def test_connections_that_were_lost_at_rest_are_one_trouble(
    redis_server: RedisServer, calls: int
) -> None:
    async with laned(redis_server.port, size=3) as (lane, ask):
        while clients(redis_server) < 3:
            await asyncio.gather(*[ask(b"PING") for _ in range(4 * CROWD)])
        redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.1)
        assert lane.troubles == 0
        assert await asyncio.gather(*[ask(b"PING") for _ in range(calls)]) == [b"PONG"] * calls
        assert lane.troubles == 1


async def test_what_is_sent_again_is_sent_in_its_order(redis_server: RedisServer) -> None:
    async with laned(redis_server.port) as (lane, ask):
        await ask(b"PING")
        redis_server.pause()
        sent = [ask(b"RPUSH", b"list", number) for number in range(HANDFUL)]
        await asyncio.sleep(0.05)
        redis_server.restart()
        assert len(await asyncio.gather(*sent)) == HANDFUL
        assert lane.troubles >= 1
        numbers = [int(number) for number in await ask(b"LRANGE", b"list", 0, -1)]
        assert numbers[-HANDFUL:] == list(range(HANDFUL))


async def test_what_cannot_be_sent_is_its_callers_failure(redis_server: RedisServer) -> None:
    async with laned(redis_server.port) as (_, ask):
        answered = ask(b"PING")
        with pytest.raises(UnicodeEncodeError):
            ask(b"GET", "\ud800")
        assert await answered == b"PONG"


async def test_closing_fails_what_is_not_answered_or_hands_it_over(redis_server: RedisServer) -> None:
    async with laned(redis_server.port) as (lane, ask):
        await ask(b"PING")
        redis_server.pause()
        try:
            sent, waiting = ask(b"PING"), None
            await asyncio.sleep(0.05)
            waiting = ask(b"PING")
            await lane.close()
            for future in (sent, waiting, ask(b"PING")):
                with pytest.raises(BackendUnavailable, match="the connection to Redis at here is closed"):
                    await future
        finally:
            redis_server.resume()
    async with laned(redis_server.port) as (lane, ask), laned(redis_server.port) as (heir, _):
        await ask(b"PING")
        redis_server.pause()
        sent = ask(b"PING")
        await asyncio.sleep(0.05)
        lane.hand_over(heir.submit)
        await lane.close()
        redis_server.resume()
        assert await sent == b"PONG"
        assert await ask(b"PING") == b"PONG"


@pytest.fixture
def held() -> Iterator[Callable[[], asyncio.Future[None]]]:
    """Hold up all attempts to connect from now on, until the future that this gives is done."""

    def hold() -> asyncio.Future[None]:
        Held.until = asyncio.get_running_loop().create_future()
        return Held.until

    yield hold
    Held.until = None


@pytest.mark.parametrize("turns", range(8))
async def test_closing_leaves_nothing_when_connections_are_being_lost_and_made(
    redis_server: RedisServer, held: Any, turns: int
) -> None:
    async with laned(redis_server.port, size=2, kind=Held) as (lane, ask):
        await ask(b"PING")
        held()
        redis_server.pause()
        sent = ask(b"PING")
        await asyncio.sleep(0.01)
        waiting = ask(b"PING")
        await asyncio.sleep(0.01)  # another connection is being made for it
        redis_server.kill()
        for _ in range(turns):
            await asyncio.sleep(0)
        await lane.close()
        for future in (sent, waiting):
            with pytest.raises(BackendUnavailable):
                await future


async def test_closing_makes_no_connection(redis_server: RedisServer, held: Any) -> None:
    async with laned(redis_server.port, size=2, kind=Held) as (lane, ask):
        until = held()
        first = ask(b"PING")
        await asyncio.sleep(0.01)
        until.set_result(None)
        second = ask(b"PING")
        await lane.close()
        for future in (first, second):
            with pytest.raises(BackendUnavailable):
                await future
        await asyncio.sleep(0.1)
        assert clients(redis_server) == 0


async def test_closing_is_complete_though_it_is_cancelled(redis_server: RedisServer, held: Any) -> None:
    async with laned(redis_server.port, size=2, kind=Held) as (lane, ask):
        await ask(b"PING")
        held()
        redis_server.pause()
        try:
            sent = ask(b"PING")
            await asyncio.sleep(0.01)
            waiting = ask(b"PING")
            await asyncio.sleep(0.01)
            closing = asyncio.create_task(lane.close())
            await asyncio.sleep(0)
            closing.cancel()
            await asyncio.gather(closing, return_exceptions=True)
            for future in (sent, waiting):
                with pytest.raises(BackendUnavailable):
                    await future
        finally:
            redis_server.resume()


async def test_a_stuck_connection_holds_nobody_up_while_another_answers() -> None:
    stuck = asyncio.Event()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        mute = not stuck.is_set()  # the first
        stuck.set()
        answered = 0
        while data := await reader.read(65536):
            if not mute or not answered:
                writer.write(b"+PONG\r\n" * data.count(b"PING"))
            answered += 1
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, laned(port, size=3, reply_seconds=3.0) as (_, ask):
        await ask(b"PING")
        late = ask(b"PING")
        await asyncio.sleep(0.01)
        began = time.monotonic()
        for _ in range(20):
            await ask(b"PING")
            await asyncio.sleep(0)  # the connection rests again, and the stuck one is on its way still
        assert time.monotonic() - began < 1.0
        assert not late.done()
        assert await late == b"PONG"


@pytest.mark.parametrize("closed", ["at once", "afterwards"])
@pytest.mark.parametrize("seed", [1, 2])
async def test_each_call_gets_its_own_reply_or_fails_in_time_whatever_the_server_does(
    seed: int, closed: str
) -> None:
    chance = random.Random(seed)
    loop = asyncio.get_running_loop()
    talks: list[asyncio.Task[Any]] = []

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        talks.append(asyncio.current_task())  # type: ignore[arg-type]
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"ECHO\r\n")
                length = int((await reader.readline())[1:])
                word = await reader.readexactly(length + 2)
                fate = chance.random()
                if fate < 0.001:
                    break  # the connection is lost
                if fate < 0.0015:
                    await asyncio.sleep(0.4)  # longer than a reply may take
                if fate < 0.01:
                    writer.write(b"-LOADING for a moment\r\n")
                    continue
                reply = b"$%d\r\n%b" % (length, word)
                if fate < 0.1:
                    cut = chance.randrange(len(reply))
                    writer.write(reply[:cut])
                    await asyncio.sleep(0)
                    reply = reply[cut:]
                writer.write(reply)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked: dict[bytes, asyncio.Future[Any]] = {}
    late: list[float] = []
    async with server, laned(port, size=4, reply_seconds=0.2) as (lane, ask):
        for number in range(300):
            for each in range(chance.choice((1, 1, 3, HANDFUL, 3 * CROWD))):
                word = b"%d.%d" % (number, each)
                future = asked[word] = ask(b"ECHO", word, seconds=1.0)
                due = loop.time() + 1.0
                future.add_done_callback(lambda _, due=due: late.append(loop.time() - due))
                if chance.random() < 0.01:
                    future.cancel()
            await asyncio.sleep(chance.choice((0, 0, 0.001, 0.004)))
        if closed == "afterwards":
            await asyncio.wait(asked.values(), timeout=5.0)
        await lane.close()
        replies = await asyncio.gather(*asked.values(), return_exceptions=True)
        await asyncio.gather(*talks)
    told = [(word, reply) for word, reply in zip(asked, replies, strict=True) if isinstance(reply, bytes)]
    assert all(word == reply for word, reply in told)
    rest = [reply for reply in replies if not isinstance(reply, bytes)]
    assert all(isinstance(reply, BackendUnavailable | asyncio.CancelledError) for reply in rest)
    assert max(late) < 1.0
    if closed == "afterwards":
        assert len(told) > 100
        assert lane.troubles > 0
