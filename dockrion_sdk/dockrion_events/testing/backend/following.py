"""Following a log: from anywhere, at any moment, each event once and in order."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence

from ...bus.base import Claim, EventBackend, Follower, follower_epoch
from ...cursor import Cursor
from ...events import EncodedEvent, GapEvent
from .support import (
    SHORT,
    EventBackendTests,
    accepted,
    assert_same,
    batch_of,
    claimed,
    complete,
    ending,
    opened,
    opening,
    read,
    rest,
    some_turns,
    soon,
    stored,
    taken_over,
    tokens,
    whole,
)

MOST_EVENTS = 1000
MOST_BYTES = 1024 * 1024
"""What a batch may have at most: "some hundred events or some 100 KiB"."""


class FollowTests(EventBackendTests):
    # -- from anywhere -------------------------------------------------------------------------

    async def test_an_ended_run_is_followed_from_anywhere(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            log = whole("run", 40)
            claim = await opened(backend, "run", log[:25])
            await backend.append(claim, log[25:])
            for instance in (backend, other):
                for after in (0, 1, 24, 25, 39, 40):
                    follower = await instance.follow("run", after=after)
                    assert follower.position == after
                    assert_same(await rest(follower), log[after:])
                    assert follower.position == 40
                    assert follower.ended
                    assert await soon(follower.next_batch()) == []

    async def test_a_cursor_beyond_the_end_of_an_ended_run_gets_a_gap_and_the_end(self) -> None:
        async with self.make() as backend:
            log = whole("run", 10)
            await opened(backend, "run", log)
            for after in (11, 500, 2**63 - 1):
                follower = await backend.follow("run", after=after)
                assert follower.position == after
                gap, *others = await rest(follower)
                _assert_gap(gap, after + 1, 10)
                assert_same(others, log[9:])
                assert follower.position == 10

    async def test_a_live_run_is_followed_from_anywhere(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            log = whole("run", 30)
            claim = await opened(backend, "run", log[:10])
            cursors = (0, 5, 9, 10, 14, 25, 29, 30)
            followers = [await other.follow("run", after=after) for after in cursors]
            reading = [asyncio.create_task(rest(follower)) for follower in followers]
            await some_turns()
            for start in range(10, 30, 4):
                await backend.append(claim, log[start : start + 4])
            for after, events in zip(cursors, reading, strict=True):
                assert_same(await soon(events), log[after:])

    async def test_a_cursor_that_a_live_run_never_gets_to_gets_a_gap_and_the_end(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            claim = await opened(backend, "run", opening("run", 5))
            follower = await other.follow("run", after=20)
            reading = asyncio.create_task(rest(follower))
            await some_turns()
            await backend.append(claim, tokens("run", 3, after=5))
            terminal = complete("run", after=8)
            await backend.append(claim, [terminal])
            gap, *others = await soon(reading)
            _assert_gap(gap, 21, 9)
            assert_same(others, [terminal])
            assert follower.position == 9

    async def test_every_follower_gets_the_end_that_comes_from_outside(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await opened(backend, "run", opening("run", 3))
            followers = [await instance.follow("run", after=0) for instance in (backend, other) * 10]
            reading = [asyncio.create_task(rest(follower)) for follower in followers]
            await some_turns()
            await other.end_run("run", ending("run"))
            log = await stored(backend, "run")
            for events in reading:
                assert_same(await soon(events), log)

    async def test_readers_that_join_at_any_moment_get_the_log(self) -> None:
        for seed in range(3):
            choices = random.Random(seed)
            async with self.make() as backend, self.second(backend) as other:
                log = whole("run", 900)
                claim = await opened(backend, "run", log[:1])
                writing = asyncio.create_task(_write(backend, claim, log, 1, choices))
                readers: list[asyncio.Task[list[EncodedEvent]]] = []
                cursors: list[int] = []
                # Not for as long as the log is written: readers slow it down, and it would never end.
                while len(readers) < 10 or (len(readers) < 150 and not writing.done()):
                    cursors.append(choices.choice((0, choices.randrange(950))))
                    follower = await choices.choice((backend, other)).follow("run", after=cursors[-1])
                    readers.append(asyncio.create_task(rest(follower)))
                    await some_turns(choices)
                await soon(writing)
                for after, reader in zip(cursors, readers, strict=True):
                    events = await soon(reader)
                    if after > 900:
                        _assert_gap(events.pop(0), after + 1, 900)
                        after = 899
                    assert_same(events, log[after:])

    # -- epochs --------------------------------------------------------------------------------

    async def test_a_cursor_with_its_epoch_goes_on_where_it_was(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            log = [*opening("run", 20), *tokens("run", 9, after=20), complete("run", after=29)]
            await accepted(backend, "run")
            await backend.append(await claimed(backend, lease_seconds=SHORT), log[:20])
            await backend.append(await taken_over(other), log[20:])
            places: list[Cursor] = []
            follower = await other.follow("run", after=0)
            while not follower.ended:
                batch = await batch_of(follower)
                epoch = follower_epoch(follower)
                places += [Cursor(event.sequence or 0, epoch) for event in batch]
            assert places == list(range(1, 31))
            assert (await backend.get_run("run")).epoch == places[-1].epoch
            if places[0].epoch:
                assert places[19].epoch != places[20].epoch, "each claim has an epoch of its own"
            for place in places:
                assert_same(await rest(await backend.follow("run", after=place)), log[place:])

    async def test_a_cursor_of_another_epoch_is_told_so_or_is_a_bare_number(self) -> None:
        async with self.make() as backend:
            log = whole("run", 10)
            await opened(backend, "run", log)
            follower = await backend.follow("run", after=Cursor(4, "elsewhere"))
            events = await rest(follower)
            if follower_epoch(follower):
                _assert_gap(events.pop(0), 5, 1)
                assert_same(events, log)
            else:
                assert_same(events, log[4:])

    # -- what is not kept ----------------------------------------------------------------------

    async def test_a_log_keeps_its_newest_events(self) -> None:
        async with self.make(max_events_per_run=50) as backend, self.second(backend) as other:
            log = whole("run", 3000)
            claim = await opened(backend, "run")
            slow = await other.follow("run", after=0)
            await backend.append(claim, log[:50])
            assert_same(await read(slow, 50), log[:50])
            for start in range(50, 2900, 95):
                await backend.append(claim, log[start : start + 95])
            record = await backend.get_run("run")
            assert record.last_sequence == 2900
            assert 2000 < record.first_sequence <= 2851, "at least the newest 50 stay, and not many more"
            first = record.first_sequence
            early = await other.follow("run", after=0)
            for follower, requested in ((early, 1), (slow, 51)):
                gap, *events = await read(follower, 2900 - first + 2)
                _assert_gap(gap, requested, first)
                assert_same(events, log[first - 1 : 2900])
                assert follower.position == 2900
            await backend.append(claim, log[2900:])
            for follower in (early, slow):
                assert_same((await rest(follower))[-50:], log[-50:])
            newest = await backend.follow("run", after=2960)
            assert_same(await rest(newest), log[2960:])

    async def test_a_batch_that_is_larger_than_the_log_may_be(self) -> None:
        async with self.make(max_events_per_run=50) as backend:
            log = whole("run", 700)
            claim = await opened(backend, "run", log)
            await backend.append(claim, log)
            events = await rest(await backend.follow("run", after=690))
            assert_same(events, log[690:])

    # -- batches -------------------------------------------------------------------------------

    async def test_batches_are_bounded(self) -> None:
        async with self.make() as backend:
            many, large = whole("many", 5000), whole("large", 60)
            large[1:59] = tokens("large", 58, after=1, text="x" * 64 * 1024)
            for key, log in (("many", many), ("large", large)):
                await opened(backend, key, log)
                follower = await backend.follow(key, after=0)
                events: list[EncodedEvent] = []
                while not follower.ended:
                    batch = await batch_of(follower)
                    assert len(batch) <= MOST_EVENTS
                    assert sum(len(event.json) for event in batch) <= MOST_BYTES
                    events += batch
                assert_same(events, log)

    async def test_a_batch_belongs_to_its_reader(self) -> None:
        async with self.make() as backend:
            log = whole("run", 10)
            claim = await opened(backend, "run", log[:6])
            followers = [await backend.follow("run", after=0) for _ in range(2)]
            events = []
            for follower in followers:
                batch = await soon(follower.next_batch())
                events.append(list(batch))
                batch.clear()
            await backend.append(claim, log[6:])
            for follower, before in zip(followers, events, strict=True):
                assert_same([*before, *await rest(follower)], log)

    async def test_a_reader_that_does_not_read_holds_up_nobody(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            log = whole("run", 4000)
            claim = await opened(backend, "run", log[:1])
            slow = await other.follow("run", after=0)
            fast = asyncio.create_task(rest(await other.follow("run", after=0)))
            for start in range(1, 4000, 100):
                await soon(backend.append(claim, log[start : start + 100]))
            assert_same(await soon(fast), log)
            assert slow.position == 0
            assert_same(await rest(slow), log)

    # -- nudge, cancel, close ------------------------------------------------------------------

    async def test_a_nudge_makes_the_next_batch_return(self) -> None:
        async with self.make() as backend:
            log = whole("run", 6)
            claim = await opened(backend, "run", log[:3])
            follower = await backend.follow("run", after=0)
            follower.nudge()
            assert_same(await read(follower, 3), log[:3])
            waiting = asyncio.create_task(follower.next_batch())
            await some_turns()
            follower.nudge()
            assert await soon(waiting) == []
            follower.nudge()
            assert await soon(follower.next_batch()) == []
            waiting = asyncio.create_task(follower.next_batch())
            await some_turns()
            assert not waiting.done(), "a nudge counts once"
            assert not follower.ended
            await backend.append(claim, log[3:])
            assert_same([*await soon(waiting), *await rest(follower)], log[3:])
            follower.nudge()
            assert await soon(follower.next_batch()) == []

    async def test_nudging_and_cancelling_lose_nothing(self) -> None:
        for seed in range(3):
            choices = random.Random(seed)
            async with self.make() as backend, self.second(backend) as other:
                log = whole("run", 600)
                claim = await opened(backend, "run", log[:1])
                follower = await other.follow("run", after=0)
                writing = asyncio.create_task(_write(backend, claim, log, 1, choices))
                assert_same(await soon(_disturbed(follower, choices)), log)
                await soon(writing)

    async def test_a_closed_follower_returns(self) -> None:
        async with self.make() as backend:
            log = opening("run", 3)
            claim = await opened(backend, "run", log)
            idle, waiting = [await backend.follow("run", after=after) for after in (0, 3)]
            reading = asyncio.create_task(waiting.next_batch())
            await some_turns()
            for follower in (idle, waiting, idle, waiting):
                follower.close()
                assert follower.ended
            assert await soon(reading) == []
            await backend.append(claim, tokens("run", 1, after=3))
            for follower in (idle, waiting):
                assert await soon(follower.next_batch()) == []


def _assert_gap(event: EncodedEvent, requested: int, first_available: int) -> None:
    gap = event.decode()
    assert isinstance(gap, GapEvent), f"a gap is due, and {event.type} came"
    assert event.sequence is None
    assert b'"sequence"' not in event.json
    assert gap.run_id, "a gap says of which run"
    assert (gap.requested, gap.first_available) == (requested, first_available)


async def _write(
    backend: EventBackend, claim: Claim, log: Sequence[EncodedEvent], start: int, choices: random.Random
) -> None:
    """Append the log from ``start`` on, in pieces of any size."""
    while start < len(log):
        stop = start + choices.choice((1, 1, 2, 5, 30))
        await backend.append(claim, log[start:stop])
        start = stop
        await some_turns(choices)


async def _disturbed(follower: Follower, choices: random.Random) -> list[EncodedEvent]:
    """Read to the end while every call is nudged, cancelled, or left alone."""
    events: list[EncodedEvent] = []
    while not follower.ended:
        call = asyncio.create_task(follower.next_batch())
        await some_turns(choices)
        what = choices.randrange(3)
        if what == 0:
            follower.nudge()
        elif what == 1:
            call.cancel()
        await asyncio.wait([call])
        if not call.cancelled():
            events += call.result()
    return events
