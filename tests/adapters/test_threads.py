"""The worker pool counts the threads that cancelled executions have left behind."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from dockrion_adapters import NoWorkerThreads, WorkerPool, abandoned_threads
from dockrion_adapters.threads import run_in_thread, working_threads
from dockrion_events import StreamContext, context_scope, get_current_context

PATIENCE = 20.0


class Held:
    """Work that lasts until it is released."""

    def __init__(self) -> None:
        self.begun, self.release = threading.Event(), threading.Event()

    def __call__(self) -> str:
        self.begun.set()
        assert self.release.wait(PATIENCE)
        return "returned"


@pytest.fixture
def pool() -> Iterator[WorkerPool]:
    with WorkerPool(2) as pool:
        yield pool


def test_threads_of_cancelled_executions_are_abandoned_until_they_return(pool: WorkerPool) -> None:
    before = abandoned_threads()
    contexts, works = [StreamContext("a"), StreamContext("b")], [Held(), Held()]
    futures = []
    for context, work in zip(contexts, works, strict=True):
        with context_scope(context):
            futures.append(pool.submit(work))
        assert work.begun.wait(PATIENCE)
    assert pool.abandoned == 0
    contexts[0].cancel()
    assert (pool.abandoned, abandoned_threads() - before) == (1, 1)
    with context_scope(StreamContext("c")):
        waiting = pool.submit(lambda: "queued")
    contexts[1].cancel()
    assert pool.abandoned == 2
    with context_scope(StreamContext("d")), pytest.raises(NoWorkerThreads, match="all 2 worker threads"):
        pool.submit(lambda: None)
    for work in works:
        work.release.set()
    assert [future.result(PATIENCE) for future in futures] == ["returned", "returned"]
    assert waiting.result(PATIENCE) == "queued"
    assert pool.abandoned == 0
    with context_scope(StreamContext("e")):
        assert pool.submit(lambda: "free again").result(PATIENCE) == "free again"


def test_work_outside_of_executions_is_not_counted(pool: WorkerPool) -> None:
    work = Held()
    future = pool.submit(work)
    assert work.begun.wait(PATIENCE)
    assert (pool.abandoned, working_threads()) == (0, 0)
    work.release.set()
    assert future.result(PATIENCE) == "returned"


def test_functions_without_arguments_are_told_apart(pool: WorkerPool) -> None:
    works = [Held(), Held()]
    contexts = [StreamContext("a"), StreamContext("b")]
    futures = []
    for context, work in zip(contexts, works, strict=True):
        with context_scope(context):
            futures.append(pool.submit(work))
        assert work.begun.wait(PATIENCE)
    works[0].release.set()
    assert futures[0].result(PATIENCE) == "returned"
    contexts[1].cancel()
    assert pool.abandoned == 1
    works[1].release.set()
    assert futures[1].result(PATIENCE) == "returned"


def test_a_failure_frees_the_thread(pool: WorkerPool) -> None:
    context = StreamContext("a")

    def fail() -> None:
        raise ValueError("no")

    with context_scope(context):
        future = pool.submit(fail)
    assert isinstance(future.exception(PATIENCE), ValueError)
    context.cancel()
    assert pool.abandoned == 0


def test_a_pool_that_is_gone_is_not_counted() -> None:
    before = abandoned_threads()
    pool = WorkerPool(1)
    assert abandoned_threads() == before
    del pool
    gc.collect()
    assert abandoned_threads() == before


async def test_a_thread_runs_in_a_copy_of_the_context(pool: WorkerPool) -> None:
    context = StreamContext("a")
    with context_scope(context):
        assert await run_in_thread(pool, get_current_context) is context


@pytest.mark.parametrize(
    "error", [TimeoutError("x"), KeyError("k"), SystemExit(2), GeneratorExit()], ids=repr
)
async def test_an_exception_comes_over_as_it_is(pool: WorkerPool, error: BaseException) -> None:
    def fail() -> Any:
        raise error

    with pytest.raises(type(error)) as caught:
        await run_in_thread(pool, fail)
    assert caught.value is error


async def test_work_that_is_cancelled_before_it_began_never_runs() -> None:
    with WorkerPool(1) as pool:
        first, ran = Held(), []
        held = asyncio.ensure_future(run_in_thread(pool, first))
        await asyncio.to_thread(first.begun.wait, PATIENCE)
        queued = asyncio.ensure_future(run_in_thread(pool, lambda: ran.append(1)))
        await asyncio.sleep(0)
        queued.cancel()
        with pytest.raises(asyncio.CancelledError):
            await queued
        first.release.set()
        assert await held == "returned"
    assert ran == []
