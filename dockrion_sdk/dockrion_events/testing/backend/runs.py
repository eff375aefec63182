"""Accepting runs, finding them, and for how long they are kept."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import msgspec

from ...bus.base import EventBackend, RunRecord, RunSummary
from ...errors import BackendUnavailable, RunExists, RunNotFound
from .support import (
    OWNER,
    PATIENCE,
    SHORT,
    EventBackendTests,
    accepted,
    assert_same,
    claimed,
    ending,
    nothing_to_claim,
    opened,
    opening,
    refused,
    rest,
    some_turns,
    soon,
    stored,
    whole,
)


class RunTests(EventBackendTests):
    # -- what it is ----------------------------------------------------------------------------

    async def test_it_has_a_short_name_and_says_whether_it_is_durable(self) -> None:
        async with self.make() as backend:
            assert isinstance(backend, EventBackend)
            assert 0 < len(backend.name) <= 32
            assert isinstance(backend.durable, bool)
            await backend.ping()

    # -- create_run ----------------------------------------------------------------------------

    async def test_a_new_run_is_accepted(self) -> None:
        request = b'\x00\xff{"not": "looked at"}\r\n'
        async with self.make() as backend:
            record, new = await backend.create_run("some:run.1_a-b", owner="an owner: é", request=request)
            assert new
            assert record.status == "accepted"
            assert not record.ended
            assert (record.key, record.owner, record.request) == ("some:run.1_a-b", "an owner: é", request)
            assert (record.attempt, record.first_sequence, record.last_sequence) == (0, 1, 0)
            assert (record.started_at, record.ended_at, record.terminal) == (None, None, None)
            assert record.created_at.utcoffset() == timedelta(0), "created_at has to be UTC"
            assert await backend.get_run("some:run.1_a-b") == record

    async def test_a_run_that_exists_is_returned_and_stays_as_it_is(self) -> None:
        async with self.make() as backend:
            first, _ = await backend.create_run("run", owner=OWNER, request=b"1")
            again, new = await backend.create_run("run", owner="somebody else", request=b"2")
            assert not new
            assert again == first
            claim = await claimed(backend)
            await nothing_to_claim(backend)
            await backend.append(claim, whole("run", 3))
            ended, new = await backend.create_run("run", owner=OWNER, request=b"1")
            assert not new
            assert ended.status == "completed"

    async def test_many_calls_at_once_make_one_run(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            answers = await asyncio.gather(
                *[
                    (backend, other)[i % 2].create_run("run", owner=OWNER, request=b"%d" % (i % 3))
                    for i in range(50)
                ]
            )
            assert sum(new for _, new in answers) == 1, "more than one call made the run, or none did"
            assert len({record.request for record, _ in answers}) == 1
            assert len({record.created_at for record, _ in answers}) == 1
            await claimed(backend)
            await nothing_to_claim(other)

    # -- open_run ------------------------------------------------------------------------------

    async def test_an_opened_run_is_running_and_nobody_else_can_claim_it(self) -> None:
        async with self.make() as backend:
            claim = await backend.open_run("run", owner=OWNER, request=b"mine")
            assert claim.record == await backend.get_run("run")
            assert claim.record.status == "running"
            assert claim.record.attempt == 1
            assert claim.record.started_at is not None
            await nothing_to_claim(backend)
            log = whole("run", 5)
            await backend.append(claim, log)
            assert_same(await stored(backend, "run"), log)
            assert (await backend.get_run("run")).status == "completed"

    async def test_opening_a_run_that_exists_is_refused(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "created")
            await opened(backend, "opened")
            for key in ("created", "opened"):
                with refused(RunExists):
                    await other.open_run(key, owner=OWNER, request=b"{}")

    # -- get_run and list_runs -----------------------------------------------------------------

    async def test_a_record_follows_its_run(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            claim = await claimed(backend)
            running = await other.get_run("run")
            assert running.status == "running"
            assert running.attempt == 1
            assert running.started_at is not None
            assert running.created_at <= running.started_at
            log = whole("run", 7)
            await backend.append(claim, log[:4])
            assert (await other.get_run("run")).last_sequence == 4
            await backend.append(claim, log[4:])
            ended = await other.get_run("run")
            assert ended.ended
            assert (ended.status, ended.first_sequence, ended.last_sequence) == ("completed", 1, 7)
            assert ended.terminal == log[-1]
            assert ended.ended_at is not None
            assert running.started_at <= ended.ended_at

    async def test_a_run_that_never_was_is_not_found(self) -> None:
        async with self.make() as backend:
            with refused(RunNotFound):
                await backend.get_run("run")
            with refused(RunNotFound):
                await backend.follow("run", after=0)
            with refused(RunNotFound):
                await backend.end_run("run", ending("run"))

    async def test_an_owners_runs_are_listed_newest_first_page_by_page(self) -> None:
        async with self.make() as backend:
            for number in range(10):
                await backend.create_run(f"run-{number}", owner=f"owner-{number % 2}", request=b"")
            await opened(backend, "opened")
            records = [await backend.get_run(f"run-{number}") for number in range(0, 10, 2)]
            expected = [_summary(record) for record in sorted(records, key=_age, reverse=True)]
            assert await backend.list_runs("owner-0", limit=100) == expected
            pages: list[RunSummary] = []
            while page := await backend.list_runs("owner-0", limit=2, before=pages[-1] if pages else None):
                assert len(page) <= 2
                assert page[0] not in pages
                pages += page
            assert pages == expected
            assert [run.key for run in await backend.list_runs(OWNER, limit=10)] == ["opened"]
            assert await backend.list_runs("nobody", limit=10) == []

    async def test_a_list_shows_what_a_record_says_but_neither_request_nor_output(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await backend.create_run("run", owner=OWNER, request=b"{}", thread="a thread: é")
            waiting = await backend.list_runs(OWNER, limit=9)
            claim = await claimed(backend)
            await backend.append(claim, whole("run", 7))
            record = await backend.get_run("run")
            for found in (waiting[0], (await other.list_runs(OWNER, limit=9))[0], record):
                assert found.thread == "a thread: é"
            assert await other.list_runs(OWNER, limit=9) == [_summary(record)]
            assert not hasattr(waiting[0], "request")
            assert not hasattr(waiting[0], "terminal")
            assert [state.thread for state in await other.run_states(OWNER)] == ["a thread: é"]

    async def test_the_states_of_the_newest_runs_only_may_be_asked_for(self) -> None:
        async with self.make() as backend:
            await accepted(backend, *(f"run-{number}" for number in range(6)))
            found = [state.key for state in await backend.run_states(OWNER, limit=2)]
            assert found == ["run-5", "run-4"]

    async def test_a_list_goes_on_behind_a_run_that_is_not_kept(self) -> None:
        async with self.make() as backend:
            await accepted(backend, "a", "c")
            newest, oldest = await backend.list_runs(OWNER, limit=10)
            for moment, found in (
                (newest.created_at + timedelta(seconds=1), [newest, oldest]),
                (oldest.created_at - timedelta(seconds=1), []),
            ):
                never = msgspec.structs.replace(newest, key="never", created_at=moment)
                assert await backend.list_runs(OWNER, limit=10, before=never) == found

    async def test_all_states_of_an_owners_runs_come_with_the_newest_change_first(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, *(f"run-{number:02}" for number in range(12)))
            await backend.create_run("foreign", owner="somebody else", request=b"")
            claim = await claimed(backend)
            await backend.append(claim, whole(claim.record.key, 3))
            running = await claimed(backend)
            await backend.end_run("run-07", ending("run-07"))
            states = await other.run_states(OWNER)
            records = [await backend.get_run(state.key) for state in states]
            assert [(state.status, state.changed_at) for state in states] == [
                (record.status, record.changed_at) for record in records
            ]
            ages = [(state.changed_at, state.key) for state in states]
            assert ages == sorted(ages, reverse=True)
            assert len(set(ages)) == 12
            found = {state.key: state.status for state in states}
            assert found.pop("run-07") == "cancelled"
            assert (found.pop(claim.record.key), found.pop(running.record.key)) == ("completed", "running")
            assert set(found.values()) == {"accepted"}
            assert [state.key for state in await other.run_states("somebody else")] == ["foreign"]
            assert await other.run_states("nobody") == []

    # -- how long it is kept -------------------------------------------------------------------

    async def test_a_run_is_gone_some_time_after_its_end(self) -> None:
        async with self.make(stream_ttl_seconds=1) as backend:
            live, log = whole("live", 5), whole("run", 20)
            executing = await opened(backend, "live", live[:3])
            claim = await opened(backend, "run", log)
            await accepted(backend, "cancelled")
            await backend.end_run("cancelled", ending("cancelled"))
            late = await backend.follow("run", after=3)
            assert_same(await stored(backend, "run"), log)
            await _gone(backend, "run")
            await _gone(backend, "cancelled")
            assert [state.key for state in await backend.run_states(OWNER)] == ["live"]
            assert [run.key for run in await backend.list_runs(OWNER, limit=10)] == ["live"]
            with refused(RunNotFound):
                await backend.follow("run", after=0)
            with refused(RunNotFound):
                await backend.append(claim, log)
            *_, lost = await rest(late)
            assert (lost.type, lost.sequence) == ("error", None)
            assert getattr(lost.decode(), "code", None) == "RUN_LOST"
            assert lost.decode().run_id == "run"
            _, new = await backend.create_run("run", owner=OWNER, request=b"")
            assert new, "the name of a run that is gone is free again"
            assert_same(await stored(backend, "run"), [])
            await backend.append(executing, live[3:])
            assert_same(await stored(backend, "live"), live)

    # -- close ---------------------------------------------------------------------------------

    async def test_closing_ends_what_waits_and_refuses_what_comes(self) -> None:
        async with self.make() as backend:
            await accepted(backend, "run")
            claim = await claimed(backend)
            await backend.append(claim, opening("run", 3))
            idle, waiting = [await backend.follow("run", after=after) for after in (0, 3)]
            reader = asyncio.create_task(waiting.next_batch())
            claimer = asyncio.create_task(
                backend.claim("executor", accepted=1, expired=0, lease_seconds=SHORT, timeout=PATIENCE)
            )
            await some_turns()
            await backend.close()
            assert await soon(reader) == []
            await asyncio.wait([claimer], timeout=PATIENCE)
            assert claimer.done()
            assert isinstance(claimer.exception(), BackendUnavailable) or claimer.result() == []
            for follower in (idle, waiting):
                assert follower.ended
                assert await soon(follower.next_batch()) == []
            for call in (
                backend.ping(),
                backend.get_run("run"),
                backend.create_run("new", owner=OWNER, request=b""),
                backend.list_runs(OWNER, limit=1),
                backend.run_states(OWNER),
                backend.end_run("run", ending("run")),
                backend.append(claim, whole("run", 4)[3:]),
                backend.claim("executor", accepted=1, expired=1, lease_seconds=1, timeout=0),
                backend.follow("run", after=0),
                backend.open_run("new", owner=OWNER, request=b""),
            ):
                with refused(BackendUnavailable):
                    await call
            await backend.close()


def _summary(record: RunRecord) -> RunSummary:
    return RunSummary(**{name: getattr(record, name) for name in RunSummary.__struct_fields__})


def _age(record: RunRecord) -> tuple[object, str]:
    return record.created_at, record.key


async def _gone(backend: EventBackend, key: str) -> None:
    """Wait until the run that has ended is not kept any more; nothing tells, so it is asked for."""
    async with asyncio.timeout(PATIENCE):
        while True:
            try:
                await backend.get_run(key)
            except RunNotFound:
                return
            await asyncio.sleep(0.02)
