"""What is the memory backend's own: what it costs, and what it leaves behind. The rest is conformance."""

from __future__ import annotations

import asyncio
import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from dockrion_events import (
    BackendUnavailable,
    CompleteEvent,
    CustomEvent,
    EncodedEvent,
    EventEncoder,
    RunNotFound,
    StartedEvent,
    TokenEvent,
    as_encoded,
)
from dockrion_events.bus import MemoryBackend
from dockrion_events.bus.memory.run import Run
from dockrion_events.forms import envelope

encode = EventEncoder().encode


@asynccontextmanager
async def memory(**settings: Any) -> AsyncIterator[MemoryBackend]:
    backend = MemoryBackend(**settings)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def log_of(key: str, count: int) -> list[EncodedEvent]:
    drafts = [
        encode(StartedEvent("agent")),
        *[encode(TokenEvent(f"word {number}")) for number in range(count - 2)],
        encode(CompleteEvent({"text": "a sentence"}, 1.5, {})),
    ]
    return as_encoded(drafts, envelope("run_id", key), 0)


async def finished(backend: MemoryBackend, key: str, log: list[EncodedEvent]) -> None:
    claim = await backend.open_run(key, owner="owner", request=b"{}")
    for start in range(0, len(log), 10):
        await backend.append(claim, log[start : start + 10])


async def read_all(backend: MemoryBackend, key: str, *, after: int = 0) -> list[EncodedEvent]:
    follower, events = await backend.follow(key, after=after), list[EncodedEvent]()
    while not follower.ended:
        events += await follower.next_batch()
    return events


@pytest.fixture
def traced() -> Iterator[None]:
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def allocated() -> int:
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


# -- what it costs ---------------------------------------------------------------------------------


async def test_a_finished_run_costs_little_more_than_its_json(traced: None) -> None:
    runs, size = 1000, 0
    async with memory() as backend:
        await finished(backend, "warm", log_of("warm", 100))
        before = allocated()
        for number in range(runs):
            log = log_of(f"run-{number:05}", 100)
            size += sum(len(event.json) for event in log)
            await finished(backend, f"run-{number:05}", log)
            await asyncio.sleep(0)
        del log
        await asyncio.sleep(0)
        kept = allocated() - before
        assert kept <= 1.5 * size, f"{runs} runs keep {kept:,} bytes of {size:,} bytes of JSON"
        assert len(await read_all(backend, "run-00007")) == 100


async def test_a_reader_that_never_reads_costs_next_to_nothing(traced: None) -> None:
    async with memory() as backend:
        claim = await backend.open_run("run", owner="owner", request=b"{}")
        await backend.append(claim, log_of("run", 5002)[:1])
        before = allocated()
        followers = [await backend.follow("run", after=0) for _ in range(100)]
        held = allocated() - before
        await backend.append(claim, log_of("run", 5002)[1:-1])
        assert held <= 100 * 1024, f"a follower costs {held // 100} bytes"
        assert all(follower.position == 0 for follower in followers)


async def test_a_reader_that_never_reads_does_not_hold_what_is_trimmed(traced: None) -> None:
    async with memory(max_events_per_run=1000) as backend:
        claim = await backend.open_run("run", owner="owner", request=b"{}")
        idle = [await backend.follow("run", after=after) for after in (0, 500)]
        sizes = []
        for _ in range(2):
            after = (await backend.get_run("run")).last_sequence
            drafts = [encode(TokenEvent("a word")) for _ in range(10_000)]
            await backend.append(claim, as_encoded(drafts, envelope("run_id", "run"), after))
            del drafts
            sizes.append(allocated())
        assert sizes[1] - sizes[0] < 64 * 1024
        assert [follower.position for follower in idle] == [0, 500]


async def test_a_burst_wakes_a_reader_once() -> None:
    async with memory() as backend:
        log = log_of("run", 300)
        claim = await backend.open_run("run", owner="owner", request=b"{}")
        followers = [await backend.follow("run", after=0) for _ in range(20)]
        reading = [asyncio.create_task(follower.next_batch()) for follower in followers]
        await asyncio.sleep(0)
        for event in log:
            await backend.append(claim, [event])
        for batch in await asyncio.gather(*reading):
            assert batch == log[: len(batch)]
            assert len(batch) > 200, "woken once for what one batch may hold"


# -- what it leaves behind -------------------------------------------------------------------------


async def test_nothing_is_left_of_what_is_over() -> None:
    async with memory(stream_ttl_seconds=0.1) as backend:
        followers = []
        for number in range(300):
            key = f"run-{number}"
            if number % 3:
                await finished(backend, key, log_of(key, 20))
            else:
                await backend.create_run(key, owner=f"owner-{number}", request=b"x" * 1000)
                (claim,) = await backend.claim("one", accepted=1, expired=0, lease_seconds=9, timeout=9)
                await backend.append(claim, log_of(key, 20))
            followers.append(await backend.follow(key, after=5))
        await asyncio.wait_for(_gone(backend, "run-299"), 20)
        del claim
        for follower in followers:
            assert [event.type for event in await follower.next_batch()] == ["error"]
            assert follower.ended
        assert [kept for kept in gc.get_objects() if isinstance(kept, Run)] == []
        assert not any(
            kept for kept in vars(backend).values() if isinstance(kept, dict | set) or hasattr(kept, "pop")
        )
        assert backend._remover is None, "a timer is left"


async def _gone(backend: MemoryBackend, key: str) -> None:
    """Wait until the run is not kept any more; nothing tells, so it is asked for."""
    while True:
        try:
            await backend.get_run(key)
        except RunNotFound:
            return
        await asyncio.sleep(0.01)


async def test_there_is_one_timer_for_all_runs() -> None:
    loop = asyncio.get_running_loop()
    async with memory() as backend:
        await finished(backend, "first", log_of("first", 10))
        timer = backend._remover
        for number in range(20):
            await finished(backend, f"run-{number}", log_of(f"run-{number}", 10))
        assert backend._remover is timer
        assert timer is not None
        assert 3500 < timer.when() - loop.time() <= 3600
    assert timer.cancelled()


async def test_a_reader_that_left_is_not_woken() -> None:
    async with memory() as backend:
        await backend.open_run("run", owner="owner", request=b"{}")
        waiting = backend._runs["run"].waiting
        followers = [await backend.follow("run", after=0) for _ in range(3)]
        reading = [asyncio.create_task(follower.next_batch()) for follower in followers]
        await asyncio.sleep(0)
        assert len(waiting) == 3
        reading[0].cancel()
        followers[1].close()
        followers[2].nudge()
        await asyncio.wait(reading)
        assert not waiting


async def test_who_loses_a_run_learns_it_at_once() -> None:
    async with memory() as backend:
        await backend.create_run("run", owner="owner", request=b"{}")
        (zombie,) = await backend.claim("one", accepted=1, expired=0, lease_seconds=0, timeout=0)
        (claim,) = await backend.claim("two", accepted=0, expired=1, lease_seconds=9, timeout=9)
        assert zombie.revoked.result() == "superseded"
        await backend.close()
        assert claim.revoked.result() == "lost"


# -- how ended runs are kept -----------------------------------------------------------------------


async def test_a_reader_does_not_notice_how_an_ended_run_is_kept() -> None:
    async with memory() as backend:
        log = log_of("run", 2000)
        claim = await backend.open_run("run", owner="owner", request=b"{}")
        await backend.append(claim, log[:1000])
        follower = await backend.follow("run", after=0)
        events = await follower.next_batch()
        await backend.append(claim, log[1000:])
        for turn in range(3):
            events += await follower.next_batch()
            await asyncio.sleep(0)
            assert events == log[: len(events)], f"in turn {turn}"
        while not follower.ended:
            events += await follower.next_batch()
        assert events == log
        for after in (1, 399, 400, 401, 1500, 1998, 1999):
            assert await read_all(backend, "run", after=after) == log[after:]


async def test_json_of_any_encoder_survives() -> None:
    async with memory() as backend:
        log = [
            EncodedEvent("started", b'{\n  "type": "started",\n  "sequence": 1\n}', 1),
            EncodedEvent("custom:ä", '{"type":"custom:ä","data":"\u2028","sequence":2}'.encode(), 2),
            EncodedEvent('a"b', b'{"type":"a\\"b","sequence":3}', 3),
            EncodedEvent("last", b'{"sequence":4,"type":"last"}', 4),
        ]
        for name, first in (("lines", 0), ("none", 1)):
            events = [EncodedEvent(e.type, e.json, n) for n, e in enumerate(log[first:], 1)]
            events.append(EncodedEvent("complete", b'{"type":"complete"}', len(events) + 1))
            await finished(backend, name, events)
            await asyncio.sleep(0)
            assert await read_all(backend, name) == events


async def test_large_events_stay_as_they_are() -> None:
    async with memory() as backend:
        drafts = [encode(StartedEvent("agent"))]
        drafts += [encode(CustomEvent("custom:large", "x" * size)) for size in (10, 300_000, 5000, 5000)]
        drafts.append(encode(CompleteEvent("y" * 300_000, 1.5, {})))
        log = as_encoded(drafts, envelope("run_id", "run"), 0)
        await finished(backend, "run", log)
        await asyncio.sleep(0)
        events = await read_all(backend, "run")
        assert events == log
        assert events[2] is log[2]
        assert events[-1] is (await backend.get_run("run")).terminal


# -- what it refuses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "settings", [{"max_events_per_run": 0}, {"stream_ttl_seconds": -1}, {"stream_ttl_seconds": float("nan")}]
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        MemoryBackend(**settings)


async def test_it_has_to_be_opened_and_stays_closed() -> None:
    backend = MemoryBackend()
    with pytest.raises(BackendUnavailable, match="not open"):
        await backend.create_run("run", owner="owner", request=b"")
    await backend.open()
    await backend.close()
    for call in (backend.open, backend.ping):
        with pytest.raises(BackendUnavailable, match="closed"):
            await call()


async def test_events_that_are_not_complete_are_refused() -> None:
    async with memory() as backend:
        claim = await backend.open_run("run", owner="owner", request=b"{}")
        with pytest.raises(ValueError, match="no sequence"):
            await backend.append(claim, [encode(StartedEvent("agent"))])
        log = log_of("run", 3)
        late = EncodedEvent("token", b'{"type":"token","content":"","sequence":4}', 4)
        with pytest.raises(ValueError, match="terminal"):
            await backend.append(claim, [*log, late])
        assert (await backend.get_run("run")).last_sequence == 0
