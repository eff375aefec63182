"""Runs that are ended from outside, or that their log refuses."""

from __future__ import annotations

import asyncio

import pytest

from dockrion_events import (
    BackendUnavailable,
    BusError,
    EventBus,
    LogLost,
    RunCancelled,
    RunExists,
    RunNotFound,
    StreamClosed,
    StreamContext,
    Superseded,
)
from dockrion_events.bus.redis import RedisBackend

from ...servers import RedisServer
from .support import (
    EMITS,
    LIVES,
    SYNC_EMITS,
    Make,
    Refusing,
    Slow,
    begun,
    end_from_outside,
    every_call_raises,
    read,
    types,
    until,
)


async def test_a_run_that_is_there_already_is_refused(make: Make) -> None:
    async with EventBus(make()) as bus:
        first, second = await begun(bus), StreamContext("r", bus=bus)
        for _ in range(2):
            with pytest.raises(StreamClosed, match="there is a run 'r' already") as refused:
                await second.emit_started("second")
            assert isinstance(refused.value.__cause__, RunExists)
        await every_call_raises(second, [*EMITS, *SYNC_EMITS, *LIVES], StreamClosed, "already")
        assert not second.cancelled
        first.sync_emit_token("a")
        await first.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "token", "complete"]


async def test_a_run_that_somebody_cancels_stops_the_program(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        await end_from_outside(bus)
        await until(lambda: context.cancelled)
        await every_call_raises(context, SYNC_EMITS, RunCancelled, "r was cancelled")
        await every_call_raises(context, [*EMITS, *LIVES], asyncio.CancelledError, "r was cancelled")
        events = await read(bus)
    assert types(events) == ["started", "cancelled"]


async def test_who_ends_first_wins(make: Make) -> None:
    async with EventBus(make()) as bus:
        for number in range(20):
            context = await begun(bus, f"r{number}")
            context.sync_emit_token("a")
            complete, cancel = await asyncio.gather(
                context.emit_complete(1, 1.0),
                end_from_outside(bus, f"r{number}"),
                return_exceptions=True,
            )
            assert cancel is None
            events = await read(bus, f"r{number}")
            assert [event.sequence for event in events] == list(range(1, len(events) + 1))
            expected = "complete" if complete is None else "cancelled"
            assert types(events)[-1] == expected
            assert context.cancelled is (complete is not None)


async def test_emitters_that_wait_learn_of_the_cancellation() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        context.sync_emit_token("taken")
        await until(lambda: backend.asked == 2)
        for _ in range(2000):
            context.sync_emit_token("a")
        thread = asyncio.ensure_future(asyncio.to_thread(context.sync_emit_token, "thread"))
        task = asyncio.ensure_future(context.emit_token("task"))
        await until(lambda: len(context.queue) == 2002)  # behind the end nothing is taken any more
        end = asyncio.ensure_future(context.emit_complete(1, 1.0))
        await asyncio.sleep(0)
        await end_from_outside(bus)
        with pytest.raises(RunCancelled):
            await thread
        for waiting in (task, end):
            with pytest.raises(asyncio.CancelledError):
                await waiting
        backend.allow(9)
        assert types(await read(bus)) == ["started", "cancelled"]


async def test_a_program_may_stop_its_own_code(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        context.cancel()
        with pytest.raises(RunCancelled):
            context.sync_emit_token("late")
        assert types(await read(bus)) == ["started", "token", "cancelled"]


@pytest.mark.parametrize("error", [Superseded("taken"), RunNotFound("gone")], ids=["taken", "gone"])
async def test_a_log_that_is_not_ours_any_more_refuses(error: BusError) -> None:
    backend = Refusing()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        backend.error = error
        context.sync_emit_token("a")
        await until(lambda: not context.queue.is_available())
        await every_call_raises(context, [*EMITS, *SYNC_EMITS, *LIVES], StreamClosed, str(error))
        with pytest.raises(StreamClosed) as refused:
            context.sync_emit_token("a")
        assert refused.value.__cause__ is error
        assert not context.cancelled


@pytest.mark.parametrize(("why", "error"), [("superseded", Superseded), ("lost", RunNotFound)])
async def test_a_revoked_claim_is_noticed_without_emitting(why: str, error: type[BusError]) -> None:
    backend = Refusing()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        assert backend.claim_given is not None
        backend.claim_given.revoke(why)
        await until(lambda: not context.queue.is_available())
        with pytest.raises(StreamClosed) as refused:
            await context.emit_complete(1, 1.0)
        assert isinstance(refused.value.__cause__, error)


async def test_a_log_with_a_hole_ends_the_run() -> None:
    backend = Refusing()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        backend.error = LogLost("a hole")
        with pytest.raises(StreamClosed, match="a hole"):
            await context.emit_complete(1, 1.0)
        events = await read(bus)
        assert (types(events), events[-1].code) == (["started", "error"], "LOG_LOST")  # type: ignore[attr-defined]


async def test_a_log_that_cannot_be_written_stops_the_program_and_gets_its_end_later() -> None:
    backend = Refusing()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        backend.error = BackendUnavailable("no answer")
        context.sync_emit_token("a")
        await until(lambda: backend.refused > 0)
        with pytest.raises(StreamClosed, match="no answer") as refused:
            context.sync_emit_token("b")
        assert refused.value.__cause__ is backend.error
        with pytest.raises(StreamClosed, match="no answer"):
            await context.emit_complete(1, 1.0)
        backend.error = None
        events = await read(bus)
        assert types(events) == ["started", "token", "error"]
        assert events[-1].code == "LOG_UNAVAILABLE"  # type: ignore[attr-defined]


async def test_an_end_that_cannot_be_written_is_written_later() -> None:
    backend = Refusing()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        backend.error = BackendUnavailable("no answer")
        with pytest.raises(StreamClosed, match="no answer"):
            await context.emit_complete(1, 1.0)
        backend.error = None
        assert types(await read(bus)) == ["started", "complete"]


async def test_a_redis_that_dies_and_comes_back(redis_server: RedisServer) -> None:
    async with EventBus(RedisBackend(redis_server.url, patience_seconds=0.5)) as bus:
        context = await begun(bus)
        redis_server.kill()
        context.sync_emit_token("a")
        await until(lambda: not context.queue.is_available())
        with pytest.raises(StreamClosed) as refused:
            await context.emit_complete(1, 1.0)
        assert isinstance(refused.value.__cause__, BackendUnavailable)
        with pytest.raises(StreamClosed):
            await begun(bus, "another")
        await asyncio.to_thread(redis_server.start)
        events = await read(bus)
        assert types(events) in (["started", "token", "error"], ["error"])  # its last second may be lost


async def test_a_bug_in_a_store_does_not_hang_the_program(caplog: pytest.LogCaptureFixture) -> None:
    backend = Refusing()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        backend.error = ZeroDivisionError("a bug")
        with pytest.raises(StreamClosed, match="its writer was stopped"):
            await context.emit_complete(1, 1.0)
    assert "run r: its writer failed" in caplog.text
