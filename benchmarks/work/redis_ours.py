"""The Redis backend: one process appends, another follows."""

from __future__ import annotations

import asyncio
import statistics
import time
from typing import Any

from dockrion_events import EncodedEvent
from dockrion_events.bus import Claim, Follower
from dockrion_events.bus.redis import RedisBackend

from .events import batches, event, timed

SUBSCRIBED_SECONDS = 0.1
"""How long subscriptions get before the first append."""

_backend: RedisBackend
_claims: list[Claim] = []
_followers: list[Follower] = []


async def connect(*, url: str) -> None:
    global _backend
    _backend = RedisBackend(url, prefix="bench:", max_events_per_run=1_000_000, stream_ttl_seconds=1)
    await _backend.open()


async def make(*, keys: list[str]) -> None:
    """Open runs, to append to them."""
    _claims[:] = [await _backend.open_run(key, owner="", request=b"{}") for key in keys]


async def follow(*, keys: list[str], each: int = 1) -> None:
    _followers[:] = [await _backend.follow(key, after=0) for key in keys for _ in range(each)]
    await asyncio.sleep(SUBSCRIBED_SECONDS)


async def append_burst(*, events: int, size: int) -> float:
    """Append to the one run as fast as it goes; return the moment of the beginning."""
    made = batches(events, size)
    began = time.monotonic()
    for batch in made:
        await _backend.append(_claims[0], batch)
    return began


async def read_burst(*, events: int) -> float:
    """Read to the end with every follower; return the moment of the end."""
    read = await asyncio.gather(*map(_whole, _followers))
    ended = time.monotonic()
    for batches_read in read:
        sequences = [one.sequence for batch in batches_read for one in batch]
        if sequences != list(range(1, events + 1)):
            raise RuntimeError(f"{events} events were due, and {len(sequences)} came")
    return ended


async def _whole(follower: Follower) -> list[list[EncodedEvent]]:
    read = []
    while batch := await follower.next_batch():
        read.append(batch)
    return read


async def append_by_the_clock(*, rate: int, events: int, start: float) -> None:
    """Append single events, ``rate`` a second in all, to all runs in turn; end each run with one more."""
    claims = _claims
    for number in range(events):
        due = start + number / rate - time.monotonic()
        if due > 0:
            await asyncio.sleep(due)
        turn, which = divmod(number, len(claims))
        await _backend.append(claims[which], [timed(turn + 1)])
    turns = events // len(claims)
    for claim in claims:
        await _backend.append(claim, [event(turns + 1, "complete")])


async def read_by_the_clock(*, events: int) -> dict[str, Any]:
    """Read to the end with every follower; return latencies in ms of all tokens."""
    latencies: list[float] = []

    async def one(follower: Follower) -> int:
        read = 0
        while batch := await follower.next_batch():
            now = time.monotonic_ns()
            for got in batch:
                read += 1
                if got.sequence != read:
                    raise RuntimeError(f"event {read} was due, and {got.sequence} came")
                if got.type == "token":
                    latencies.append((now - int(got.json[27:].partition(b'"')[0])) / 1e6)
        return read

    counts = await asyncio.gather(*map(one, _followers))
    if sum(counts) != events + len(_followers):
        raise RuntimeError(f"{events + len(_followers)} events were due, and {sum(counts)} came")
    percentiles = statistics.quantiles(latencies, n=100)
    return {"p50": percentiles[49], "p99": percentiles[98], "worst": max(latencies)}
