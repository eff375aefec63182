"""The current context follows the code: into tasks, threads that copy it, and with `wrap` into any."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar, copy_context
from functools import partial

import anyio
import pytest

from dockrion_events import StreamContext, context_scope, get_current_context, set_current_context

other: ContextVar[str] = ContextVar("other", default="unset")


@pytest.fixture
def context() -> StreamContext:
    return StreamContext("run-1")


def in_a_bare_thread(work: object) -> object:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(work()))  # type: ignore[operator]
    thread.start()
    thread.join(10)
    return found[0]


def test_there_is_none_by_default() -> None:
    assert get_current_context() is None


def test_set_and_reset(context: StreamContext) -> None:
    token = set_current_context(context)
    assert get_current_context() is context
    token.var.reset(token)
    assert get_current_context() is None


def test_scopes_nest_and_leave_as_they_found(context: StreamContext) -> None:
    inner = StreamContext("run-2")
    with context_scope(context) as held:
        assert held is context
        with context_scope(inner):
            assert get_current_context() is inner
            with context_scope(None):
                assert get_current_context() is None
            assert get_current_context() is inner
        assert get_current_context() is context
    assert get_current_context() is None


def test_a_scope_is_left_by_an_exception(context: StreamContext) -> None:
    with pytest.raises(KeyError), context_scope(context):
        raise KeyError("x")
    assert get_current_context() is None


async def test_tasks_and_threads_that_copy_the_context(context: StreamContext) -> None:
    async def ask() -> StreamContext | None:
        return get_current_context()

    with context_scope(context):
        assert await asyncio.create_task(ask()) is context
        assert await asyncio.to_thread(get_current_context) is context
        assert await anyio.to_thread.run_sync(get_current_context) is context
        async with asyncio.TaskGroup() as group:
            task = group.create_task(ask())
        assert task.result() is context
        assert in_a_bare_thread(partial(copy_context().run, get_current_context)) is context
    assert get_current_context() is None


async def test_concurrent_tasks_have_their_own() -> None:
    together = asyncio.Barrier(20)

    async def one(number: int) -> None:
        mine = StreamContext(f"run-{number}")
        with context_scope(mine):
            await together.wait()
            assert get_current_context() is mine
            assert await asyncio.to_thread(get_current_context) is mine
            await together.wait()
            assert get_current_context() is mine

    async with asyncio.TaskGroup() as group:
        for number in range(20):
            group.create_task(one(number))


async def test_wrap_carries_it_where_nothing_else_does(context: StreamContext) -> None:
    with context_scope(context):
        assert in_a_bare_thread(get_current_context) is None
        loop = asyncio.get_running_loop()
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(get_current_context).result() is None
            assert pool.submit(context.wrap(get_current_context)).result() is context
            assert await loop.run_in_executor(pool, context.wrap(get_current_context)) is context
            assert pool.submit(get_current_context).result() is None
    assert in_a_bare_thread(context.wrap(get_current_context)) is context


def test_wrap_carries_this_context_and_the_callers_other_variables(context: StreamContext) -> None:
    token = other.set("mine")
    try:
        with context_scope(StreamContext("another")):
            wrapped = context.wrap(lambda: (get_current_context(), other.get()))
    finally:
        other.reset(token)
    assert in_a_bare_thread(wrapped) == (context, "mine")
    assert wrapped() == (context, "mine")
    assert get_current_context() is None


def test_wrap_passes_arguments_results_and_exceptions(context: StreamContext) -> None:
    def work(a: int, /, b: int, *, c: int = 0) -> tuple[int, int, int]:
        """Work."""
        if c < 0:
            raise ValueError("negative")
        return a, b, c

    wrapped = context.wrap(work)
    assert wrapped(1, b=2, c=3) == (1, 2, 3)
    assert wrapped.__name__ == "work"
    assert wrapped.__doc__ == "Work."
    with pytest.raises(ValueError, match="negative"):
        wrapped(1, 2, c=-1)


def test_one_wrapped_function_runs_in_many_threads_at_once(context: StreamContext) -> None:
    together = threading.Barrier(8)

    def work(number: int) -> int:
        together.wait(10)
        context.sync_emit_token(str(number))
        assert get_current_context() is context
        return number

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(context.wrap(work), range(8))) == list(range(8))
    events = context.drain_queued_events()
    assert sorted(event.content for event in events) == [str(n) for n in range(8)]  # type: ignore[attr-defined]
    assert [event.sequence for event in events] == list(range(1, 9))


async def test_wrap_takes_coroutine_functions(context: StreamContext) -> None:
    async def work(value: int) -> tuple[int, StreamContext | None]:
        await asyncio.sleep(0)
        return value, get_current_context()

    assert await asyncio.create_task(context.wrap(work)(5)) == (5, context)
    assert get_current_context() is None


def test_wrapped_changes_stay_inside(context: StreamContext) -> None:
    def work() -> None:
        other.set("changed")

    context.wrap(work)()
    assert other.get() == "unset"


def test_a_node_deep_inside_emits(context: StreamContext) -> None:
    def helper() -> None:
        if ctx := get_current_context():
            ctx.sync_emit_progress(step="node", progress=0.5, message="…")

    helper()
    with context_scope(context):
        helper()
    assert [event.type for event in context.drain_queued_events()] == ["progress"]
