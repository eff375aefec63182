"""The stream of an execution: its order, its failures, its ends, and what it leaves behind."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextvars import ContextVar
from typing import Any

import pytest

from dockrion_adapters import AgentCancelled, AgentFailed, EventStream, HandlerAdapter, as_stream
from dockrion_events import (
    CancelledEvent,
    CompleteEvent,
    CustomEvent,
    ErrorEvent,
    EventsFilter,
    EventTooLarge,
    HeartbeatEvent,
    InvalidEvent,
    NotSerialisable,
    ProgressEvent,
    RunCancelled,
    StartedEvent,
    StreamClosed,
    StreamContext,
    TokenEvent,
    as_encoded,
    decode_event,
)
from dockrion_events.encoding import EventEncoder

PATIENCE = 20.0
tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


async def collect(stream: Any) -> list[Any]:
    return [event async for event in stream]


async def collect_into(got: list[Any], stream: Any) -> None:
    """Collect a stream that fails: ``got`` keeps what came before."""
    async for event in stream:
        got.append(event)  # noqa: PERF401 - a comprehension would lose them


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until ``condition`` holds; the test's time-out is the limit."""
    while not condition():  # noqa: ASYNC110 - other threads change it, without a word
        await asyncio.sleep(0)


@pytest.fixture(autouse=True)
async def _no_task_is_left_over() -> AsyncIterator[None]:
    """Each test ends the tasks of the agents that it ran."""
    before = asyncio.all_tasks()
    yield
    left = {task for task in asyncio.all_tasks() - before if task.get_name().startswith("agent ")}
    if left:
        await asyncio.wait(left, timeout=PATIENCE)  # those of cancelled or dropped streams may be closing
    assert [task for task in left if not task.done()] == []


async def test_the_agents_task_is_named_after_its_execution() -> None:
    async def agent(payload: Any) -> Any:
        task = asyncio.current_task()
        assert task is not None
        return task.get_name()

    stream = HandlerAdapter(agent).invoke_stream(1)
    events = await collect(stream)
    assert events[-1].output == f"agent {stream.context.run_id}"


# -- order -----------------------------------------------------------------------------------------


async def test_the_whole_life_in_order() -> None:
    async def agent(payload: Any, context: StreamContext) -> dict[str, Any]:
        await context.emit_token("a")
        context.sync_emit_token("b")
        await asyncio.to_thread(context.sync_emit_token, "c")
        return {"done": payload}

    stream = HandlerAdapter(agent).invoke_stream(5)
    assert stream.latency_seconds == 0.0
    events = await collect(stream)
    assert [event.type for event in events] == ["started", "token", "token", "token", "complete"]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert [event.content for event in events[1:4]] == ["a", "b", "c"]
    assert {event.request_id for event in events} == {stream.context.run_id}
    assert {event.run_id for event in events} == {None}
    assert (events[0].agent_name, events[0].framework) == ("agent", "handler")
    assert (events[-1].output, events[-1].metadata) == ({"done": 5}, {})
    assert events[-1].latency_seconds > 0
    assert sorted(event.timestamp for event in events) == [event.timestamp for event in events]
    assert await collect(stream) == []
    with pytest.raises(StopAsyncIteration):
        await anext(stream)


async def test_nothing_runs_before_the_first_iteration() -> None:
    called: list[Any] = []
    stream = HandlerAdapter(called.append).invoke_stream(1)
    await asyncio.sleep(0)
    assert called == []
    assert stream.task is None
    await stream.aclose()
    assert await collect(stream) == []
    assert called == []


async def test_the_agent_runs_in_a_task_of_its_own_with_a_copy_of_the_callers_context() -> None:
    async def agent(payload: Any) -> Any:
        seen = tenant.get()
        tenant.set("changed by the agent")
        return seen, asyncio.current_task()

    token = tenant.set("acme")
    try:
        stream = HandlerAdapter(agent).invoke_stream(1)
        seen, task = (await collect(stream))[-1].output
        assert tenant.get() == "acme"
    finally:
        tenant.reset(token)
    assert seen == "acme"
    assert task is not asyncio.current_task()
    assert task is stream.task


async def _many(kind: str, payload: int, context: StreamContext) -> int:
    async def from_a_task(number: int) -> None:
        for place in range(20):
            await context.emit("mark", {"owner": payload, "number": number, "place": place})
            await asyncio.sleep(0)

    def from_a_thread(number: int) -> None:
        for place in range(20):
            context.sync_emit("mark", {"owner": payload, "number": number, "place": place})

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(from_a_task(number))
        for number in range(4, 6):
            group.create_task(asyncio.to_thread(from_a_thread, number))
    return payload


@pytest.mark.parametrize("serialize", [False, True])
async def test_a_hundred_streams_at_once_keep_their_events_and_numbers(serialize: bool) -> None:
    async def agent(payload: int, context: StreamContext) -> int:
        return await _many("both", payload, context)

    adapter = HandlerAdapter(agent)

    async def one(number: int) -> None:
        items = await collect(adapter.invoke_stream(number, serialize=serialize))
        events = [decode_event(item) if serialize else item for item in items]
        assert [event.sequence for event in events] == list(range(1, 123))
        assert events[-1].output == number  # type: ignore[attr-defined]
        marks = [event.data for event in events[1:-1] if isinstance(event, CustomEvent)]
        assert {mark["owner"] for mark in marks} == {number}
        for emitter in range(6):
            assert [m["place"] for m in marks if m["number"] == emitter] == list(range(20))

    async with asyncio.TaskGroup() as group:
        for number in range(100):
            group.create_task(one(number))


async def test_two_streams_side_by_side_in_one_task() -> None:
    async def agent(payload: str) -> AsyncIterator[str]:
        for number in range(3):
            yield f"{payload}{number}"

    adapter = HandlerAdapter(agent)
    async with adapter.invoke_stream("a") as first, adapter.invoke_stream("b") as second:
        pairs = [(one, await anext(second)) async for one in first]
    assert [(one.sequence, two.sequence) for one, two in pairs] == [(n, n) for n in range(1, 6)]
    assert [(one.content, two.content) for one, two in pairs[1:4]] == [  # type: ignore[attr-defined]
        ("a0", "b0"),
        ("a1", "b1"),
        ("a2", "b2"),
    ]


async def test_what_comes_after_the_return_is_discarded() -> None:
    kept: list[StreamContext] = []

    async def agent(payload: Any, context: StreamContext) -> str:
        kept.append(context)
        return "done"

    events = await collect(HandlerAdapter(agent).invoke_stream(1))
    await asyncio.to_thread(kept[0].sync_emit_token, "late")
    await kept[0].emit_token("late")
    assert [event.type for event in events] == ["started", "complete"]
    assert kept[0].queue.drain() == []


async def test_a_slow_reader_holds_the_agent_back() -> None:
    """Measured by how far the agent is ahead, from the first event on."""
    produced = 0

    def agent(payload: Any) -> Iterator[str]:
        nonlocal produced
        for number in range(20_000):
            produced = number + 1
            yield "x"

    consumed = ahead = 0
    async with HandlerAdapter(agent).invoke_stream(1) as stream:
        async for event in stream:
            if event.type == "started":
                await until(lambda: stream.context.queue._blocked == 1 or produced == 20_000)
            consumed += event.type == "token"
            ahead = max(ahead, produced - consumed)
    assert consumed == 20_000
    assert ahead < 2 * 1024 + 10


# -- failures --------------------------------------------------------------------------------------


class Boom(Exception):
    pass


ERRORS = [
    Boom("x"),
    KeyError("k"),
    ValueError(),
    TimeoutError("one that asyncio's futures replace"),
    BaseException("base"),
    SystemExit(3),
    KeyboardInterrupt(),
    GeneratorExit(),
    ExceptionGroup("g", [Boom("x")]),
    RunCancelled("own"),
]


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async generator"])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_a_failure_is_the_agents_own_object_after_its_events(error: BaseException, kind: str) -> None:
    def sync(payload: Any, context: StreamContext) -> None:
        context.sync_emit_token("before")
        raise error

    async def asynchronous(payload: Any, context: StreamContext) -> None:
        await context.emit_token("before")
        raise error

    def generator(payload: Any) -> Iterator[str]:
        yield "before"
        raise error

    async def async_generator(payload: Any) -> AsyncIterator[str]:
        yield "before"
        raise error

    agent = {"sync": sync, "async": asynchronous, "generator": generator, "async generator": async_generator}
    got: list[Any] = []
    stream = HandlerAdapter(agent[kind]).invoke_stream(1)
    with pytest.raises(BaseException) as caught:
        await collect_into(got, stream)
    assert caught.value is error
    assert [event.type for event in got] == ["started", "token"]
    assert await collect(stream) == []


@pytest.mark.parametrize("kind", ["sync", "async", "generator"])
@pytest.mark.parametrize("error", [StopIteration(1), StopAsyncIteration(1)], ids=lambda e: type(e).__name__)
async def test_an_exception_that_means_an_end_is_no_end(error: Exception, kind: str) -> None:
    def sync(payload: Any) -> None:
        raise error

    async def asynchronous(payload: Any) -> None:
        raise error

    def generator(payload: Any) -> Iterator[str]:
        yield "a"
        raise error

    adapter = HandlerAdapter({"sync": sync, "async": asynchronous, "generator": generator}[kind])
    with pytest.raises(RuntimeError, match="raised Stop") as caught:
        await collect(adapter.invoke_stream(1))
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("kind", ["sync", "async", "generator", "async generator"])
async def test_an_agent_that_cancels_itself_has_failed(kind: str) -> None:
    def sync(payload: Any) -> None:
        raise asyncio.CancelledError

    async def asynchronous(payload: Any) -> None:
        raise asyncio.CancelledError

    def generator(payload: Any) -> Iterator[str]:
        yield "a"
        raise asyncio.CancelledError

    async def async_generator(payload: Any) -> AsyncIterator[str]:
        yield "a"
        raise asyncio.CancelledError

    agent = {"sync": sync, "async": asynchronous, "generator": generator, "async generator": async_generator}
    with pytest.raises(AgentCancelled, match="CancelledError"):
        await collect(HandlerAdapter(agent[kind]).invoke_stream(1))


async def test_a_task_that_somebody_else_cancels_is_a_failure() -> None:
    async def agent(payload: Any) -> None:
        await asyncio.Event().wait()

    stream = HandlerAdapter(agent).invoke_stream(1)
    await anext(stream)
    assert stream.task is not None
    stream.task.cancel()
    with pytest.raises(AgentCancelled):
        await collect(stream)


async def test_a_refused_emit_is_raised_in_the_agent_and_the_stream_goes_on() -> None:
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    caught: list[type[Exception]] = []

    def agent(payload: Any, context: StreamContext) -> str:
        for emit in (
            lambda: context.sync_emit("a b"),
            lambda: context.sync_checkpoint("c", cyclic),
            lambda: context.sync_emit("big", "x" * 9_000_000),
        ):
            try:
                emit()
            except ValueError as error:
                caught.append(type(error))
        context.sync_emit_token("on")
        return "done"

    items = await collect(HandlerAdapter(agent).invoke_stream(1, serialize=True))
    assert [decode_event(item).type for item in items] == ["started", "token", "complete"]
    assert [decode_event(item).sequence for item in items] == [1, 2, 3]
    assert caught == [InvalidEvent, NotSerialisable, EventTooLarge]


@pytest.mark.parametrize(
    ("kind", "error"), [("cycle", NotSerialisable), ("size", EventTooLarge), ("depth", EventTooLarge)]
)
async def test_an_output_that_cannot_be_sent(kind: str, error: type[Exception]) -> None:
    output: list[Any] = []
    if kind == "cycle":
        output.append(output)
    elif kind == "size":
        output.append("x" * 9_000_000)
    else:
        for _ in range(600):
            output = [output]

    def agent(payload: Any) -> Iterator[Any]:
        yield "before"
        return output

    stream = HandlerAdapter(agent).invoke_stream(1, serialize=True)
    items: list[str] = []
    with pytest.raises(error):
        await collect_into(items, stream)
    assert [decode_event(item).type for item in items] == ["started", "token"]
    assert stream.output_refused
    assert (await collect(HandlerAdapter(agent).invoke_stream(1)))[-1].output is output


# -- ends ------------------------------------------------------------------------------------------


class Watched:
    """An agent that emits for ever, and says how it ended."""

    def __init__(self, kind: str) -> None:
        self.ended = threading.Event()
        self.how: BaseException | None = None
        self.rounds = 0
        self.handler: Callable[..., Any] = getattr(self, kind)

    def _end(self, error: BaseException) -> None:
        self.how = error
        self.ended.set()

    async def asynchronous(self, payload: Any, context: StreamContext) -> None:
        try:
            while True:
                self.rounds += 1
                await context.emit_token("x")
                await asyncio.sleep(0)
        except BaseException as error:
            self._end(error)
            raise

    async def idle(self, payload: Any, context: StreamContext) -> None:
        try:
            await context.emit_token("x")
            await asyncio.Event().wait()
        except BaseException as error:
            self._end(error)
            raise

    def sync(self, payload: Any, context: StreamContext) -> None:
        try:
            while True:
                self.rounds += 1
                context.sync_emit_token("x")
        except BaseException as error:
            self._end(error)
            raise

    def sync_unheard(self, payload: Any, context: StreamContext) -> None:
        try:
            context.sync_emit_token("x")
            while True:
                self.rounds += 1
                context.sync_emit_progress("not allowed by the filter", 0.5)
        except BaseException as error:
            self._end(error)
            raise

    def generator(self, payload: Any) -> Iterator[str]:
        try:
            while True:
                self.rounds += 1
                yield "x"
        except BaseException as error:
            self._end(error)
            raise

    def bare_generator(self, payload: Any) -> Iterator[str | None]:
        try:
            yield "x"
            while True:
                self.rounds += 1
                yield None
        except BaseException as error:
            self._end(error)
            raise

    async def async_generator(self, payload: Any) -> AsyncIterator[str]:
        try:
            while True:
                self.rounds += 1
                yield "x"
        except BaseException as error:
            self._end(error)
            raise


KINDS = {
    "asynchronous": asyncio.CancelledError,
    "idle": asyncio.CancelledError,
    "sync": RunCancelled,
    "sync_unheard": RunCancelled,
    "generator": GeneratorExit,
    "bare_generator": GeneratorExit,
    "async_generator": (GeneratorExit, asyncio.CancelledError),
}


async def _by_aclose(stream: EventStream[Any]) -> None:
    async for event in stream:
        if event.type == "token":
            break
    await stream.aclose()


async def _by_leaving(stream: EventStream[Any]) -> None:
    async with stream:
        async for event in stream:
            if event.type == "token":
                break


async def _by_an_exception(stream: EventStream[Any]) -> None:
    async def read() -> None:
        async with stream:
            async for event in stream:
                if event.type == "token":
                    raise Boom

    with pytest.raises(Boom):
        await read()


async def _by_cancelling_the_reader(stream: EventStream[Any]) -> None:
    begun = asyncio.Event()

    async def read() -> None:
        async for event in stream:
            if event.type == "token":
                begun.set()
                await asyncio.sleep(0)

    task = asyncio.ensure_future(read())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await stream.aclose()  # the reader may have been cancelled within its own body


async def _by_timeout(stream: EventStream[Any]) -> None:
    async def read() -> None:
        async with asyncio.timeout(None) as scope, stream:
            async for event in stream:
                if event.type == "token":
                    scope.reschedule(asyncio.get_running_loop().time())

    with pytest.raises(TimeoutError):
        await read()


async def _by_closing_from_another_task(stream: EventStream[Any]) -> None:
    begun = asyncio.Event()

    async def read() -> list[str]:
        types = []
        async for event in stream:
            types.append(event.type)
            begun.set()
            await asyncio.sleep(0)
        return types

    task = asyncio.ensure_future(read())
    await begun.wait()
    await stream.aclose()
    types = await asyncio.wait_for(task, PATIENCE)
    assert types[0] == "started"
    assert "complete" not in types


ENDS = [
    _by_aclose,
    _by_leaving,
    _by_an_exception,
    _by_cancelling_the_reader,
    _by_timeout,
    _by_closing_from_another_task,
]


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.__name__)
@pytest.mark.parametrize("kind", KINDS)
async def test_an_end_from_outside_stops_the_agent(kind: str, end: Callable[[EventStream[Any]], Any]) -> None:
    agent = Watched(kind)
    events_filter = EventsFilter(["token"])
    stream = HandlerAdapter(agent.handler).invoke_stream(1, events_filter=events_filter)
    await end(stream)
    assert await asyncio.to_thread(agent.ended.wait, PATIENCE)
    assert isinstance(agent.how, KINDS[kind])
    assert stream.context.cancelled
    assert await collect(stream) == []
    assert stream.task is not None
    await asyncio.wait_for(asyncio.wait((stream.task,)), PATIENCE)
    rounds = agent.rounds
    await asyncio.sleep(0)
    assert agent.rounds == rounds


@pytest.mark.parametrize("kind", KINDS)
async def test_dropping_the_stream_stops_the_agent(kind: str) -> None:
    agent = Watched(kind)

    async def read() -> None:
        tokens = EventsFilter(["token"])
        async for event in HandlerAdapter(agent.handler).invoke_stream(1, events_filter=tokens):
            if event.type == "token":
                break

    await read()
    gc.collect()
    assert await asyncio.to_thread(agent.ended.wait, PATIENCE)
    assert isinstance(agent.how, KINDS[kind])


async def test_a_timeout_around_the_loop_stops_the_agent() -> None:
    agent = Watched("idle")

    async def read() -> None:
        async with asyncio.timeout(0.05):
            async for _ in HandlerAdapter(agent.handler).invoke_stream(1):
                pass

    with pytest.raises(TimeoutError):
        await read()
    assert agent.ended.is_set()
    assert isinstance(agent.how, asyncio.CancelledError)


async def test_closing_twice_and_after_the_end_is_fine() -> None:
    stream = HandlerAdapter(lambda payload: payload).invoke_stream(1)
    await collect(stream)
    await stream.aclose()
    await stream.aclose()
    async with stream:
        assert await collect(stream) == []


async def test_an_agent_that_swallows_its_cancellation_is_stopped_at_its_next_emit() -> None:
    how: list[BaseException] = []

    async def agent(payload: Any, context: StreamContext) -> str:
        try:
            await context.emit_token("x")
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            pass
        try:
            await context.emit_token("stubborn")
        except asyncio.CancelledError as error:
            how.append(error)
        return "and it returns"

    stream = HandlerAdapter(agent).invoke_stream(1)
    await anext(stream)
    await anext(stream)
    await stream.aclose()
    assert len(how) == 1
    assert stream.task is not None
    assert stream.task.done()
    assert await collect(stream) == []


async def test_cleaning_up_may_take_its_time() -> None:
    cleaned: list[bool] = []

    async def agent(payload: Any) -> AsyncIterator[str]:
        try:
            while True:
                yield "x"
        finally:
            await asyncio.sleep(0)
            await asyncio.to_thread(lambda: None)
            cleaned.append(True)

    async with HandlerAdapter(agent).invoke_stream(1) as stream:
        await anext(stream)
        await anext(stream)
    assert cleaned == [True]


async def test_an_agent_that_fails_while_it_is_stopped_disturbs_nobody() -> None:
    async def agent(payload: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            raise Boom

    stream = HandlerAdapter(agent).invoke_stream(1)
    await anext(stream)
    await asyncio.sleep(0)
    await stream.aclose()
    dropped = HandlerAdapter(agent).invoke_stream(1)
    await anext(dropped)
    await asyncio.sleep(0)
    del dropped
    gc.collect()


async def test_two_readers_at_once_are_refused() -> None:
    release = asyncio.Event()

    async def agent(payload: Any) -> str:
        await release.wait()
        return "done"

    stream = HandlerAdapter(agent).invoke_stream(1)
    await anext(stream)
    first = asyncio.ensure_future(anext(stream))
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="another task"):
        await anext(stream)
    release.set()
    assert (await first).type == "complete"


@pytest.mark.parametrize("form", ["ainvoke", "stream"])
async def test_a_thread_that_does_not_emit_counts_as_abandoned_until_it_returns(form: str) -> None:
    begun, release, returned = threading.Event(), threading.Event(), threading.Event()

    def agent(payload: Any, context: StreamContext) -> None:
        begun.set()
        release.wait(PATIENCE)
        returned.set()

    adapter = HandlerAdapter(agent)
    call = adapter.ainvoke(1) if form == "ainvoke" else collect(adapter.invoke_stream(1))
    task = asyncio.ensure_future(call)
    await asyncio.to_thread(begun.wait, PATIENCE)
    pool = adapter._pool
    assert pool is not None
    assert pool.abandoned == 0
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert pool.abandoned == 1
    release.set()
    await asyncio.to_thread(returned.wait, PATIENCE)
    await until(lambda: pool.abandoned == 0)


async def test_cancelling_a_plain_invocation_stops_synchronous_code_at_its_next_emit() -> None:
    agent = Watched("sync")
    task = asyncio.ensure_future(HandlerAdapter(agent.handler).ainvoke(1))
    await until(lambda: agent.rounds > 0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(agent.ended.wait, PATIENCE)
    assert isinstance(agent.how, RunCancelled)


# -- in the runtime's hands ------------------------------------------------------------------------


async def test_batches_hold_what_is_ready() -> None:
    async def agent(payload: Any, context: StreamContext) -> str:
        for content in "abc":
            await context.emit_token(content)
        return "done"

    stream = HandlerAdapter(agent).invoke_stream(1)
    stream.leave_as(as_encoded, EventEncoder())
    first, second = await stream.next_batch(), await stream.next_batch()
    assert [event.type for event in first] == ["started"]
    assert [event.type for event in second] == ["token", "token", "token", "complete"]
    assert [event.sequence for event in first + second] == [1, 2, 3, 4, 5]
    assert stream.ended
    assert await stream.next_batch() == []
    with pytest.raises(RuntimeError, match="begun already"):
        stream.leave_as(as_encoded, EventEncoder())


async def test_a_nudge_and_a_heartbeat_give_an_empty_batch() -> None:
    go_on = asyncio.Event()

    async def agent(payload: Any, context: StreamContext) -> str:
        await context.emit_heartbeat()
        await go_on.wait()
        await asyncio.to_thread(context.sync_emit_heartbeat)
        await context.emit_token("x")
        return "done"

    stream = HandlerAdapter(agent).invoke_stream(1)
    assert [event.type for event in await stream.next_batch()] == ["started"]
    assert await stream.next_batch() == []
    stream.nudge()
    assert await stream.next_batch() == []
    go_on.set()
    rest = [event async for event in stream]
    assert [event.sequence for event in rest] == [2, 3]


@pytest.mark.parametrize("begun", [False, True])
async def test_the_runtime_may_end_it_with_an_event_of_its_own(begun: bool) -> None:
    async def agent(payload: Any) -> None:
        await asyncio.Event().wait()

    stream = HandlerAdapter(agent).invoke_stream(1)
    if begun:
        await stream.next_batch()
    stream.cancel()
    [event] = stream.end_with(CancelledEvent("shutdown"))
    assert (event.type, event.sequence) == ("cancelled", 2 if begun else 1)
    assert await stream.next_batch() == []
    await stream.aclose()


async def test_the_output_can_be_checked() -> None:
    stream = HandlerAdapter(lambda payload: payload).invoke_stream(1)

    def refuse(output: Any) -> None:
        raise Boom(output)

    stream.check_output = refuse
    with pytest.raises(Boom, match="1"):
        await collect(stream)
    assert stream.output_refused


async def test_a_context_that_has_ended_begins_no_stream() -> None:
    context = StreamContext("mine")
    await context.emit_complete(1, 1.0)
    with pytest.raises(StreamClosed, match="needs a new context"):
        await collect(HandlerAdapter(lambda payload: payload).invoke_stream(1, context=context))


# -- generators of third parties -------------------------------------------------------------------


async def test_a_bare_generator_becomes_a_stream() -> None:
    closed: list[bool] = []

    async def source() -> AsyncIterator[Any]:
        try:
            yield StartedEvent("theirs")
            yield "text"
            yield ProgressEvent("half", 0.5)
            yield HeartbeatEvent()
            yield TokenEvent("more", sequence=7, request_id="theirs")
            yield CompleteEvent({"out": 1}, 99.0, {})
        finally:
            closed.append(True)

    stream = as_stream(source(), StreamContext("mine"), agent_name="agent", framework="own")
    events = await collect(stream)
    assert [event.type for event in events] == ["started", "token", "progress", "token", "complete"]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
    assert {event.request_id for event in events} == {"mine"}
    assert (events[0].agent_name, events[0].framework) == ("agent", "own")
    assert events[-1].output == {"out": 1}
    assert events[-1].latency_seconds < 99
    assert closed == [True]


async def test_a_bare_generator_may_fail_in_three_ways() -> None:
    async def with_an_event() -> AsyncIterator[Any]:
        yield ErrorEvent("bad", "THEIR_CODE", {"a": 1})

    async def cancelled() -> AsyncIterator[Any]:
        yield CancelledEvent("enough")

    async def with_an_exception() -> AsyncIterator[Any]:
        yield "x"
        raise Boom

    with pytest.raises(AgentFailed, match="bad") as failed:
        await collect(as_stream(with_an_event(), StreamContext("a"), agent_name="a"))
    assert (failed.value.code, failed.value.details) == ("THEIR_CODE", {"a": 1})
    with pytest.raises(AgentCancelled, match="enough"):
        await collect(as_stream(cancelled(), StreamContext("a"), agent_name="a"))
    with pytest.raises(Boom):
        await collect(as_stream(with_an_exception(), StreamContext("a"), agent_name="a"))


async def test_a_bare_generator_is_filtered_and_stopped() -> None:
    closed = asyncio.Event()

    async def source() -> AsyncIterator[Any]:
        try:
            while True:
                yield TokenEvent("t")
                yield ProgressEvent("p", 0.5)
                await asyncio.sleep(0)
        finally:
            closed.set()

    context = StreamContext("mine", events_filter=EventsFilter(["progress"]))
    async with as_stream(source(), context, agent_name="a") as stream:
        types = [(await anext(stream)).type for _ in range(3)]
    assert types == ["started", "progress", "progress"]
    assert closed.is_set()


async def test_a_stream_stays_what_it_is() -> None:
    stream = HandlerAdapter(lambda payload: payload).invoke_stream(1)
    assert as_stream(stream, stream.context, agent_name="a") is stream


async def test_an_async_iterator_without_aclose_will_do() -> None:
    class Source:
        def __init__(self) -> None:
            self.left = ["a", "b"]

        def __aiter__(self) -> Source:
            return self

        async def __anext__(self) -> str:
            if not self.left:
                raise StopAsyncIteration
            return self.left.pop(0)

    events = await collect(as_stream(Source(), StreamContext("mine"), agent_name="a"))
    assert [event.type for event in events] == ["started", "token", "token", "complete"]


# -- what is left ----------------------------------------------------------------------------------


async def test_no_thread_outlives_its_adapter() -> None:
    before = set(threading.enumerate())
    adapter = HandlerAdapter(lambda payload: payload)
    await asyncio.gather(*(collect(adapter.invoke_stream(n)) for n in range(20)))
    workers = set(threading.enumerate()) - before
    assert workers
    del adapter
    deadline = time.monotonic() + PATIENCE
    for worker in workers:
        while worker.name.startswith("dockrion") and worker.is_alive():
            gc.collect()  # a worker that was still leaving its last call kept the pool from the first one
            await asyncio.to_thread(worker.join, 0.1)
            assert time.monotonic() < deadline
