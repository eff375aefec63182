"""What the memory backend does when its memory is used up: of all runs, and of one owner's."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dockrion_events import (
    CompleteEvent,
    CustomEvent,
    EncodedEvent,
    EventEncoder,
    GapEvent,
    QuotaExceeded,
    RunNotFound,
    StartedEvent,
    StoreFull,
    as_encoded,
)
from dockrion_events.bus import MemoryBackend
from dockrion_events.bus.memory.space import RUN_BYTES, Index
from dockrion_events.forms import envelope

KIB = 1024
MIB = 1024 * KIB

encode = EventEncoder().encode


@asynccontextmanager
async def memory(**settings: Any) -> AsyncIterator[MemoryBackend]:
    backend = MemoryBackend(**settings)
    await backend.open()
    try:
        yield backend
    finally:
        await backend.close()


def log_of(key: str, sizes: list[int]) -> list[EncodedEvent]:
    """Return a log with events of these sizes between its first and its last one."""
    drafts = [
        encode(StartedEvent("agent")),
        *[encode(CustomEvent("custom:part", "x" * size)) for size in sizes],
        encode(CompleteEvent("done", 1.5, {})),
    ]
    return as_encoded(drafts, envelope("run_id", key), 0)


async def finished(backend: MemoryBackend, key: str, *sizes: int, owner: str = "owner") -> None:
    claim = await backend.open_run(key, owner=owner, request=b"{}")
    for event in log_of(key, list(sizes)):
        await backend.append(claim, [event])


async def keys(backend: MemoryBackend, owner: str = "owner") -> list[str]:
    return [run.key for run in await backend.list_runs(owner, limit=1000)]


def used(backend: MemoryBackend) -> int:
    return backend.usage().bytes


# -- what goes first -------------------------------------------------------------------------------


async def test_the_runs_that_ended_first_make_room_for_new_ones() -> None:
    async with memory(max_bytes=MIB) as backend:
        held = await backend.open_run("running", owner="owner", request=b"{}")
        for number in range(10):
            await finished(backend, f"run-{number}", 200 * KIB)
        left = await keys(backend)
        assert "running" in left
        assert left[:4] == ["run-9", "run-8", "run-7", "run-6"]
        assert 4 <= len(left) <= 6
        assert used(backend) <= MIB
        assert backend.usage().evicted == 11 - len(left)
        with pytest.raises(RunNotFound):
            await backend.get_run("run-0")
        await backend.append(held, log_of("running", []))


async def test_who_reads_a_run_that_had_to_go_learns_it() -> None:
    async with memory(max_bytes=MIB) as backend:
        await finished(backend, "first", 100 * KIB)
        reader = await backend.follow("first", after=0)
        (first,) = (await reader.next_batch())[:1]
        assert first.type == "started"
        await finished(backend, "second", 950 * KIB)
        (lost,) = await reader.next_batch()
        assert (lost.type, getattr(lost.decode(), "code", None), lost.sequence) == ("error", "RUN_LOST", None)
        assert reader.ended


async def test_a_run_is_refused_when_nothing_has_ended() -> None:
    async with memory(max_bytes=MIB) as backend:
        await backend.create_run("waiting", owner="owner", request=b"x" * 900 * KIB)
        with pytest.raises(StoreFull, match=r"1,048,576 bytes of memory"):
            await backend.create_run("another", owner="owner", request=b"x" * 200 * KIB)
        with pytest.raises(StoreFull):
            await backend.open_run("another", owner="owner", request=b"x" * 200 * KIB)
        assert await keys(backend) == ["waiting"]
        (claim,) = await backend.claim("one", accepted=1, expired=0, lease_seconds=9, timeout=0)
        await backend.append(claim, log_of("waiting", []))
        await backend.create_run("another", owner="owner", request=b"x" * 200 * KIB)
        assert await keys(backend) == ["another"]


async def test_a_growing_log_loses_its_oldest_events_and_readers_see_a_gap() -> None:
    async with memory(max_bytes=MIB) as backend:
        claim = await backend.open_run("run", owner="owner", request=b"{}")
        log = log_of("run", [50 * KIB] * 100)
        early, late = [await backend.follow("run", after=after) for after in (0, 0)]
        assert await _first(backend, claim, early, log) == log[0]
        for event in log[1:]:
            await backend.append(claim, [event])
            assert used(backend) <= MIB
        record = await backend.get_run("run")
        assert (record.status, record.last_sequence) == ("completed", len(log))
        assert 15 <= record.last_sequence - record.first_sequence <= 20
        for reader, behind in ((early, 1), (late, 0)):
            events = []
            while not reader.ended:
                events += await reader.next_batch()
            gap = events.pop(0).decode()
            assert isinstance(gap, GapEvent)
            assert (gap.requested, gap.first_available) == (behind + 1, record.first_sequence)
            assert events == log[record.first_sequence - 1 :]


async def _first(backend: MemoryBackend, claim: Any, reader: Any, log: list[EncodedEvent]) -> EncodedEvent:
    await backend.append(claim, log[:1])
    (event,) = await reader.next_batch()
    assert isinstance(event, EncodedEvent)
    return event


# -- one owner's share -----------------------------------------------------------------------------


async def test_an_owner_that_fills_its_share_loses_its_own_runs_and_nobody_elses() -> None:
    async with memory(max_bytes=MIB, owner_share=0.5) as backend:
        await finished(backend, "quiet", 300 * KIB, owner="bob")
        for number in range(20):
            await finished(backend, f"run-{number}", 100 * KIB, owner="alice")
        assert await keys(backend, "bob") == ["quiet"]
        assert (await keys(backend, "alice"))[:3] == ["run-19", "run-18", "run-17"]
        assert 3 <= len(await keys(backend, "alice")) <= 5


async def test_an_owner_whose_share_is_taken_by_runs_that_go_on_is_refused_alone() -> None:
    async with memory(max_bytes=MIB, owner_share=0.5) as backend:
        await backend.create_run("one", owner="alice", request=b"x" * 400 * KIB)
        await finished(backend, "quiet", 100 * KIB, owner="bob")
        with pytest.raises(QuotaExceeded, match=r"of 524,288 bytes"):
            await backend.create_run("two", owner="alice", request=b"x" * 400 * KIB)
        await backend.create_run("three", owner="bob", request=b"x" * 350 * KIB)
        assert await keys(backend, "bob") == ["three", "quiet"]
        assert await keys(backend, "alice") == ["one"]


# -- counting --------------------------------------------------------------------------------------


async def test_nothing_is_counted_of_what_is_gone() -> None:
    async with memory(max_bytes=64 * MIB, stream_ttl_seconds=3600, max_events_per_run=20) as backend:
        for number in range(30):
            owner = f"owner-{number % 3}"
            await finished(backend, f"run-{number}", *[number * 1000] * (number % 7), 10, 10, owner=owner)
        assert used(backend) > 30 * RUN_BYTES
        assert used(backend) == sum(owner.bytes for owner in backend._space.owners.values())
        for run in list(backend._space.runs.values()):
            backend._space.remove(run)
        assert used(backend) == 0
        assert not backend._space.owners


@pytest.mark.parametrize(
    "settings", [{"max_waiting": 0}, {"owner_share": 0}, {"owner_share": 1.5}, {"max_bytes": 0}]
)
def test_limits_that_make_no_sense_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(settings))):
        MemoryBackend(**settings)


_EPOCH = datetime(2026, 1, 1, tzinfo=UTC)
_entries = st.tuples(
    st.integers(0, 50).map(lambda s: _EPOCH + timedelta(seconds=s)), st.text("ab", max_size=3)
)


@given(st.lists(st.tuples(st.booleans(), _entries), max_size=200), _entries)
def test_an_index_is_a_sorted_list(changes: list[tuple[bool, tuple[datetime, str]]], before: Any) -> None:
    from dockrion_events.bus.memory import space

    size, space._PART = space._PART, 3  # type: ignore[misc]
    try:
        index, expected = Index(), set[tuple[datetime, str]]()
        for add, entry in changes:
            if add and entry not in expected:
                index.add(entry)
                expected.add(entry)
            elif entry in expected:
                index.remove(entry)
                expected.discard(entry)
        newest = sorted(expected, reverse=True)
        assert list(index.newest_first()) == [key for _, key in newest]
        assert list(index.newest_first(before)) == [entry[1] for entry in newest if entry < before]
        assert bool(index) == bool(expected)
    finally:
        space._PART = size  # type: ignore[misc]
