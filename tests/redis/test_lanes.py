"""Commands to one server: when they are sent, and what becomes of them when connections fail."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.asyncio.connection import Connection

from dockrion_events import BackendUnavailable
from dockrion_events.bus.redis.lanes import CROWD, HANDFUL, Call, Lane

from ..servers.redis import RedisServer


class Odd(Connection):
    """A connection whose first attempts fail otherwise than redis-py's do."""

    failures = 0

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        if Odd.failures:
            Odd.failures -= 1
            raise ValueError("unforeseen")
        await super().connect(*args, **kwargs)


@asynccontextmanager
async def laned(
    server: RedisServer, *, size: int = 1, kind: type[Connection] = Connection
) -> AsyncIterator[tuple[Lane, Callable[..., asyncio.Future[Any]]]]:
    """A lane, and what sends a command on it."""
    loop = asyncio.get_running_loop()
    lane = Lane(
        lambda: kind(host="127.0.0.1", port=server.port, protocol=2, driver_info=None),
        size,
        "here",
        reply_seconds=1.0,
    )

    def ask(*parts: Any, seconds: float = 5.0) -> asyncio.Future[Any]:
        future = loop.create_future()
        lane.submit(Call(parts, future, loop.time() + seconds, None))
        return future

    try:
        async with asyncio.timeout(10):
            yield lane, ask
    finally:
        await lane.close()


def clients(server: RedisServer) -> int:
    """Return how many connections the server has, besides the one that asks."""
    return server.command("CLIENT", "LIST").count(b"id=") - 1


@pytest.mark.parametrize("failures", [2, 1000])
async def test_no_call_is_left_behind(redis_server: RedisServer, failures: int) -> None:
    Odd.failures = failures
    async with laned(redis_server, kind=Odd) as (_, ask):
        futures = [ask(b"PING", seconds=1.0) for _ in range(2)]
        if failures == 2:
            assert await asyncio.gather(*futures) == [b"PONG", b"PONG"]
        else:
            for future in futures:
                with pytest.raises(BackendUnavailable, match="here cannot be reached: unforeseen"):
                    await future


async def test_a_handful_is_sent_while_the_loop_is_still_busy(redis_server: RedisServer) -> None:
    async with laned(redis_server) as (_, ask):
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
    async with laned(redis_server, size=3) as (_, ask):
        assert await asyncio.gather(*[ask(b"INCR", b"n") for _ in range(CROWD - 1)])
        assert clients(redis_server) == 1
        sent = [ask(b"INCR", b"n") for _ in range(10 * CROWD)]
        assert sorted(await asyncio.gather(*sent)) == list(range(CROWD, 11 * CROWD))
        assert clients(redis_server) == 2


@pytest.mark.parametrize("calls", [1, HANDFUL, 4 * CROWD])
async def test_connections_that_were_lost_at_rest_are_one_trouble(
    redis_server: RedisServer, calls: int
) -> None:
    async with laned(redis_server, size=3) as (lane, ask):
        while clients(redis_server) < 3:
            await asyncio.gather(*[ask(b"PING") for _ in range(4 * CROWD)])
        redis_server.command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
        await asyncio.sleep(0.1)
        assert lane.troubles == 0
        assert await asyncio.gather(*[ask(b"PING") for _ in range(calls)]) == [b"PONG"] * calls
        assert lane.troubles == 1


async def test_what_is_sent_again_is_sent_in_its_order(redis_server: RedisServer) -> None:
    async with laned(redis_server) as (lane, ask):
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
    async with laned(redis_server) as (_, ask):
        answered = ask(b"PING")
        with pytest.raises(UnicodeEncodeError):
            ask(b"GET", "\ud800")
        assert await answered == b"PONG"


async def test_closing_fails_what_is_not_answered_or_hands_it_over(redis_server: RedisServer) -> None:
    async with laned(redis_server) as (lane, ask):
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
    async with laned(redis_server) as (lane, ask), laned(redis_server) as (heir, _):
        await ask(b"PING")
        redis_server.pause()
        sent = ask(b"PING")
        await asyncio.sleep(0.05)
        lane.hand_over(heir.submit)
        await lane.close()
        redis_server.resume()
        assert await sent == b"PONG"
        assert await ask(b"PING") == b"PONG"
