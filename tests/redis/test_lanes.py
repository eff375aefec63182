"""Commands to one server, where connecting fails in ways that nobody has foreseen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from redis.asyncio.connection import Connection

from dockrion_events import BackendUnavailable
from dockrion_events.bus.redis.lanes import Call, Lane

from ..servers.redis import RedisServer


class Odd(Connection):
    """A connection whose first attempts fail otherwise than redis-py's do."""

    failures = 0

    async def connect(self, *args: Any, **kwargs: Any) -> None:
        if Odd.failures:
            Odd.failures -= 1
            raise ValueError("unforeseen")
        await super().connect(*args, **kwargs)


@pytest.mark.parametrize("failures", [2, 1000])
async def test_no_call_is_left_behind(redis_server: RedisServer, failures: int) -> None:
    Odd.failures = failures
    lane = Lane(
        lambda: Odd(host="127.0.0.1", port=redis_server.port, protocol=2, driver_info=None),
        1,
        "here",
        reply_seconds=1.0,
    )
    loop = asyncio.get_running_loop()
    try:
        futures = [loop.create_future() for _ in range(2)]
        for future in futures:
            lane.submit(Call((b"PING",), future, loop.time() + 1.0, None))
        async with asyncio.timeout(5):
            if failures == 2:
                assert await asyncio.gather(*futures) == [b"PONG", b"PONG"]
            else:
                for future in futures:
                    with pytest.raises(BackendUnavailable, match="here cannot be reached: unforeseen"):
                        await future
    finally:
        await lane.close()
