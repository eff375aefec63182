"""The queue: one wake-up for any number of events, room for those who can wait, and an end."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from dockrion_events import EncodedEvent, Event, QueueBackend, RunCancelled, StreamContext, TokenEvent
from dockrion_events.backends.queue import HIGH_WATER
from dockrion_events.encoding import EventEncoder
from dockrion_events.exit import Exit

JOIN = 10.0


def contents(events: list[Any]) -> list[str]:
    return [event.content for event in events]


def started(work: Callable[[], object], count: int = 1) -> list[threading.Thread]:
    threads = [threading.Thread(target=work, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    return threads


async def joined(threads: list[threading.Thread]) -> None:
    for thread in threads:
        await asyncio.to_thread(thread.join, JOIN)
        assert not thread.is_alive()


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until ``condition`` holds; the test's time-out is the limit."""
    while not condition():  # noqa: ASYNC110 - other threads change it, without a word
        await asyncio.sleep(0)


@pytest.fixture
def wakeups(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every callback that is given to the running loop from a thread."""
    calls: list[object] = []
    original = asyncio.BaseEventLoop.call_soon_threadsafe

    def counting(self: Any, callback: Any, *args: Any, **kwargs: Any) -> Any:
        calls.append(callback)
        return original(self, callback, *args, **kwargs)

    monkeypatch.setattr(asyncio.BaseEventLoop, "call_soon_threadsafe", counting)
    return calls


# -- wake-ups --------------------------------------------------------------------------------------


async def test_a_burst_from_a_thread_wakes_the_consumer_once(wakeups: list[object]) -> None:
    queue = QueueBackend()
    consumer = asyncio.ensure_future(queue.wait())
    await until(lambda: bool(queue._sleeper))

    def burst() -> None:
        for number in range(500):
            queue.emit(TokenEvent(str(number)))

    [thread] = started(burst)
    thread.join(JOIN)  # the loop stands still meanwhile: the consumer cannot take any of them
    assert len(wakeups) == 1
    await consumer
    assert contents(queue.drain()) == [str(number) for number in range(500)]


async def test_without_a_waiting_consumer_nothing_is_woken(wakeups: list[object]) -> None:
    queue = QueueBackend()
    threads = started(lambda: [queue.emit(TokenEvent("a")) for _ in range(100)], 4)
    for thread in threads:
        thread.join(JOIN)
    assert wakeups == []
    await queue.wait()
    assert len(queue.drain()) == 400


async def test_events_of_the_loops_own_thread_wake_without_a_callback(wakeups: list[object]) -> None:
    queue = QueueBackend()
    consumer = asyncio.ensure_future(queue.wait())
    await until(lambda: bool(queue._sleeper))
    for _ in range(10):
        queue.emit(TokenEvent("a"))
    await consumer
    assert wakeups == []
    assert len(queue.drain()) == 10


async def test_a_burst_costs_one_wake_up_each_time(wakeups: list[object]) -> None:
    queue = QueueBackend()
    for _ in range(20):
        consumer = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0)
        [thread] = started(lambda: [queue.emit(TokenEvent("a")) for _ in range(50)])
        thread.join(JOIN)
        await consumer
        assert len(queue.drain()) == 50
    assert len(wakeups) == 20


async def test_no_wake_up_is_lost_when_emitters_overtake_each_other() -> None:
    """With a trace function, as under coverage or a debugger, threads change places at any line."""

    def trace(frame: Any, event: str, _: Any) -> Any:
        if frame.f_code is not QueueBackend.emit.__code__:
            return None
        time.sleep(0)  # lets another thread go first
        return trace

    queue = QueueBackend()
    threads, count = 4, 1500
    interval = sys.getswitchinterval()
    threading.settrace(trace)
    sys.setswitchinterval(1e-6)
    try:
        running = started(lambda: [queue.emit(TokenEvent("x")) for _ in range(count)], threads)
        got = 0
        while got < threads * count:
            await asyncio.wait_for(queue.wait(), JOIN)
            got += len(queue.drain())
    finally:
        threading.settrace(None)  # type: ignore[arg-type]
        sys.setswitchinterval(interval)
    await joined(running)


async def test_nothing_is_lost_between_many_threads_and_a_consumer() -> None:
    queue = QueueBackend()
    threads, count = 8, 3000

    def work(number: int) -> None:
        for place in range(count):
            queue.emit(TokenEvent(f"{number} {place}"))

    running = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(threads)]
    for thread in running:
        thread.start()
    got: list[str] = []
    while len(got) < threads * count:
        await queue.wait()
        got += contents(queue.drain())
    await joined(running)
    for number in range(threads):
        assert [c for c in got if c.startswith(f"{number} ")] == [f"{number} {p}" for p in range(count)]


async def test_a_cancelled_wait_can_be_repeated() -> None:
    queue = QueueBackend()
    waiting = asyncio.ensure_future(queue.wait())
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    again = asyncio.ensure_future(queue.wait())
    await asyncio.sleep(0)
    queue.emit(TokenEvent("a"))
    await again
    assert len(queue.drain()) == 1


async def test_a_nudge_returns_a_wait_or_the_next_one() -> None:
    queue = QueueBackend()
    waiting = asyncio.ensure_future(queue.wait())
    await asyncio.sleep(0)
    queue.nudge()
    await waiting
    assert queue.drain() == []  # the consumer has looked; the nudge is spent
    await asyncio.to_thread(queue.nudge)
    await queue.wait()
    assert queue.drain() == []
    third = asyncio.ensure_future(queue.wait())
    await asyncio.sleep(0)
    assert not third.done()
    queue.close()
    await third


def test_a_queue_outlives_the_loop_that_waited() -> None:
    queue = QueueBackend()

    async def wait_and_leave() -> None:
        task = asyncio.ensure_future(queue.wait())
        await asyncio.sleep(0)
        assert not task.done()

    asyncio.run(wait_and_leave())
    assert queue.emit(TokenEvent("a"))
    queue.close()
    assert contents(queue.drain()) == ["a"]


# -- room ------------------------------------------------------------------------------------------


def emitting(context: StreamContext, count: int, content: str = "x") -> Callable[[], None]:
    """Return work that emits ``count`` tokens, or fewer where the execution is cancelled."""

    def work() -> None:
        try:
            for _ in range(count):
                context.sync_emit_token(content)
        except RunCancelled:
            pass

    return work


def consumed(context: StreamContext) -> Exit:
    """Return the exit of ``context`` with a consumer that has been there and is away just now."""
    out = Exit(context)
    context.sync_emit_token("first")
    return out


async def test_a_thread_waits_for_room_from_the_first_batch_on() -> None:
    context = StreamContext("run-1")
    out = consumed(context)
    assert len(await out.next_batch()) == 1
    count = 4 * HIGH_WATER

    def work() -> None:
        for number in range(count):
            context.sync_emit_token(str(number))

    threads = started(work)
    await until(lambda: context.queue._blocked == 1 or not threads[0].is_alive())
    assert len(context.queue) == HIGH_WATER
    got: list[str] = []
    while len(got) < count:
        batch = await out.next_batch()
        assert len(batch) <= HIGH_WATER
        got += contents(batch)
    await joined(threads)
    assert got == [str(number) for number in range(count)]


async def test_many_threads_wait_and_go_on() -> None:
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    threads, count = 10, 2 * HIGH_WATER
    running = started(emitting(context, count), threads)
    await until(lambda: context.queue._blocked == threads)
    assert HIGH_WATER <= len(context.queue) < HIGH_WATER + threads
    got = 0
    while got < threads * count:
        got += len(await out.next_batch())
    await joined(running)
    assert out.sequence == threads * count + 1


async def test_a_task_waits_for_room() -> None:
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    count = 3 * HIGH_WATER

    async def work() -> None:
        for number in range(count):
            await context.emit_token(str(number))

    task = asyncio.ensure_future(work())
    await until(lambda: bool(context.queue._waiting_tasks))
    assert len(context.queue) == HIGH_WATER
    assert not task.done()
    got = 0
    while got < count:
        got += len(await out.next_batch())
    await task


async def test_a_task_of_another_loop_waits_for_room() -> None:
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    count = 2 * HIGH_WATER

    async def work() -> None:
        for number in range(count):
            await context.emit_token(str(number))

    threads = started(lambda: asyncio.run(work()))
    await until(lambda: bool(context.queue._waiting_tasks))
    assert len(context.queue) == HIGH_WATER
    got = 0
    while got < count:
        got += len(await out.next_batch())
    await joined(threads)


@pytest.mark.parametrize("nudged", [False, True])
async def test_a_synchronous_call_on_the_loops_thread_never_waits(nudged: bool) -> None:
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    if nudged:
        out.nudge()
        assert await out.next_batch() == []
    for _ in range(3 * HIGH_WATER):
        context.sync_emit_token("x")
    assert len(await out.next_batch()) == 3 * HIGH_WATER


async def test_without_a_consumer_nobody_waits() -> None:
    context = StreamContext("run-1")
    await joined(started(emitting(context, 3 * HIGH_WATER)))
    for _ in range(3 * HIGH_WATER):
        await context.emit_token("x")
    assert len(context.drain_queued_events()) == 6 * HIGH_WATER


async def test_a_thread_does_not_wait_for_a_loop_that_waits_for_it() -> None:
    """An asynchronous agent that blocks its loop with threads of its own would wait for ever."""
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    [thread] = started(emitting(context, 2 * HIGH_WATER))
    thread.join(JOIN)  # blocks the loop, on purpose
    assert not thread.is_alive()
    assert len(await out.next_batch()) == 2 * HIGH_WATER
    await asyncio.sleep(0)  # once the loop has turned again, there is back-pressure again
    [thread] = started(emitting(context, 2 * HIGH_WATER))
    await until(lambda: context.queue._blocked == 1 or not thread.is_alive())
    assert len(context.queue) == HIGH_WATER
    out.cancel()
    await joined([thread])


async def test_large_events_make_it_full_sooner() -> None:
    context = StreamContext("run-1")
    out = Exit(context, encoder=EventEncoder())
    context.sync_emit_token("first")
    await out.next_batch()
    [thread] = started(emitting(context, 50, "x" * 1_000_000))
    await until(lambda: context.queue._blocked == 1 or not thread.is_alive())
    assert thread.is_alive()
    assert len(context.queue) <= 5
    out.cancel()
    await joined([thread])


# -- the end ---------------------------------------------------------------------------------------


async def test_closing_releases_everybody() -> None:
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    ended: list[type[BaseException] | None] = []

    def work() -> None:
        try:
            for _ in range(2 * HIGH_WATER):
                context.sync_emit_token("x")
            ended.append(None)
        except RunCancelled as error:
            ended.append(type(error))

    async def task() -> None:
        for _ in range(2 * HIGH_WATER):
            await context.emit_token("x")

    threads = started(work, 3)
    tasks = [asyncio.ensure_future(task()) for _ in range(3)]
    await until(lambda: context.queue._blocked == 3 and len(context.queue._waiting_tasks) == 3)
    out.cancel()
    await joined(threads)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert ended == [RunCancelled] * 3
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


async def test_a_closed_queue_refuses_and_can_still_be_drained() -> None:
    queue = QueueBackend()
    queue.emit(TokenEvent("a"))
    queue.close()
    queue.close()
    assert queue.closed
    assert not queue.is_available()
    assert queue.emit(TokenEvent("late")) is False
    await queue.wait()
    assert contents(queue.drain()) == ["a"]
    await queue.wait()
    queue.wait_for_room()
    await queue.room()


async def test_closing_wakes_a_waiting_consumer() -> None:
    queue = QueueBackend()
    waiting = asyncio.ensure_future(queue.wait())
    await asyncio.sleep(0)
    await joined(started(queue.close))
    await waiting


# -- the exit --------------------------------------------------------------------------------------


async def test_the_exit_numbers_what_leaves_and_nothing_else() -> None:
    context = StreamContext("run-1")
    out = Exit(context, id_field="run_id")
    for content in "abc":
        context.sync_emit_token(content)
    first = await out.next_batch()
    context.sync_emit_token("d")
    out.push(TokenEvent("e"))
    out.close()
    context.sync_emit_token("late")
    assert out.closed
    second = await out.next_batch()
    [last] = out.take(TokenEvent("f"))
    assert [event.sequence for event in (*first, *second, last)] == [1, 2, 3, 4, 5, 6]
    assert contents([*first, *second, last]) == list("abcdef")
    assert {event.run_id for event in first if isinstance(event, Event)} == {"run-1"}
    assert await out.next_batch() == []


async def test_an_encoding_exit_completes_the_same_bytes() -> None:
    context = StreamContext('run "1"\n')
    out = Exit(context, encoder=EventEncoder())
    data = {"list": [1]}
    context.sync_emit("mine", data)
    [waiting] = context.queue._items
    assert isinstance(waiting, EncodedEvent)
    before = waiting.json
    data["list"].append(2)
    data["more"] = [3]
    [event] = await out.next_batch()
    assert isinstance(event, EncodedEvent)
    assert event.json.startswith(before)
    decoded = event.decode()
    assert decoded.data == {"list": [1]}  # type: ignore[attr-defined]
    assert (decoded.request_id, decoded.sequence) == ('run "1"\n', 1)


def queues() -> int:
    gc.collect()
    return sum(isinstance(obj, QueueBackend) for obj in gc.get_objects())


async def test_nothing_stays_behind() -> None:
    before = queues()
    context = StreamContext("run-1")
    out = consumed(context)
    await out.next_batch()
    out.close()
    del context, out
    assert queues() == before
