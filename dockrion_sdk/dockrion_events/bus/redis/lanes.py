"""Commands to one server: gathered, sent together, and sent again after a loss.

Calls that are made in the same turn of the event loop share one round trip; while one is on its way
the next ones gather. Every command may be sent twice (a reply was lost): the commands are such that the
second time changes nothing. A caller that is cancelled leaves its command alone, so no reply is ever
read by somebody else.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable
from typing import Any, Final, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import RedisError, ResponseError

from ...errors import BackendUnavailable
from .faults import described, final, meaning
from .link import Link
from .urls import Make

Part: TypeAlias = bytes | str | int

BATCH_CALLS: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024
"""About so much is sent at once, where it is more than one call."""

CROWD: Final = 16
"""So many calls in the queue are worth another connection."""

PROMPT_SECONDS: Final = 0.001
"""A round trip that takes longer leaves what comes meanwhile to another connection."""

LONGEST_PAUSE: Final = 0.5
SWEEP_SECONDS: Final = 0.1
CONNECT_SECONDS: Final = 2.0

FAILURES: Final = (RedisError, OSError, asyncio.TimeoutError, EOFError)


class Call:
    """One command, its reply, and until when (the loop's time) it may be tried.

    ``source`` is the script's text where the command is an EVALSHA; ``slot`` the cluster's.
    """

    __slots__ = ("asking", "deadline", "future", "parts", "slot", "source")

    def __init__(
        self, parts: tuple[Part, ...], future: asyncio.Future[Any], deadline: float, source: bytes | None
    ) -> None:
        self.parts: tuple[Part, ...] = parts
        self.future: asyncio.Future[Any] = future
        self.deadline: float = deadline
        self.source: bytes | None = source
        self.slot: int = 0
        self.asking: bool = False

    def settle(self, reply: Any) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def fall_back(self) -> None:
        """Send the script's text from now on: the server does not know its hash."""
        self.parts = (b"EVAL", self.source or b"", *self.parts[2:])


class Lane:
    """Up to ``size`` connections to one server.

    ``on_trouble`` is told of a lost connection; ``on_redirect`` of calls that belong to another
    server. ``troubles`` counts the losses, ``troubled_at`` is the loop's time of the latest one, or of
    the return from it.
    """

    def __init__(
        self,
        make: Make,
        size: int,
        text: str,
        *,
        reply_seconds: float,
        on_trouble: Callable[[Lane], None] | None = None,
        on_redirect: Callable[[Call, ResponseError], None] | None = None,
    ) -> None:
        self.text: str = text
        self.troubles: int = 0
        self.troubled_at: float = float("-inf")
        self._make = make
        self._size = size
        self._reply_seconds = reply_seconds
        self._on_trouble = on_trouble
        self._on_redirect = on_redirect
        self._loop = asyncio.get_running_loop()
        self._queue: deque[Call] = deque()
        self._idle: list[asyncio.Future[None]] = []
        self._workers: set[asyncio.Task[None]] = set()
        self._gate = asyncio.Lock()  # one connection attempt at a time
        self._failures = 0
        self._failure: BaseException | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._awake = False  # a worker is about to take what is in the queue
        self._busy = 0
        self._sent_at = 0.0
        self._closed = False
        self._heir: Callable[[Call], None] | None = None

    def submit(self, call: Call) -> None:
        """Send a call soon."""
        if self._closed:
            self._leave(call)
            return
        self._queue.append(call)
        if self._awake:
            return
        if self._busy and len(self._queue) < CROWD and self._loop.time() - self._sent_at < PROMPT_SECONDS:
            return
        self._wake()

    def later(self, call: Call, seconds: float) -> None:
        """Send a call after a pause, unless its time is over then."""
        if self._loop.time() + seconds > call.deadline:
            call.fail(self._unavailable(self._failure))
        else:
            self._loop.call_later(seconds, self.submit, call)

    def drain(self) -> list[Call]:
        """Take out the calls that wait."""
        calls = list(self._queue)
        self._queue.clear()
        return calls

    def hand_over(self, heir: Callable[[Call], None]) -> None:
        """Give ``heir`` what is not answered when this is closed, and what comes afterwards."""
        self._heir = heir

    def _leave(self, call: Call) -> None:
        if self._heir is None:
            call.fail(self._gone())
        elif not call.future.done():
            self._heir(call)

    async def close(self) -> None:
        """Close the connections; calls that were not answered fail, where there is no heir."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for call in self.drain():
            self._leave(call)

    # -- workers -------------------------------------------------------------------------------

    def _wake(self) -> None:
        while self._idle:
            resting = self._idle.pop()
            if not resting.done():
                resting.set_result(None)
                self._awake = True
                return
        if len(self._workers) < self._size:
            self._awake = True
            worker = self._loop.create_task(self._work())
            self._workers.add(worker)
            worker.add_done_callback(self._workers.discard)

    async def _work(self) -> None:
        connection = self._make()
        link: Link | None = None
        try:
            while True:
                if not self._queue:
                    self._awake = False
                    resting = self._loop.create_future()
                    self._idle.append(resting)
                    await resting
                if link is None:
                    link = await self._connected(connection)
                    if link is None:
                        continue
                self._awake = False
                batch = self._take()
                if batch:
                    self._busy += 1
                    try:
                        await self._exchange(link, batch)
                    finally:
                        self._busy -= 1
                        if link.broken is not None:
                            link = None
                            await connection.disconnect(nowait=True)
        finally:
            await connection.disconnect(nowait=True)

    def _take(self) -> list[Call]:
        queue = self._queue
        batch: list[Call] = []
        weight = 0
        while queue and len(batch) < BATCH_CALLS and weight < BATCH_BYTES:
            call = queue.popleft()
            if not call.future.done():
                batch.append(call)
                parts = call.parts
                weight += len(parts) * len(parts[-1]) if isinstance(parts[-1], bytes) else 0
        if queue:
            self._wake()
        return batch

    async def _exchange(self, link: Link, batch: list[Call]) -> None:
        unanswered = deque(batch)

        def take(reply: Any) -> None:
            call = unanswered[0]
            if isinstance(reply, Exception):
                if call.asking or not (isinstance(reply, ResponseError) and self._refused(call, reply)):
                    raise reply
            elif call.asking:  # this was the reply to ASKING; its own comes next
                call.asking = False
                return
            else:
                call.settle(reply)
            unanswered.popleft()

        replies = len(batch) + sum(call.asking for call in batch)
        try:
            self._sent_at = self._loop.time()
            await link.exchange(_packed(batch), replies, take)
            if self._failures:
                self._failures = 0
                self.troubled_at = self._loop.time()
        except FAILURES as error:
            self._lost(unanswered, error)
        except BaseException:
            link.close()
            for call in unanswered:
                self._leave(call)
            raise

    async def _connected(self, connection: AbstractConnection) -> Link | None:
        """Connect, after a pause where it failed before; the calls wait in the queue meanwhile.

        None where that fails, whatever the reason: a worker that died here would leave them there.
        """
        try:
            async with self._gate:
                if self._failures:
                    pause = min(LONGEST_PAUSE, 0.02 * 2**self._failures)
                    await asyncio.sleep(pause * random.uniform(0.5, 1.0))
                async with asyncio.timeout(CONNECT_SECONDS):
                    await connection.connect()  # type: ignore[no-untyped-call]
                return Link(connection, self._reply_seconds)
        except Exception as error:  # noqa: BLE001 - see above
            await connection.disconnect(nowait=True)
            self._lost((), error)
            return None

    # -- what goes wrong -----------------------------------------------------------------------

    def _refused(self, call: Call, error: ResponseError) -> bool:
        """Deal with an error reply; False where the whole connection is of no use."""
        what = meaning(error)
        if what == "noscript" and call.source is not None:
            call.fall_back()
            self.submit(call)
        elif what in ("moved", "ask") and self._on_redirect is not None:
            self._on_redirect(call, error)
        elif what == "later":
            self._failure = error
            self.later(call, 0.05)
        elif what == "elsewhere":
            return False
        else:
            call.fail(self._unavailable(error))
        return True

    def _lost(self, calls: Collection[Call], error: BaseException) -> None:
        """Put calls back into the queue after their connection was lost."""
        self._failures = min(self._failures + 1, 10)
        self._failure = error
        self.troubles += 1
        self.troubled_at = self._loop.time()
        if final(error):
            for call in [*calls, *self.drain()]:
                call.fail(self._unavailable(error))
            return
        self._queue.extendleft(reversed(list(calls)))
        if self._on_trouble is not None:
            self._on_trouble(self)
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._sweep()

    def _sweep(self) -> None:
        """Fail the calls whose time is over; regularly, while there is trouble."""
        self._sweeper = None
        now = self._loop.time()
        late = [call for call in self._queue if call.deadline < now]
        if late:
            kept = [call for call in self._queue if call.deadline >= now]
            self._queue.clear()
            self._queue.extend(kept)
        for call in late:
            call.fail(self._unavailable(self._failure))
        if self._queue and not self._closed:
            self._sweeper = self._loop.call_later(SWEEP_SECONDS, self._sweep)

    def _unavailable(self, error: BaseException | None) -> BackendUnavailable:
        reason = "no answer in time" if error is None else described(error)
        if isinstance(error, ResponseError):
            return BackendUnavailable(f"Redis at {self.text} refused: {reason}")
        return BackendUnavailable(f"Redis at {self.text} cannot be reached: {reason}")

    def _gone(self) -> BackendUnavailable:
        return BackendUnavailable(f"the connection to Redis at {self.text} is closed")


def _packed(batch: Iterable[Call]) -> list[bytes]:
    packed: list[bytes] = []
    for call in batch:
        if call.asking:
            packed.append(b"*1\r\n$6\r\nASKING\r\n")
        packed.append(pack_command(call.parts))  # type: ignore[arg-type]  # stub
    return packed
