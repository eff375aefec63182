"""The memory backend within one process, and the list that it is measured against."""

from __future__ import annotations

import asyncio
import ctypes
import gc
import time

from dockrion_events import EncodedEvent
from dockrion_events.bus import Follower, MemoryBackend

from .events import batches

_backend: MemoryBackend


async def ours(*, events: int, size: int, each: int) -> tuple[float, float]:
    """Append in batches, giving way after each, to followers that read as it comes."""
    backend = MemoryBackend(max_events_per_run=events, stream_ttl_seconds=0)
    await backend.open()
    claim = await backend.open_run("run", owner="", request=b"{}")
    made = batches(events, size)
    followers = [await backend.follow("run", after=0) for _ in range(each)]
    readers = [asyncio.create_task(_whole(follower)) for follower in followers]
    await asyncio.sleep(0)
    cpu, began = time.process_time(), time.perf_counter()
    for batch in made:
        await backend.append(claim, batch)
        await asyncio.sleep(0)
    read = await asyncio.gather(*readers)
    took = time.perf_counter() - began, time.process_time() - cpu
    await backend.close()
    _verify(read, events)
    return took


async def _whole(follower: Follower) -> list[list[EncodedEvent]]:
    read = []
    while batch := await follower.next_batch():
        read.append(batch)
    return read


async def bare(*, events: int, size: int, each: int) -> tuple[float, float]:
    """The same with a list and an `asyncio.Event` for each reader, and nothing else."""
    made = batches(events, size)
    log: list[EncodedEvent] = []
    bells = [asyncio.Event() for _ in range(each)]

    async def whole(bell: asyncio.Event) -> list[list[EncodedEvent]]:
        read = []
        position = 0
        while position < events:
            await bell.wait()
            bell.clear()
            batch = log[position:]
            position += len(batch)
            read.append(batch)
        return read

    readers = [asyncio.create_task(whole(bell)) for bell in bells]
    await asyncio.sleep(0)
    cpu, began = time.process_time(), time.perf_counter()
    for batch in made:
        for one in batch:
            log.append(one)  # noqa: PERF402 - events come one by one
        for bell in bells:
            bell.set()
        await asyncio.sleep(0)
    read = await asyncio.gather(*readers)
    took = time.perf_counter() - began, time.process_time() - cpu
    _verify(read, events)
    return took


def _verify(read: list[list[list[EncodedEvent]]], events: int) -> None:
    for one in read:
        if [got.sequence for batch in one for got in batch] != list(range(1, events + 1)):
            raise RuntimeError(f"not all of {events} events came")


# -- what is kept ----------------------------------------------------------------------------------


async def fill(*, runs: int, events: int, size: int, ttl: float) -> int:
    """Make finished runs, which are kept for ``ttl`` seconds; return the bytes of their events."""
    global _backend
    _backend = MemoryBackend(stream_ttl_seconds=ttl)
    await _backend.open()
    encoded = 0
    began = time.monotonic()
    for number in range(runs):
        claim = await _backend.open_run(f"run-{number}", owner="", request=b'{"payload":{}}')
        for batch in batches(events, size):
            await _backend.append(claim, batch)
            encoded += sum(len(one.json) for one in batch)
        await asyncio.sleep(0)
    if time.monotonic() - began > ttl:
        raise RuntimeError(f"it took more than {ttl:g} s to make {runs} runs")
    if len(await _backend.list_runs("", limit=2 * runs)) != runs:
        raise RuntimeError("runs are missing")
    return encoded


async def wait_until_gone(*, seconds: float) -> None:
    """Wait until no run is kept any more, and let the allocator return what it keeps for the next ones."""
    async with asyncio.timeout(seconds):
        while await _backend.list_runs("", limit=1):  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.1)
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
