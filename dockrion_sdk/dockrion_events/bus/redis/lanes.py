"""Commands to one server: gathered, sent together, and sent again after a loss.

Calls that are made in the same turn of the event loop share a round trip, a handful of them at least; while
one is on its way the next ones gather. Every command may be sent twice (a reply was lost): the commands are
such that the second time changes nothing. A caller that is cancelled leaves its command alone, so no reply
is ever read by somebody else.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import chain
from typing import Any, Final, TypeAlias

from hiredis import pack_command
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import AskError, ResponseError

from ...errors import BackendUnavailable
from .faults import described, final, meaning
from .link import Link
from .urls import Make

Part: TypeAlias = bytes | str | int

BATCH_CALLS: Final = 256
BATCH_BYTES: Final = 4 * 1024 * 1024
"""About so much is sent at once, where it is more than one call."""

HANDFUL: Final = 8
"""So many calls are sent at once where a connection rests: the server is at work on them while those that
are made in the same turn of the loop are still being made."""

CROWD: Final = 16
"""So many calls in the queue are worth another connection."""

PROMPT_SECONDS: Final = 0.001
"""A round trip that takes longer leaves what comes meanwhile to another connection."""

ASKING: Final = b"*1\r\n$6\r\nASKING\r\n"

NEWBORN: Final = -1

LONGEST_PAUSE: Final = 0.5
SWEEP_SECONDS: Final = 0.1
CONNECT_SECONDS: Final = 2.0


class Call:
    """One command, its reply, and until when (the loop's time) it may be tried.

    ``source`` is the script's text where the command is an EVALSHA; ``slot`` the cluster's. A call whose
    ``born`` is set, to the lane's count of troubles, is not sent after a later one: what it asks for may
    not be right any more.
    """

    __slots__ = ("asking", "born", "deadline", "future", "packed", "parts", "slot", "source")

    def __init__(
        self, parts: tuple[Part, ...], future: asyncio.Future[Any], deadline: float, source: bytes | None
    ) -> None:
        self.parts: tuple[Part, ...] = parts
        self.packed: bytes = pack_command(parts)  # type: ignore[arg-type]  # stub
        self.future: asyncio.Future[Any] = future
        self.deadline: float = deadline
        self.source: bytes | None = source
        self.slot: int = 0
        self.asking: bool = False
        self.born: int | None = None

    def settle(self, reply: Any) -> None:
        if not self.future.done():
            self.future.set_result(reply)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)

    def fall_back(self) -> None:
        """Send the script's text from now on: the server does not know its hash."""
        self.packed = pack_command((b"EVAL", self.source or b"", *self.parts[2:]))  # type: ignore[arg-type]


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
        on_redirect: Callable[[Call, AskError], None] | None = None,
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
        self._links: dict[Link, AbstractConnection] = {}
        self._resting: list[Link] = []
        self._sent: dict[Link, deque[Call]] = {}  # what is not answered yet
        self._sent_at = 0.0
        self._soon = False  # the queue is looked at in the next turn of the loop
        self._later: asyncio.TimerHandle | None = None  # it is looked at when a round trip takes too long
        self._connecting: asyncio.Task[None] | None = None
        self._parting: set[asyncio.Task[None]] = set()
        self._failures = 0
        self._failure: BaseException | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._closed = False
        self._heir: Callable[[Call], None] | None = None

    def submit(self, call: Call) -> None:
        """Send a call soon."""
        if self._closed:
            self._leave(call)
            return
        if call.born == NEWBORN:
            call.born = self.troubles
        queue = self._queue
        queue.append(call)
        if len(queue) >= HANDFUL and self._resting:
            self._look()
        elif self._soon:
            pass
        elif not self._sent or len(queue) >= CROWD:
            self._soon = True
            self._loop.call_soon(self._look)
        elif self._later is None:
            self._later = self._loop.call_at(self._sent_at + PROMPT_SECONDS, self._look_again)

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
        for timer in (self._sweeper, self._later):
            if timer is not None:
                timer.cancel()
        # Whatever happens to this task while it waits: by then all of it is on its way.
        ending = [] if self._connecting is None else [self._connecting]
        for task in ending:
            task.cancel()
        for link in list(self._links):
            self._part(link)
        self._resting.clear()
        sent, self._sent = self._sent, {}
        for call in chain(*sent.values(), self.drain()):
            self._leave(call)
        if ending := [*ending, *self._parting]:
            await asyncio.wait(ending)

    # -- connections ---------------------------------------------------------------------------

    def _look(self) -> None:
        """Send what is in the queue, on another connection if need be."""
        self._soon = False
        while self._queue and self._resting:
            self._send()
        if self._queue and self._connecting is None and len(self._links) < self._size:
            self._connecting = self._loop.create_task(self._connect())

    def _look_again(self) -> None:
        """Leave what gathered behind a round trip to another connection, where the trip takes too long."""
        self._later = None
        due = self._sent_at + PROMPT_SECONDS
        if self._queue and self._loop.time() < due:
            self._later = self._loop.call_at(due, self._look_again)
        else:
            self._look()

    async def _connect(self) -> None:
        """Add a connection, as long as calls wait for one, whatever it is that goes wrong."""
        try:
            while self._queue:
                try:
                    self._resting.append(await self._new_link())
                except Exception as error:  # noqa: BLE001 - they would be left there
                    self._lost((), error)
                else:
                    break
        finally:
            self._connecting = None
        self._look()

    async def _new_link(self) -> Link:
        """Connect, after a pause where it failed before."""
        if self._failures:
            pause = min(LONGEST_PAUSE, 0.02 * 2**self._failures)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
        connection = self._make()
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                await connection.connect()  # type: ignore[no-untyped-call]
            link = Link(connection, self._reply_seconds)
        except BaseException:
            await connection.disconnect(nowait=True)
            raise
        self._links[link] = connection
        return link

    def _part(self, link: Link) -> None:
        """Let go of a connection."""
        link.close()
        task = self._loop.create_task(self._links.pop(link).disconnect(nowait=True))
        self._parting.add(task)
        task.add_done_callback(self._parting.discard)

    def _send(self) -> None:
        """Send calls on a connection that rests."""
        link = self._resting.pop()
        if link.broken is not None:
            for other in [link, *self._resting]:  # the others mostly broke with it: that is one trouble
                if other.broken is not None:
                    self._part(other)
            self._resting = [other for other in self._resting if other.broken is None]
            self._lost((), link.broken)
            return
        batch = self._batch()
        if not batch:
            self._resting.append(link)
            return
        unanswered = self._sent[link] = deque(batch)

        def on_reply(reply: Any) -> None:
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

        replies = len(batch) + sum([call.asking for call in batch])
        self._sent_at = self._loop.time()
        link.exchange(_packed(batch), replies, on_reply).add_done_callback(partial(self._exchanged, link))

    def _exchanged(self, link: Link, answered: asyncio.Future[None]) -> None:
        error = answered.exception()
        unanswered = self._sent.pop(link, ())
        if self._closed:
            return
        if error is not None:
            self._part(link)
            self._lost(unanswered, error)
        else:
            self._resting.append(link)
            if self._failures:
                self._failures = 0
                self.troubled_at = self._loop.time()
        self._look()

    def _batch(self) -> list[Call]:
        queue = self._queue
        batch: list[Call] = []
        weight = 0
        while queue and len(batch) < BATCH_CALLS and weight < BATCH_BYTES:
            call = queue.popleft()
            if call.born is not None and call.born != self.troubles:
                call.fail(self._unavailable(self._failure))
            elif not call.future.done():
                batch.append(call)
                weight += len(call.packed)
        return batch

    # -- what goes wrong -----------------------------------------------------------------------

    def _refused(self, call: Call, error: ResponseError) -> bool:
        """Deal with an error reply; False where the whole connection is of no use."""
        what = meaning(error)
        if what == "noscript" and call.source is not None:
            call.fall_back()
            self.submit(call)
        elif self._on_redirect is not None and isinstance(error, AskError):  # or MovedError, which is one
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
        """Count a loss, and put the calls that it left unanswered back into the queue.

        Where trying again cannot help, all calls fail; else those whose time is over, as long as it lasts.
        """
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
        how = "refused" if isinstance(error, ResponseError) else "cannot be reached"
        failure = BackendUnavailable(f"Redis at {self.text} {how}: {reason}")
        failure.__cause__ = error
        return failure

    def _gone(self) -> BackendUnavailable:
        return BackendUnavailable(f"the connection to Redis at {self.text} is closed")


def _packed(batch: Iterable[Call]) -> list[bytes]:
    packed: list[bytes] = []
    for call in batch:
        if call.asking:
            packed.append(ASKING)
        packed.append(call.packed)
    return packed
