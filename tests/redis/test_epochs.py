"""Redis loses what it had acknowledged, and other events take their place: readers are told, all of them."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from dockrion_events import EncodedEvent, GapEvent, LogLost
from dockrion_events.bus import Claim, Cursor, EventBackend
from dockrion_events.bus.base import follower_epoch
from dockrion_events.testing.backend.support import (
    OWNER,
    SHORT,
    assert_same,
    batch_of,
    claimed,
    complete,
    ending,
    failure,
    opening,
    read,
    rest,
    soon,
    taken_over,
    tokens,
    whole,
)

from ..servers import RedisServer
from .conftest import Backends


async def test_a_log_that_grew_again_from_an_earlier_place_is_a_gap(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The executor dies with what Redis lost, and another begins again: `restart`."""
    async with backends() as backend, backends() as other, backends() as third:
        first = await _begun(backend, SHORT)
        log = tokens("run", 20, after=5)
        redis_server.back_up(tmp_path / "older")
        await backend.append(first, log)
        live, idle = [await side.follow("run", after=0) for side in (backend, other)]
        assert len(await read(live, 25)) == len(await read(idle, 25)) == 25
        seen = Cursor(live.position, follower_epoch(live))
        waiting = [asyncio.create_task(rest(follower)) for follower in (live, idle)]
        redis_server.restore(tmp_path / "older")
        second = await taken_over(other)
        assert second.record.last_sequence == 5
        again = [*tokens("run", 40, after=5, text="another"), complete("run", after=45)]
        await other.append(second, again[:30])  # beyond what the readers have seen, before they look
        late = await third.follow("run", after=seen)
        bare = await third.follow("run", after=int(seen))
        await other.append(second, again[30:])
        for events in (await soon(waiting[0]), await soon(waiting[1]), await rest(late)):
            _assert_gap(events[0], 26, 6)
            assert_same(events[1:], again)
        assert_same(await rest(bare), again[20:])  # a bare number cannot tell


async def test_the_sequence_of_an_end_that_another_event_had_is_a_gap(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The end LOG_LOST takes the place of an event: who saw that one has not seen the end."""
    async with backends() as backend, backends() as other:
        claim = await _begun(backend)
        redis_server.back_up(tmp_path / "older")
        await backend.append(claim, tokens("run", 1, after=5))
        follower = await other.follow("run", after=5)
        await read(follower, 1)
        seen = Cursor(6, follower_epoch(follower))
        follower.close()
        redis_server.restore(tmp_path / "older")
        with pytest.raises(LogLost):
            await backend.append(claim, tokens("run", 1, after=6))
        record = await backend.end_run("run", ending("run", failure("LOG_LOST")))
        assert record.last_sequence == seen
        assert record.epoch not in ("", seen.epoch)
        gap, end = await rest(await other.follow("run", after=seen))
        _assert_gap(gap, 7, 6)
        assert end == record.terminal
        assert await rest(await other.follow("run", after=Cursor(6, record.epoch))) == []


async def test_what_is_sent_again_after_a_loss_is_no_gap(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    """The writer was not told that its events were taken, sends them again, and they are the same."""
    async with backends() as backend, backends() as other:
        claim = await _begun(backend)
        redis_server.back_up(tmp_path / "older")
        log = [*tokens("run", 3, after=5), complete("run", after=8)]
        await backend.append(claim, log[:3])
        follower = await other.follow("run", after=5)
        assert_same(await read(follower, 3), log[:3])
        seen = Cursor(8, follower_epoch(follower))
        redis_server.restore(tmp_path / "older")
        late = await other.follow("run", after=seen)
        await backend.append(claim, log)
        assert_same(await rest(follower), log[3:])
        assert_same(await rest(late), log[3:])


async def test_a_run_that_was_made_again_under_its_name_is_a_gap(
    backends: Backends, redis_server: RedisServer
) -> None:
    async with backends() as backend, backends() as other:
        await _begun(backend)
        follower = await backend.follow("run", after=0)
        await read(follower, 5)
        seen = Cursor(5, follower_epoch(follower))
        redis_server.command("FLUSHALL")
        await other.create_run("run", owner=OWNER, request=b"{}")
        early = await other.follow("run", after=seen)  # nothing is written yet, and that is not the place
        log = whole("run", 9)
        await other.append(await claimed(other), log)
        for follower in (early, await other.follow("run", after=seen)):
            gap, *events = await rest(follower)
            _assert_gap(gap, 6, 1)
            assert_same(events, log)


async def test_a_run_that_was_handed_back_has_several_epochs_and_no_gap(backends: Backends) -> None:
    async with backends() as backend, backends() as other:
        claim = await _begun(backend)
        await backend.release(claim)
        record = await other.get_run("run")
        assert record.epoch
        follower = await other.follow("run", after=Cursor(5, record.epoch))
        ahead = await other.follow("run", after=Cursor(9, record.epoch))  # nobody can write that any more
        again = await claimed(other)
        log = [*tokens("run", 9, after=5), complete("run", after=14)]
        await other.append(again, log)
        assert_same(await rest(follower), log)
        gap, *events = await rest(ahead)
        _assert_gap(gap, 10, 6)
        assert_same(events, log)


async def test_an_end_that_the_store_forgot_is_followed_by_what_there_is(
    backends: Backends, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with backends(max_events_per_run=5000) as backend, backends() as other:
        first = await _begun(backend, SHORT)
        redis_server.back_up(tmp_path / "older")
        await backend.append(first, [*tokens("run", 3000, after=5), complete("run", after=3005)])
        slow = await other.follow("run", after=0)
        seen = await batch_of(slow)  # there are far more than a batch
        assert len(seen) < 3000
        redis_server.restore(tmp_path / "older")
        second = await taken_over(other)
        log = [*tokens("run", 4000, after=5, text="another"), complete("run", after=4005)]
        await other.append(second, log)
        events = await rest(slow)
        _assert_gap(events[0], len(seen) + 1, 6)
        assert_same(events[1:], log)


async def _begun(backend: EventBackend, lease_seconds: float = 60) -> Claim:
    await backend.create_run("run", owner=OWNER, request=b"{}")
    claim = await claimed(backend, lease_seconds=lease_seconds)
    await backend.append(claim, opening("run", 5))
    return claim


def _assert_gap(event: EncodedEvent, requested: int, first_available: int) -> None:
    gap = event.decode()
    assert isinstance(gap, GapEvent), event
    assert (gap.requested, gap.first_available) == (requested, first_available)


async def test_what_was_read_while_a_connection_was_lost_is_read_again(
    backends: Backends, redis_server: RedisServer
) -> None:
    async with backends() as backend, backends() as other:
        log = whole("run", 5)
        claim = await backend.open_run("run", owner=OWNER, request=b"")
        await backend.append(claim, log)
        follower = await other.follow("run", after=0)  # it has read the record, and nothing of the log
        redis_server.restart()
        assert_same(await rest(follower), log)
