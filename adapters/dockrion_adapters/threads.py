"""Worker threads for synchronous agents: bounded, counted, and honest about those left behind."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any, Final, TypeVar, cast

from dockrion_events import StreamContext, get_current_context

from .errors import NoWorkerThreads

T = TypeVar("T")

MAX_THREADS: Final = 256
THREAD_NAMES: Final = "dockrion-worker"
"""What the names of worker threads begin with."""

_pools: weakref.WeakSet[WorkerPool] = weakref.WeakSet()
_working: dict[object, tuple[WorkerPool, StreamContext]] = {}
"""One entry for each worker thread of this process that works for an execution."""


class WorkerPool(ThreadPoolExecutor):
    """A thread pool that knows which of its threads work for executions that were cancelled.

    Nobody can stop a thread; a synchronous function that never emits runs on after its execution
    was cancelled. Such a thread counts as abandoned until the function returns. When all threads
    are abandoned, `submit` raises `NoWorkerThreads` rather than queue work behind them.
    """

    def __init__(self, max_workers: int = MAX_THREADS) -> None:
        super().__init__(max_workers, thread_name_prefix=THREAD_NAMES)
        self.size: int = max_workers
        _pools.add(self)

    @property
    def abandoned(self) -> int:
        """How many threads work for an execution that was cancelled."""
        return sum(context.cancelled for pool, context in list(_working.values()) if pool is self)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        context = get_current_context()
        if context is None:
            return super().submit(fn, *args, **kwargs)
        if len(_working) >= self.size and self.abandoned >= self.size:
            raise NoWorkerThreads(
                f"all {self.size} worker threads are held by cancelled code that has not returned"
            )
        return super().submit(self._tracked, context, fn, args, kwargs)

    def _tracked(
        self, context: StreamContext, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> T:
        key = object()
        _working[key] = (self, context)
        try:
            return fn(*args, **kwargs)
        finally:
            _working.pop(key, None)


def _forked() -> None:
    """Make the pools anew in a forked child, which has none of their threads.

    They would pass for idle ones, and what is submitted would wait for them for ever.
    """
    _working.clear()
    for pool in list(_pools):
        WorkerPool.__init__(pool, pool.size)


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forked)


def abandoned_threads() -> int:
    """Return how many worker threads of this process work for cancelled executions."""
    return sum(context.cancelled for _, context in list(_working.values()))


def working_threads() -> int:
    """Return how many worker threads of this process work for executions, cancelled or not."""
    return len(_working)


async def run_in_thread(pool: WorkerPool, function: Callable[[], T]) -> T:
    """Run ``function`` in a worker thread, in a copy of this context.

    A cancelled caller returns at once; the thread goes on until the function returns.
    """

    def call() -> tuple[Any, BaseException | None]:
        try:
            return function(), None
        except BaseException as error:  # noqa: BLE001 - futures replace some exceptions and cannot carry others
            return None, error

    result, error = await asyncio.get_running_loop().run_in_executor(pool, copy_context().run, call)
    try:
        if error is not None:
            raise error
        return cast("T", result)
    finally:
        del error  # its traceback holds this frame


def run_blocking(make: Callable[[], Any]) -> Any:
    """Run the coroutine that ``make`` returns to its end, from synchronous code.

    Where this thread's event loop is running already, a thread of its own runs it.
    """

    async def main() -> Any:
        return await make()

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main())
    context = copy_context()
    with ThreadPoolExecutor(1) as one:
        return one.submit(context.run, asyncio.run, main()).result()
