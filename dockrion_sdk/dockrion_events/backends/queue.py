"""The queue between emitters (any thread) and the exit of one execution (one event loop)."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

from ..events import AnyEvent, EncodedEvent

HIGH_WATER: Final = 1024
_HEAVY: Final = 4096  # an event of more bytes than this counts once more for each of them


class QueueBackend:
    """A thread-safe queue whose one consumer is woken once for any number of events.

    ``emit`` appends, and wakes the consumer only where it is waiting: nothing polls, and a burst
    costs one wake-up. ``full`` is True only while a consumer is attached and ``high_water`` events
    (fewer where they are large) wait; whoever can wait then asks for room (`wait_for_room`,
    `room`). The queue itself never refuses an event for want of room.

    ``close`` ends it: what waits can still be drained, later events are refused.
    """

    __slots__ = (
        "_attached",
        "_blocked",
        "_closed",
        "_consumer_thread",
        "_has_room",
        "_heavy",
        "_high_water",
        "_items",
        "_lock",
        "_nudged",
        "_waiting_tasks",
        "_wake",
    )

    def __init__(self, *, high_water: int = HIGH_WATER) -> None:
        self._items: deque[AnyEvent] = deque()
        self._high_water = high_water
        self._heavy = 0
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
        self._items.append(event)
        wake = self._wake
        if wake is not None:
            self._wake = None
            wake()
        return True

    @property
    def full(self) -> bool:
        """Whether an emitter that can wait should."""
        return self._attached and len(self._items) + self._heavy >= self._high_water

    def weigh(self, event: EncodedEvent) -> None:
        """Count a large event by its size, so that few of them make the queue full."""
        self._heavy += len(event.json) // _HEAVY

    def wait_for_room(self) -> None:
        """Block this thread until the queue has room or is closed; at once on the consumer's thread."""
        if threading.get_ident() == self._consumer_thread:
            return
        with self._lock:
            self._blocked += 1
            if self._has_room is None:
                self._has_room = threading.Condition(self._lock)
            try:
                while self.full and not self._closed:
                    self._has_room.wait()
            finally:
                self._blocked -= 1

    async def room(self) -> None:
        """Wait, on any event loop, until the queue has room or is closed."""
        while self.full and not self._closed:
            loop = asyncio.get_running_loop()
            future = loop.create_future()
            with self._lock:
                self._waiting_tasks.append((loop, future))
            if self.full and not self._closed:
                await future

    # -- the consumer: one task on one loop ----------------------------------------------------

    async def wait(self) -> None:
        """Return as soon as something can be drained, the queue is closed, or `nudge` was called."""
        self._attached = True
        if self._items or self._closed or self._nudged:
            self._nudged = False
            return
        loop = asyncio.get_running_loop()
        self._consumer_thread = thread = threading.get_ident()
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
        self._heavy = 0
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
