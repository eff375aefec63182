"""The queue between emitters (any thread) and the exit of one execution (one event loop)."""

from __future__ import annotations

import asyncio
import math
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ..events import AnyEvent

HIGH_WATER: Final = 1024
EVENT_BYTES: Final = 4096
"""Bytes of JSON that count as one event towards the high water."""


class QueueBackend:
    """A thread-safe queue whose one consumer is woken once for any number of events.

    ``emit`` appends, and wakes the consumer only where it is waiting: nothing polls, and a burst
    costs one wake-up. ``crowded`` turns True when a consumer is attached and ``high_water`` events
    (fewer where they are large) wait; whoever can wait then asks for room (`wait_for_room`,
    `room`), which look again. The queue itself never refuses an event for want of room.

    ``close`` ends it: what waits can still be drained, later events are refused.
    """

    __slots__ = (
        "_attached",
        "_blocked",
        "_closed",
        "_consumer_thread",
        "_has_room",
        "_high_water",
        "_items",
        "_limit",
        "_lock",
        "_nudged",
        "_waiting_tasks",
        "_wake",
        "crowded",
    )

    def __init__(self, *, high_water: int = HIGH_WATER) -> None:
        self._items: deque[AnyEvent] = deque()
        self._high_water = high_water
        self._limit: float = math.inf
        self.crowded = False
        self._wake: Callable[[], None] | None = None
        self._attached = False
        self._nudged = False
        self._closed = False
        self._consumer_thread = 0
        self._lock = threading.Lock()
        self._has_room: threading.Condition | None = None
        self._blocked = 0
        self._waiting_tasks: list[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = []

    @property
    def name(self) -> str:
        return "queue"

    def is_available(self) -> bool:
        return not self._closed

    @property
    def closed(self) -> bool:
        """Whether ``close`` was called; what waits may still be drained."""
        return self._closed

    def __len__(self) -> int:
        return len(self._items)

    # -- emitters: any thread ------------------------------------------------------------------

    def emit(self, event: AnyEvent) -> bool:
        """Append the event; False once the queue is closed."""
        if self._closed:
            return False
        items = self._items
        items.append(event)
        wake = self._wake
        if wake is not None:
            self._wake = None
            wake()
        elif len(items) >= self._limit:
            self.crowded = True
        return True

    def weigh(self, size: int) -> None:
        """Count a large event by its bytes, so that few of them make the queue crowded."""
        if self._attached:
            self._limit -= size // EVENT_BYTES
            self.crowded = True

    def _full(self) -> bool:
        if len(self._items) >= self._limit and not self._closed:
            return True
        self.crowded = False
        return False

    def wait_for_room(self) -> None:
        """Block this thread until the queue has room or is closed; at once on the consumer's thread."""
        if threading.get_ident() == self._consumer_thread:
            return
        with self._lock:
            self._blocked += 1
            if self._has_room is None:
                self._has_room = threading.Condition(self._lock)
            try:
                while self._full():
                    self._has_room.wait()
            finally:
                self._blocked -= 1

    async def room(self) -> None:
        """Wait, on any event loop, until the queue has room or is closed."""
        while self._full():
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            with self._lock:
                self._waiting_tasks.append((loop, future))
            if self._full():
                await future

    # -- the consumer: one task on one loop ----------------------------------------------------

    def attach(self) -> None:
        """Say, on the consumer's thread, that a consumer is there: from now on emitters wait for room."""
        self._attached = True
        self._limit = self._high_water
        self._consumer_thread = threading.get_ident()

    async def wait(self) -> None:
        """Return as soon as something can be drained, the queue is closed, or `nudge` was called."""
        if self._items or self._closed or self._nudged:
            self._nudged = False
            return
        loop = asyncio.get_running_loop()
        thread = threading.get_ident()
        future = loop.create_future()

        def arrived() -> None:
            if not future.done():
                future.set_result(None)

        def wake() -> None:
            if threading.get_ident() == thread:
                arrived()
            else:
                try:
                    loop.call_soon_threadsafe(arrived)
                except RuntimeError:  # the loop is closed; nobody is waiting any more
                    pass

        self._wake = wake
        # An event that came before the line above found nobody to wake.
        if not (self._items or self._closed or self._nudged):
            try:
                await future
            finally:
                self._wake = None
        self._wake = None
        self._nudged = False

    def drain(self) -> list[AnyEvent]:
        """Take everything that waits, in order, and let emitters go on."""
        pop = self._items.popleft
        drained = [pop() for _ in range(len(self._items))]
        if self._attached:
            self._limit = self._high_water
        self.crowded = False
        if self._blocked or self._waiting_tasks:
            self._release()
        return drained

    def nudge(self) -> None:
        """Make a waiting consumer return from `wait`, or the next `wait` return at once."""
        self._nudged = True
        wake = self._wake
        if wake is not None:
            self._wake = None
            wake()

    def close(self) -> None:
        """Refuse further events, wake the consumer and release every emitter that waits."""
        self._closed = True
        self.nudge()
        self._release()

    def _release(self) -> None:
        with self._lock:
            waiting, self._waiting_tasks = self._waiting_tasks, []
            if self._has_room is not None:
                self._has_room.notify_all()
        try:
            here: asyncio.AbstractEventLoop | None = asyncio.get_running_loop()
        except RuntimeError:
            here = None
        for loop, future in waiting:
            if loop is here:
                _set(future)
            else:
                try:
                    loop.call_soon_threadsafe(_set, future)
                except RuntimeError:  # that loop is closed, and its tasks with it
                    pass


def _set(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
