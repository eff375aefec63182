"""Runs that a program writes and reads by itself, in each store."""

from __future__ import annotations

import asyncio
import secrets
import textwrap
import threading
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing
from typing import Any

import pytest

from dockrion_events import (
    BackendUnavailable,
    BusError,
    CancelledEvent,
    EncodedEvent,
    Event,
    EventBus,
    EventError,
    EventsFilter,
    EventTooLarge,
    Exit,
    InvalidEvent,
    LogLost,
    NotSerialisable,
    RunCancelled,
    RunExists,
    RunNotFound,
    StartedEvent,
    StreamClosed,
    StreamContext,
    Superseded,
    TokenEvent,
    get_current_context,
)
from dockrion_events.bus import Claim, EventBackend, MemoryBackend, ending, run_key
from dockrion_events.bus.redis import RedisBackend

from ..servers import RedisServer

DEADLINE = 20.0
Call = Callable[[StreamContext], Any]
Make = Callable[..., EventBackend]


@pytest.fixture(params=["memory", "redis"])
def make(request: pytest.FixtureRequest) -> Make:
    """Return backends that are not open yet: in Redis of one store, in memory each with its own."""
    if request.param == "memory":
        return MemoryBackend
    server: RedisServer = request.getfixturevalue("shared_redis")
    prefix = f"{secrets.token_hex(4)}:"
    return lambda **settings: RedisBackend(server.url, prefix=prefix, **settings)


async def read(bus: EventBus, run_id: str = "r", **options: Any) -> list[Event]:
    async with asyncio.timeout(DEADLINE):
        return [event async for event in bus.subscribe(run_id, **options)]


def types(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


def contents(events: Sequence[Event]) -> list[str]:
    return [event.content for event in events if isinstance(event, TokenEvent)]


async def begun(bus: EventBus, run_id: str = "r", **options: Any) -> StreamContext:
    context = StreamContext(run_id, bus=bus, **options)
    await context.emit_started("worker", "mine")
    return context


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - it looks at what other tasks and threads do
            await asyncio.sleep(0.002)


async def end_from_outside(bus: EventBus, run_id: str = "r") -> None:
    """What `DELETE /runs/{id}` does."""
    end = ending(run_id, StartedEvent("server"), CancelledEvent("enough"))
    await bus.backend.end_run(run_key(bus.owner, run_id), end)


# -- one run ---------------------------------------------------------------------------------------


async def test_the_example_runs(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert EventBus.__doc__ is not None
    example = EventBus.__doc__.split("::\n")[1].split("    A context of a bus")[0]
    scope: dict[str, Any] = {"EventBus": EventBus, "StreamContext": StreamContext, "backend": make()}
    exec("async def main():\n" + textwrap.indent(textwrap.dedent(example), "    "), scope)
    await scope["main"]()
    assert capsys.readouterr().out.split() == ["1", "started", "2", "progress", "3", "complete"]


async def test_a_run_from_start_to_end(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        assert (context.queue_mode, context.run_id, context.cancelled) == (False, "r", False)
        await context.emit_started("worker", "mine")
        record = await bus.backend.get_run("r")
        assert (record.status, record.last_sequence, record.attempt) == ("running", 1, 1)
        await context.emit_token("a")
        context.sync_emit_token("b")
        await context.emit_step("node", duration_ms=1.5)
        context.sync_emit("fraud", {"score": 1})
        context.sync_checkpoint("parsed", {"fields": 2})
        await context.send(TokenEvent("c"))
        await context.emit_complete({"n": 1}, 0.5, {"by": "me"})
        record = await bus.backend.get_run("r")
        assert (record.status, record.last_sequence) == ("completed", 8)
        events = await read(bus)
    assert types(events) == [
        "started", "token", "token", "step", "custom:fraud", "checkpoint", "token", "complete",
    ]  # fmt: skip
    assert [event.sequence for event in events] == list(range(1, 9))
    assert {(event.run_id, event.request_id) for event in events} == {("r", None)}
    assert (events[0].agent_name, events[-1].output, events[-1].metadata) == (  # type: ignore[attr-defined]
        "worker",
        {"n": 1},
        {"by": "me"},
    )


ENDS: list[tuple[Call, str, str]] = [
    (lambda c: c.emit_complete(1, 1.0), "complete", "completed"),
    (lambda c: c.emit_error("bad", "CODE", [1]), "error", "failed"),
    (lambda c: c.emit_cancelled("enough"), "cancelled", "cancelled"),
]


@pytest.mark.parametrize(("end", "kind", "status"), ENDS, ids=["complete", "error", "cancelled"])
async def test_the_terminal_event_is_in_the_log_when_its_call_returns(
    make: Make, end: Call, kind: str, status: str
) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        await end(context)
        record = await bus.backend.get_run("r")
        assert record.terminal is not None
        assert (record.terminal.type, record.status, record.last_sequence) == (kind, status, 3)


async def test_an_event_is_what_it_was_when_it_was_emitted(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        data = {"n": 1}
        context.sync_checkpoint("before", data)
        data["n"] = 2
        await context.emit_complete(data, 1.0)
        events = await read(bus)
    assert [event.data for event in events[1:2]] == [{"n": 1}]  # type: ignore[attr-defined]


async def test_what_cannot_be_sent_is_refused_on_the_line_and_leaves_no_hole(make: Make) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    async with EventBus(make()) as bus:
        context = await begun(bus)
        with pytest.raises(NotSerialisable):
            context.sync_checkpoint("loop", loop)
        with pytest.raises(EventTooLarge):
            await context.emit("large", text="x" * 9_000_000)
        with pytest.raises(EventError):
            await context.emit_complete(loop, 1.0)
        await context.emit_complete("done", 1.0)
        assert [event.sequence for event in await read(bus)] == [1, 2]


async def test_the_filter_and_heartbeats(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus, events_filter=EventsFilter(["token", "heartbeat"]))
        context.sync_emit_progress("dropped", 0.5)
        context.sync_emit_token("kept")
        await context.emit_heartbeat()
        context.sync_emit_heartbeat()
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "token", "complete"]


# -- the life cycle --------------------------------------------------------------------------------

EMITS: list[Call] = [
    lambda c: c.emit_token("a"),
    lambda c: c.emit_step("a"),
    lambda c: c.emit_progress("a", 0.5),
    lambda c: c.checkpoint("a", 1),
    lambda c: c.emit("a"),
    lambda c: c.send(TokenEvent("a")),
    lambda c: c.emit_heartbeat(),
]
SYNC_EMITS: list[Call] = [
    lambda c: c.sync_emit_token("a"),
    lambda c: c.sync_emit_step("a"),
    lambda c: c.sync_emit_progress("a", 0.5),
    lambda c: c.sync_checkpoint("a", 1),
    lambda c: c.sync_emit("a"),
    lambda c: c.sync_send(TokenEvent("a")),
    lambda c: c.sync_emit_heartbeat(),
]
LIVES: list[Call] = [lambda c: c.emit_started("again"), *(end for end, _, _ in ENDS)]


async def done(answer: Awaitable[None] | None) -> None:
    if answer is not None:
        await answer


async def every_call_raises(
    context: StreamContext, calls: list[Call], error: type[BaseException], match: str
) -> None:
    for call in calls:
        with pytest.raises(error, match=match):
            await done(call(context))


async def test_nothing_comes_before_started(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        calls = [*EMITS, *SYNC_EMITS, *LIVES[1:]]
        await every_call_raises(context, calls, InvalidEvent, "run r has not begun; emit_started")
        assert context.relay(TokenEvent("a")) is False
        with pytest.raises(RunNotFound):
            await bus.backend.get_run("r")
        await context.emit_started("worker")
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "complete"]


async def test_started_comes_once(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        answers = await asyncio.gather(
            *(context.emit_started(f"worker {n}") for n in range(5)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [type(None), *[InvalidEvent] * 4]
        with pytest.raises(InvalidEvent, match="run r has begun already"):
            await context.emit_started("again")
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "complete"]


@pytest.mark.parametrize("end", [end for end, _, _ in ENDS])
async def test_nothing_comes_after_the_end(make: Make, end: Call) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        await end(context)
        await every_call_raises(context, [*EMITS, *SYNC_EMITS, *LIVES], StreamClosed, "run r has ended")
        assert context.relay(TokenEvent("a")) is False
        assert len(await read(bus)) == 2


async def test_a_context_of_a_bus_has_no_other_way_out(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        with pytest.raises(RuntimeError, match="go to the log of its run"):
            context.drain_queued_events()
        with pytest.raises(RuntimeError, match="another stream already"):
            Exit(context)


@pytest.mark.parametrize("run_id", ["", "a/b", "a b", "ü", "x" * 129])
async def test_a_name_that_no_server_could_show_is_refused(make: Make, run_id: str) -> None:
    async with EventBus(make()) as bus:
        with pytest.raises(ValueError, match=r"run_id .*: 1 to 128 letters"):
            StreamContext(run_id, bus=bus)
        with pytest.raises(RunNotFound):
            await read(bus, run_id)


async def test_two_owners_may_use_the_same_name(make: Make) -> None:
    backend = make()
    async with EventBus(backend, owner="ann") as ann, EventBus(backend, owner="bob") as bob:
        for bus in (ann, bob):
            context = await begun(bus)
            await context.emit_complete(bus.owner, 1.0)
        assert [(await read(bus))[-1].output for bus in (ann, bob)] == ["ann", "bob"]  # type: ignore[attr-defined]
        assert [record.key for record in await backend.list_runs("ann", limit=9)] == ["ann/r"]


# -- the streaming backend -------------------------------------------------------------------------


class Choosy:
    """Takes the tokens for itself."""

    name = "choosy"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def is_available(self) -> bool:
        return True

    def emit(self, event: Any) -> bool:
        self.asked.append(event.type)
        return event.type == "token"


async def test_the_streaming_backend_is_asked_first_but_for_the_life_cycle(make: Make) -> None:
    backend = Choosy()
    async with EventBus(make()) as bus:
        context = await begun(bus, streaming_backend=backend)
        context.sync_emit_token("taken")
        await context.emit("left", {"n": 1})
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "custom:left", "complete"]
    assert backend.asked == ["token", "custom:left"]


# -- threads and loops -----------------------------------------------------------------------------


def in_threads(works: list[Callable[[], object]]) -> Awaitable[list[object]]:
    return asyncio.gather(*(asyncio.to_thread(work) for work in works))


async def test_many_threads_and_the_loop_itself_emit_at_once(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)

        def emit(name: str) -> None:
            for number in range(1500):
                context.sync_emit_token(f"{name}:{number}")

        others = in_threads([lambda name=name: emit(name) for name in "abc"])  # type: ignore[misc]
        emit("loop")
        for number in range(1500):
            await context.emit_token(f"async:{number}")
        await others
        await context.emit_complete(1, 1.0)
        events = await read(bus)
    assert [event.sequence for event in events] == list(range(1, 7503))
    seen: dict[str, list[int]] = {}
    for content in contents(events):
        name, _, number = content.partition(":")
        seen.setdefault(name, []).append(int(number))
    assert seen == {name: list(range(1500)) for name in ("a", "b", "c", "loop", "async")}


async def test_the_terminal_event_is_the_last_whatever_other_threads_emit(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        going = threading.Barrier(4)

        def emit() -> None:
            going.wait(DEADLINE)
            while True:
                context.sync_emit_token("x")

        others = [asyncio.create_task(asyncio.to_thread(emit)) for _ in range(3)]
        await asyncio.to_thread(going.wait, DEADLINE)
        await context.emit_complete(1, 1.0)
        for other in others:
            with pytest.raises(StreamClosed, match="has ended"):
                await other
        events = await read(bus)
        record = await bus.backend.get_run("r")
    assert types(events)[-1] == "complete"
    assert types(events).count("complete") == 1
    assert events[-1].sequence == record.last_sequence


async def test_a_run_may_be_written_on_another_loop(make: Make) -> None:
    async with EventBus(make()) as bus:

        async def elsewhere() -> None:
            context = await begun(bus)
            for number in range(3000):  # more than may wait
                await context.emit_token(str(number))
            await context.emit_complete(1, 1.0)

        await asyncio.to_thread(asyncio.run, elsewhere())
        assert contents(await read(bus)) == [str(number) for number in range(3000)]


async def test_wrapped_functions_find_the_context(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)

        def work() -> None:
            current = get_current_context()
            assert current is not None
            current.sync_emit_token("deep")

        thread = threading.Thread(target=context.wrap(work))
        thread.start()
        await asyncio.to_thread(thread.join, DEADLINE)
        await context.emit_complete(1, 1.0)
        assert contents(await read(bus)) == ["deep"]


class Slow(MemoryBackend):
    """A store whose appends are let through one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = asyncio.Semaphore(0)
        self.batches: list[int] = []
        self.asked = 0

    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        self.asked += 1
        await self.permits.acquire()
        self.batches.append(len(events))
        await super().append(claim, events)

    def allow(self, count: int = 1) -> None:
        for _ in range(count):
            self.permits.release()


async def test_what_comes_during_an_append_is_one_append() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        await until(lambda: backend.asked == 2)
        for _ in range(500):
            await context.emit_token("b")
        backend.allow(2)
        await until(lambda: len(backend.batches) == 3)
        assert backend.batches == [1, 1, 500]
        backend.allow()
        await context.emit_complete(1, 1.0)


async def test_emitters_wait_for_a_log_that_is_behind_and_the_loops_own_thread_does_not() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        context.sync_emit_token("taken")
        await until(lambda: backend.asked == 2)
        for _ in range(2000):
            context.sync_emit_token("loop")  # returns, however many wait
        emitted: list[int] = []

        def work() -> None:
            for number in range(5):
                context.sync_emit_token("thread")
                emitted.append(number)

        thread = asyncio.ensure_future(asyncio.to_thread(work))
        task = asyncio.ensure_future(context.emit_token("task"))
        await until(lambda: len(context.queue) >= 2002)
        assert not thread.done()
        assert not task.done()
        assert emitted == []
        backend.allow(100)
        await asyncio.gather(thread, task)
        await context.emit_complete(1, 1.0)
        assert len(contents(await read(bus))) == 2007


async def test_giving_up_waiting_does_not_take_the_end_back() -> None:
    backend = Slow()
    backend.allow()
    async with EventBus(backend) as bus:
        context = await begun(bus)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await context.emit_complete(1, 1.0)
        with pytest.raises(StreamClosed, match="has ended"):
            context.sync_emit_token("late")
        backend.allow()
        assert types(await read(bus)) == ["started", "complete"]


# -- reading ---------------------------------------------------------------------------------------


async def test_several_writers_and_readers_that_come_at_any_moment(make: Make) -> None:
    async with EventBus(make()) as bus:

        async def write(run_id: str) -> None:
            context = await begun(bus, run_id)
            for number in range(100):
                await context.emit_token(f"{run_id}:{number}")
                if number % 10 == 0:
                    readers.append(asyncio.ensure_future(read(bus, run_id)))
                    await asyncio.sleep(0)
            await context.emit_complete(run_id, 1.0)

        readers: list[asyncio.Future[list[Event]]] = []
        await asyncio.gather(*(write(f"run-{n}") for n in range(8)))
        logs = await asyncio.gather(*readers)
    assert len(logs) == 80
    for log in logs:
        run_id = log[0].run_id
        assert [event.sequence for event in log] == list(range(1, 103))
        assert contents(log) == [f"{run_id}:{number}" for number in range(100)]


async def test_a_reader_sees_events_while_the_run_goes_on(make: Make) -> None:
    async with EventBus(make()) as bus, asyncio.timeout(DEADLINE):
        context = await begun(bus)
        seen = []
        async for event in bus.subscribe("r"):
            seen.append(event.type)
            if event.sequence == 1:
                context.sync_emit_token("a")
            elif event.sequence == 2:
                await context.emit_complete(1, 1.0)
        assert seen == ["started", "token", "complete"]


@pytest.mark.parametrize(
    ("start", "sequences"), [(0, [1, 2, 3, 4]), (1, [1, 2, 3, 4]), (3, [3, 4]), (4, [4])]
)
async def test_reading_begins_with_from_sequence(make: Make, start: int, sequences: list[int]) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        context.sync_emit_token("b")
        await context.emit_complete(1, 1.0)
        assert [event.sequence for event in await read(bus, from_sequence=start)] == sequences


async def test_reading_beyond_the_end_tells_so_and_gives_the_end(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        await context.emit_complete(1, 1.0)
        assert types(await read(bus, from_sequence=7)) == ["gap", "complete"]
        with pytest.raises(ValueError, match="from_sequence is -1"):
            bus.subscribe("r", from_sequence=-1)


async def test_events_that_are_not_kept_are_a_gap(make: Make) -> None:
    async with EventBus(make(max_events_per_run=100)) as bus:
        context = await begun(bus)
        for _ in range(2000):
            await context.emit_token("a")
        await context.emit_complete(1, 1.0)
        events = await read(bus)
    gap, first = events[:2]
    assert (gap.type, gap.requested) == ("gap", 1)  # type: ignore[attr-defined]
    assert first.sequence == gap.first_available > 1  # type: ignore[attr-defined]
    assert events[-1].sequence == 2002


async def test_a_run_that_is_not_there(make: Make) -> None:
    async with EventBus(make()) as bus:
        with pytest.raises(RunNotFound):
            await read(bus, "nobody")


async def test_a_reader_that_leaves_costs_nothing(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        async with aclosing(bus.subscribe("r")) as events:  # type: ignore[type-var]
            async for event in events:
                assert event.type == "started"
                break
        assert bus._followers == set()
        await context.emit_complete(1, 1.0)
        assert len(await read(bus)) == 2


async def test_closing_the_bus_ends_the_reading(make: Make) -> None:
    backend = make()
    await backend.open()
    bus = EventBus(backend)
    async with bus, EventBus(backend) as other:
        context = await begun(other)
        events = bus.subscribe("r")
        assert (await anext(events)).type == "started"
        waiting = asyncio.create_task(anext(events, None))  # type: ignore[arg-type]
        await bus.close()
        assert await waiting is None
        await context.emit_complete(1, 1.0)
    await backend.close()


# -- ended, or refused, from outside ---------------------------------------------------------------


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
        end = asyncio.ensure_future(context.emit_complete(1, 1.0))
        await until(lambda: len(context.queue) >= 2002)
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


class Refusing(MemoryBackend):
    """A store whose next appends raise, and that shows the claims it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.refused = 0
        self.claim_given: Claim | None = None

    async def open_run(self, key: str, *, owner: str, request: bytes) -> Claim:
        self.claim_given = await super().open_run(key, owner=owner, request=request)
        return self.claim_given

    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        if self.error is not None:
            self.refused += 1
            raise self.error
        await super().append(claim, events)


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


# -- the bus ---------------------------------------------------------------------------------------


async def test_a_run_without_an_end_gets_one_when_the_bus_is_closed(make: Make) -> None:
    backend = make()
    async with EventBus(backend) as reader:

        async def crash() -> None:
            async with EventBus(backend) as bus:
                contexts.append(await begun(bus))
                contexts[0].sync_emit_token("a")
                raise ZeroDivisionError

        contexts: list[StreamContext] = []
        with pytest.raises(ZeroDivisionError):
            await crash()
        events = await read(reader)
        assert types(events) == ["started", "token", "error"]
        assert events[-1].code == "EXECUTOR_LOST"  # type: ignore[attr-defined]
        calls = [*EMITS, *SYNC_EMITS, *LIVES]
        await every_call_raises(
            contexts[0], calls, StreamClosed, "run r takes nothing more: the bus was closed"
        )


async def test_an_end_that_is_on_its_way_is_written_when_the_bus_is_closed(make: Make) -> None:
    backend = make()
    async with EventBus(backend) as reader:
        async with EventBus(backend) as bus:
            context = await begun(bus)
            end = asyncio.ensure_future(context.emit_complete(1, 1.0))
            await asyncio.sleep(0)
        await end
        assert types(await read(reader)) == ["started", "complete"]


async def test_closing_does_not_wait_for_ever(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("dockrion_events.bus.bus.CLOSE_SECONDS", 0.01)
    backend = Refusing()
    async with EventBus(backend) as bus, asyncio.timeout(DEADLINE):
        context = await begun(bus)
        backend.error = BackendUnavailable("no answer")
        context.sync_emit_token("a")
        await until(lambda: backend.refused > 0)
    assert "run r: its end could not be written within 0.01 s" in caplog.text


async def test_a_backend_that_is_open_stays_open_and_another_is_closed(make: Make) -> None:
    backend = make()
    async with EventBus(backend):
        async with EventBus(backend):
            await backend.ping()
        await backend.ping()
    with pytest.raises(BackendUnavailable):
        await backend.ping()


async def test_a_bus_that_is_not_open_says_so(make: Make) -> None:
    bus = EventBus(make())
    context = StreamContext("r", bus=bus)
    with pytest.raises(BackendUnavailable, match="the bus is not open; use it as: async with"):
        await context.emit_started("early")
    with pytest.raises(BackendUnavailable, match="not open"):
        await read(bus)
    async with bus:
        await context.emit_started("worker")
        await context.emit_complete(1, 1.0)
    await bus.close()
    with pytest.raises(BackendUnavailable, match="the bus is closed"):
        await begun(bus, "late")
    with pytest.raises(BackendUnavailable, match="the bus is closed"):
        await bus.open()


def test_a_bus_whose_loop_has_ended_refuses() -> None:
    async def leave_open() -> EventBus:
        bus = EventBus(MemoryBackend())
        await bus.open()
        return bus

    bus = asyncio.run(leave_open())
    with pytest.raises(BackendUnavailable, match="event loop has ended"):
        asyncio.run(begun(bus))  # type: ignore[arg-type]


async def test_two_processes_share_a_store(shared_redis: RedisServer) -> None:
    prefix = f"{secrets.token_hex(4)}:"
    here, there = (EventBus(RedisBackend(shared_redis.url, prefix=prefix)) for _ in range(2))
    async with here, there:
        context = await begun(here)
        reading = asyncio.ensure_future(read(there))
        context.sync_emit_token("a")
        await end_from_outside(there)
        await until(lambda: context.cancelled)
        assert types(await reading)[-1] == "cancelled"
        second = StreamContext("r", bus=there)
        with pytest.raises(StreamClosed, match="already"):
            await second.emit_started("second")


def test_a_bus_is_an_async_context_manager() -> None:
    assert isinstance(EventBus(MemoryBackend()), AbstractAsyncContextManager)
