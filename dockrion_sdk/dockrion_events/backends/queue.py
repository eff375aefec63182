"""The queue between emitters (any thread) and the exit of one execution (one event loop)."""

from __future__ import annotations

import asyncio
import math
import threading
import time
from collections.abc import Awaitable, Callable, Generator
from typing import Any, Final, Protocol

from ..events import AnyEvent

HIGH_WATER: Final = 1024
PATIENCE: Final = 0.5
"""Seconds without an answer after which the consumer's loop counts as standing still."""
EVENT_BYTES: Final = 4096
"""Bytes of JSON that count as one event towards the high water."""


class Waiter(Protocol):
    """What stands in the queue while its consumer waits: a future, or a `Bell`."""

    def done(self) -> bool: ...
    def get_loop(self) -> asyncio.AbstractEventLoop: ...
    def set_result(self, result: None, /) -> None: ...


class Bell:
    """Calls back on the loop when something arrives; may be hung up again and again.

    For a consumer that need not be a task: resuming one costs more than most events.
    """

    __slots__ = ("_callback", "_loop")

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._callback = callback

    def done(self) -> bool:
        return False

    def get_loop(self) -> asyncio.AbstractEventLoop:
        return self._loop

    def set_result(self, _: None, /) -> None:
        self._loop.call_soon(self._callback)


class _Ready:
    """What can be awaited, and is there already: what a finished future is, for less."""

    def __await__(self) -> Generator[Any, None, None]:
        return
        yield  # which makes it a generator


_READY: Final = _Ready()


class QueueBackend:
    """A thread-safe queue whose one consumer is woken once for any number of events.

    ``emit`` appends, and wakes the consumer only where it is waiting: nothing polls, and a burst
    costs one wake-up. ``crowded`` turns True when a consumer is attached and ``high_water`` events
    (fewer where they are large) wait; whoever can wait then asks for room (`wait_for_room`,
    `room`), which look again. The queue itself never refuses an event for want of room.

    A thread does not wait for a loop that stands still, for that may be waiting for the thread.

    ``close`` ends it: what waits can still be drained, later events are refused.
    """

    __slots__ = (
        "_asked_at",
        "_attached",
        "_blocked",
        "_closed",
        "_consumer_thread",
        "_has_room",
        "_high_water",
        "_items",
        "_limit",
        "_lock",
        "_loop",
        "_nudged",
        "_patient",
        "_sleeper",
        "_stalled",
        "_waiting_tasks",
        "crowded",
    )

    def __init__(self, *, high_water: int = HIGH_WATER) -> None:
        self._items: list[AnyEvent] = []
        self._high_water = high_water
        self._limit: float = math.inf
        self.crowded: bool = False
        # What the consumer waits for; whoever takes it out, sets it. The patient one is for a crowd only.
        self._sleeper: list[Waiter] = []
        self._patient: list[Waiter] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._attached = False
        self._asked_at = 0.0
        self._stalled = False
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
        self.put(event)
        return True

    def put(self, event: AnyEvent) -> bool:
        """Append the event and say whether the queue is crowded, so that who can wait should."""
        items = self._items
        items.append(event)
        if self._sleeper:
            self._wake_up(self._sleeper)
        elif len(items) >= self._limit:
            self.crowded = True
            if self._patient:
                self._wake_up(self._patient)
        return self.crowded

    def weigh(self, size: int) -> None:
        """Count a large event by its bytes, so that few of them make the queue crowded."""
        if self._attached:
            self._limit -= size // EVENT_BYTES
            self.crowded = True

    def _full(self) -> bool:
        if self._items and len(self._items) >= self._limit and not self._closed:
            return True
        self.crowded = False
        return False

    def wait_for_room(self) -> None:
        """Block this thread until the queue has room or is closed.

        Returns at once on the consumer's thread, and while the consumer's loop stands still.
        """
        if threading.get_ident() == self._consumer_thread or self._stalled:
            return
        with self._lock:
            self._blocked += 1
            if self._has_room is None:
                self._has_room = threading.Condition(self._lock)
            try:
                while self._full():
                    if not self._has_room.wait(PATIENCE) and self._loop_stands_still():
                        return
            finally:
                self._blocked -= 1

    def _loop_stands_still(self) -> bool:
        """Ask the consumer's loop for an answer; True once one has been due for `PATIENCE` seconds."""
        if self._asked_at:
            self._stalled = time.monotonic() - self._asked_at >= PATIENCE
            return self._stalled
        if self._loop is None:
            return False
        self._asked_at = time.monotonic()
        try:
            self._loop.call_soon_threadsafe(self._loop_turns)
        except RuntimeError:  # the loop is closed
            self._stalled = True
        return self._stalled

    def _loop_turns(self) -> None:
        self._asked_at = 0.0
        self._stalled = False

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
        try:
            self._loop = asyncio.get_running_loop()
        except RuntimeError:  # one that polls
            self._loop = None

    def wait(self) -> Awaitable[None]:
        """Wait until something can be drained, the queue is closed, or `nudge` was called.

        A plain function that returns a future: resuming a coroutine costs, for each event that comes
        by itself.
        """
        if self._items or self._closed or self._nudged:
            return _READY
        loop = self._loop = asyncio.get_running_loop()
        self._consumer_thread = threading.get_ident()
        arrival = loop.create_future()
        self.hang(arrival)
        return arrival

    def hang(self, waiter: Waiter) -> None:
        """Let ``waiter`` have its result set, once, when `wait` would return."""
        self._sleeper[:] = (waiter,)
        # An event that came before the line above found nobody to wake.
        if self._items or self._closed or self._nudged:
            self._sleeper.clear()
            waiter.set_result(None)

    async def gather(self, seconds: float) -> None:
        """Let events gather for up to ``seconds``: return then, or once the queue is crowded or closed.

        For a consumer that has just been served: a fast emitter's events then leave many at once.
        """
        if self._closed or self._nudged or self.crowded:
            return
        loop = asyncio.get_running_loop()
        arrival = loop.create_future()
        timer = loop.call_later(seconds, _set, arrival)
        self._patient.append(arrival)
        try:
            if not (self._closed or self._nudged or self.crowded):
                await arrival
        finally:
            timer.cancel()
            self._patient.clear()

    def drain(self) -> list[AnyEvent]:
        """Take everything that waits, in order, and let emitters go on."""
        self._nudged = False
        items = self._items
        count = len(items)  # what an emitter appends from here on stays for the next time
        drained = items[:count]
        del items[:count]
        if self._attached:
            self._limit = self._high_water
        self.crowded = False
        if self._blocked or self._waiting_tasks:
            self._release()
        return drained

    def nudge(self) -> None:
        """Make a waiting consumer return from `wait`, or the next `wait` return at once, until a `drain`."""
        self._nudged = True
        for waiting in (self._sleeper, self._patient):
            if waiting:
                self._wake_up(waiting)

    def _wake_up(self, waiting: list[Waiter]) -> None:
        """Wake the consumer, from whatever thread this is, if it is still waiting."""
        try:
            arrival = waiting.pop()
        except IndexError:  # it is awake, or another emitter was faster
            return
        if threading.get_ident() == self._consumer_thread:
            _set(arrival)
            return
        try:
            arrival.get_loop().call_soon_threadsafe(_set, arrival)
        except RuntimeError:  # the loop is closed; nobody is waiting any more
            pass

    def close(self) -> None:
        """Refuse further events, wake the consumer and release every emitter that waits."""
        self._closed = True
        self.nudge()
        if self._blocked or self._waiting_tasks:  # who came later has seen that it is closed
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


def _set(future: Waiter) -> None:
    if not future.done():
        future.set_result(None)
