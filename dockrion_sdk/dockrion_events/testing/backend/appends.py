"""Appending: in order, all or nothing, once however often; and how a run ends."""

from __future__ import annotations

import asyncio
import random

from ...bus.base import EventBackend
from ...errors import BusError, LogLost, RunEnded, Superseded
from ...events import TERMINAL, CustomEvent, EncodedEvent, ErrorEvent, RestartedEvent, StartedEvent
from .support import (
    EventBackendTests,
    accepted,
    assert_same,
    claimed,
    complete,
    encoded,
    ending,
    failure,
    nothing_to_claim,
    opened,
    opening,
    read,
    refused,
    rest,
    soon,
    stored,
    taken_over,
    tokens,
    whole,
)


class AppendTests(EventBackendTests):
    races = 2000
    """Runs of which several want to be the one to end them."""

    # -- append --------------------------------------------------------------------------------

    async def test_what_is_appended_is_kept_byte_for_byte(self) -> None:
        async with self.make() as backend:
            log = encoded(
                "run",
                [
                    StartedEvent("agent"),
                    CustomEvent("custom:odd", {'a"b\\\r\n\t': "\u2028\u2029\x00\ufeff\U0001f600"}),
                    CustomEvent("custom:large", "x" * 300_000),
                    RestartedEvent(2),
                ],
            )
            log.append(EncodedEvent("from_the_future", b'{"type":"from_the_future","sequence":5}', 5))
            log.append(complete("run", after=5, output={"text": "é" * 1000}))
            claim = await opened(backend, "run", log)
            assert_same(await stored(backend, "run"), log)
            assert_same(await stored(backend, "run", after=4), log[4:])
            assert (await backend.get_run("run")).terminal == log[-1]
            await backend.append(claim, log[-1:])

    async def test_appending_nothing_changes_nothing(self) -> None:
        async with self.make() as backend:
            claim = await opened(backend, "run")
            await backend.append(claim, [])
            assert (await backend.get_run("run")).last_sequence == 0

    async def test_what_was_appended_already_counts_as_appended(self) -> None:
        async with self.make() as backend:
            log = whole("run", 40)
            claim = await opened(backend, "run")
            for part in (slice(0, 1), slice(0, 1), slice(0, 20), slice(5, 12), slice(11, 30), slice(30, 40)):
                await backend.append(claim, log[part])
            for part in (slice(0, 40), slice(39, 40), slice(20, 30)):
                await backend.append(claim, log[part])
            assert_same(await stored(backend, "run"), log)
            assert not claim.revoked.done()

    async def test_other_events_in_the_same_place_are_refused(self) -> None:
        async with self.make() as backend:
            log = opening("run", 6)
            claim = await opened(backend, "run", log)
            with refused(Superseded):
                await backend.append(claim, [*log[3:5], *tokens("run", 3, after=5, text="other")])
            assert_same(await stored(backend, "run"), log)

    async def test_a_hole_is_refused_and_nothing_is_appended(self) -> None:
        async with self.make() as backend:
            claim = await opened(backend, "run")
            with refused(LogLost):
                await backend.append(claim, tokens("run", 3, after=1))
            assert (await backend.get_run("run")).last_sequence == 0
            log = whole("run", 6)
            await backend.append(claim, log[:3])
            for late in (log[4:5], log[5:], [log[3], log[5]], [*log[1:4], log[5]]):
                with refused(LogLost):
                    await backend.append(claim, late)
                record = await backend.get_run("run")
                assert (record.status, record.last_sequence) == ("running", 3)
            assert_same(await stored(backend, "run"), log[:3])

    async def test_many_appends_at_once_keep_each_runs_order(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            keys = [f"run-{number}" for number in range(20)]

            async def write(instance: EventBackend, key: str) -> None:
                log = whole(key, 60)
                claim = await opened(instance, key)
                for start in range(0, 60, 7):
                    await instance.append(claim, log[start : start + 7])

            instances = (backend, other)
            await soon(asyncio.gather(*[write(instances[i % 2], key) for i, key in enumerate(keys)]))
            for key in keys:
                events = await stored(backend, key)
                assert [event.sequence for event in events] == list(range(1, 61))

    # -- the end -------------------------------------------------------------------------------

    async def test_the_terminal_event_ends_the_run_in_the_same_step(self) -> None:
        for terminal, status in (
            (complete("run", after=2), "completed"),
            (encoded("run", [ErrorEvent("it failed", "AGENT_ERROR")], after=2)[0], "failed"),
        ):
            async with self.make() as backend, self.second(backend) as other:
                await accepted(backend, "run")
                claim = await claimed(backend)
                follower = await other.follow("run", after=0)
                await backend.append(claim, opening("run", 2))
                await read(follower, 2)
                last = asyncio.create_task(rest(follower))
                await backend.append(claim, [terminal])
                assert_same(await soon(last), [terminal])
                record = await other.get_run("run")
                assert (record.status, record.terminal, record.last_sequence) == (status, terminal, 3)
                assert record.ended_at is not None
                await nothing_to_claim(backend)

    async def test_nothing_follows_the_terminal_event(self) -> None:
        async with self.make() as backend:
            log = whole("run", 5)
            claim = await opened(backend, "run", log)
            for late in (
                tokens("run", 1, after=5),
                [complete("run", after=5)],
                [*log[3:], *tokens("run", 1, after=5)],
                [complete("run", after=4, output="another")],
                tokens("run", 1, after=9),
            ):
                with refused(BusError, ValueError):
                    await backend.append(claim, late)
            with refused(RunEnded):
                await backend.append(claim, tokens("run", 1, after=5))
            assert_same(await stored(backend, "run"), log)

    async def test_an_accepted_run_that_is_ended_has_a_whole_stream(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run", "next")
            follower = await backend.follow("run", after=0)
            record = await other.end_run("run", ending("run"))
            assert (record.status, record.last_sequence) == ("cancelled", 2)
            assert record.ended_at is not None
            events = await rest(follower)
            assert [(event.type, event.sequence) for event in events] == [("started", 1), ("cancelled", 2)]
            assert [event.decode().sequence for event in events] == [1, 2], "the JSON has the number too"
            assert record.terminal == events[-1]
            assert_same(await stored(other, "run"), events)
            assert (await claimed(backend)).record.key == "next"
            await nothing_to_claim(backend)

    async def test_a_running_run_that_is_ended_revokes_its_claim(self) -> None:
        for count in (0, 4):
            async with self.make() as backend, self.second(backend) as other:
                await accepted(backend, "run")
                claim = await claimed(backend)
                log = opening("run", count) if count else []
                await backend.append(claim, log)
                record = await other.end_run("run", ending("run", failure("RUN_TIMEOUT")))
                assert record.status == "failed"
                types = [event.type for event in await stored(backend, "run")]
                assert types == (["started"] + ["token"] * 3 if count else ["started"]) + ["error"]
                late = tokens("run", 2, after=count)
                with refused(RunEnded):
                    await backend.append(claim, late)
                with refused(RunEnded):
                    await backend.append(claim, [complete("run", after=record.last_sequence)])
                assert await soon(claim.revoked) == "cancelled"
                assert await backend.get_run("run") == record
                await nothing_to_claim(backend)

    async def test_a_run_that_was_handed_back_can_be_ended(self) -> None:
        async with self.make() as backend:
            await accepted(backend, "run")
            claim = await claimed(backend)
            log = opening("run", 3)
            await backend.append(claim, log)
            await backend.release(claim)
            record = await backend.end_run("run", ending("run"))
            assert record.terminal is not None
            assert_same(await stored(backend, "run"), [*log, record.terminal])
            await nothing_to_claim(backend)

    async def test_a_run_whose_lease_has_expired_is_ended_once(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            zombie = await claimed(backend, lease_seconds=0.001)
            claim = await taken_over(other)
            record = await other.end_run("run", ending("run", failure("EXECUTOR_LOST")))
            for instance, holder in ((backend, zombie), (other, claim)):
                with refused(RunEnded, Superseded):
                    await instance.append(holder, whole("run", 2))
            assert await backend.get_run("run") == record

    async def test_a_run_that_has_ended_stays_as_it_is(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            log = whole("run", 4)
            await opened(backend, "run", log)
            before = await backend.get_run("run")
            assert await other.end_run("run", ending("run")) == before
            assert await backend.end_run("run", ending("run", failure("RUN_TIMEOUT"))) == before
            assert_same(await stored(backend, "run"), log)

    async def test_the_first_terminal_event_wins(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            choices = random.Random(1)
            together = asyncio.Semaphore(50)

            async def race(key: str) -> str:
                async with together:
                    return await _race(key, backend, other, choices)

            endings = await asyncio.gather(*[race(f"run-{number}") for number in range(self.races)])
            assert set(endings) <= TERMINAL
            assert len(set(endings)) > 1, "it was no race"


async def _race(key: str, backend: EventBackend, other: EventBackend, choices: random.Random) -> str:
    """Let three end the run at once; return the type of the one terminal event."""
    claim = await opened(backend, key, opening(key, 2))

    async def finish() -> bool:
        try:
            await backend.append(claim, [*tokens(key, 1, after=2), complete(key, after=3)])
        except RunEnded:
            return False
        return True

    racers = [finish(), other.end_run(key, ending(key)), backend.end_run(key, ending(key, failure("LATE")))]
    choices.shuffle(racers)
    answers = await asyncio.gather(*racers)
    events = await stored(other, key)
    ends = [event.type for event in events if event.type in TERMINAL]
    assert len(ends) == 1, f"there are the terminal events {ends}"
    assert events[-1].type == ends[0]
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    assert (True in answers) == (ends[0] == "complete"), "who appends is told whether it won"
    record = await backend.get_run(key)
    assert record.terminal == events[-1]
    assert record.status == {"complete": "completed", "cancelled": "cancelled", "error": "failed"}[ends[0]]
    return ends[0]
