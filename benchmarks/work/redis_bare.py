"""The yardstick: redis-py by itself, with one Lua script that appends a batch, and XREAD.

What one would write by hand for this one purpose: no claims, no fencing, no record, nothing is recognised
when it is sent twice, one reader with a connection of its own.
"""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis

from .events import batches

APPEND = """
local first = tonumber(ARGV[1])
for at = 2, #ARGV, 2 do
  redis.call('XADD', KEYS[1], string.format('%d-0', first + at / 2 - 1), 't', ARGV[at], 'j', ARGV[at + 1])
end
redis.call('PEXPIRE', KEYS[1], 10000)
return 1
"""
COUNT = 512

_client: Redis
_sha = ""


async def connect(*, url: str) -> None:
    global _client, _sha
    _client = Redis.from_url(url, protocol=3)
    _client.response_callbacks.pop("XREAD", None)  # the reply as it comes, without a dict an entry
    _sha = await _client.script_load(APPEND)


async def append_burst(*, key: str, events: int, size: int) -> float:
    made = batches(events, size)
    began = time.monotonic()
    for batch in made:
        arguments: list[Any] = [batch[0].sequence]
        for event in batch:
            arguments += (event.type, event.json)
        pipeline = _client.pipeline(transaction=False)
        pipeline.evalsha(_sha, 1, key, *arguments)
        await pipeline.execute()
    return began


async def read_burst(*, key: str, events: int) -> float:
    read: list[Any] = []
    last: Any = "0-0"
    ended = False
    while not ended:
        reply = await _client.xread({key: last}, count=COUNT, block=1000)
        for part in reply.values():
            read.append(part)
            last, fields = part[-1]
            ended = fields[1] == b"complete"
    moment = time.monotonic()
    ids = [entry for part in read for entry, _ in part]
    if ids != [b"%d-0" % number for number in range(1, events + 1)]:
        raise RuntimeError(f"{events} events were due, and {len(ids)} came")
    return moment
