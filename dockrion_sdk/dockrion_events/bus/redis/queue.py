"""The queue of accepted runs, and the leases on those that were taken.

The queue is a stream with one consumer group. What was delivered and not acknowledged is pending, and how
long it has been idle is the lease: a lease of L seconds begins with an idle time of `SPAN_SECONDS` - L, and
what was idle for `SPAN_SECONDS` may be taken by anybody. So each has the length that its holder asked for,
and all count by Redis's own clock. An entry that was just delivered has no lease for a moment; where it gets
none within `GRACE_SECONDS`, its receiver is taken for dead.

Whose right a run is says its record alone. An entry only leads to it, and may be there twice or for nothing:
whoever takes such a one removes it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import msgspec
from redis.asyncio.connection import AbstractConnection

from ...errors import BackendUnavailable, QueueFull, QuotaExceeded, StoreFull
from .commands import Commands
from .faults import FAILURES
from .lanes import CONNECT_SECONDS, Part
from .queue_scripts import (
    COUNT,
    ENQUEUE,
    ENTERED,
    FORGET,
    INTEND,
    LEASE,
    MINE,
    OVERDUE,
    RECOVER,
    REQUEUE,
    TAKE,
    TIDY,
)
from .records import Keys, RunKeys
from .scripts import VERSION, Script

log: logging.Logger = logging.getLogger("dockrion")

GROUP: Final = b"executors"

LEFT_ENTRIES: Final = 1000
"""Entries of a newer format that are remembered, so as not to be taken again."""

LONGEST_BLOCK: Final = 1.0
"""Seconds for which one look at the queue waits; in between, leases that expired are looked for."""

SPAN_SECONDS: Final = 2 * 86_400
LONGEST_LEASE: Final = 86_400
GRACE_SECONDS: Final = 10.0

RENEWAL_SECONDS: Final = 5.0
"""So long others get to renew their leases after Redis was away."""

LONGEST_LOOK: Final = 0.5
"""So often, at least, it is looked whether a lease has expired that somebody took after the last look."""

SWEEP_SECONDS: Final = 5.0
INTENT_SECONDS: Final = 10.0
"""After so long, who meant to queue a run is taken for dead."""

FORGET_INTENT_SECONDS: Final = 3600.0
"""After so long, who meant to make a run and did not is taken for dead as well."""

IDLE_CONSUMER_SECONDS: Final = 3600.0


class Taken(msgspec.Struct, frozen=True, gc=False):
    """An entry of the queue, and the key of its run; ``idle`` where its lease had expired."""

    entry: bytes
    key: str
    idle: bool
    version: int = 0


class Queue:
    """This process's side of the queue. ``held`` are the entries that it has taken and not given back."""

    def __init__(self, commands: Commands, keys: Keys, process: str) -> None:
        self.held: set[bytes] = set()
        self._commands = commands
        self._keys = keys
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._consumers: set[bytes] = set()
        self._doubt: set[bytes] = set()  # consumers that may have been given entries we do not know of
        self._idle: list[AbstractConnection] = []
        self._blocked: set[AbstractConnection] = set()
        self._left: dict[bytes, None] = {}  # of a newer format, for others to take
        self._closed = False
        self._troubles = commands.troubles
        self._look_at = float("-inf")  # when to look for expired leases again
        self._swept_at = float("-inf")

    def consumer(self, executor: str) -> bytes:
        """Return the name under which an executor of this process takes entries."""
        name = f"{executor}:{self._process}".encode()
        self._consumers.add(name)
        return name

    async def take(self, consumer: bytes, accepted: int, expired: int, lease_seconds: float) -> list[Taken]:
        """Take what is there, without waiting."""
        taken: list[Taken] = []
        if self._troubles != self._commands.troubles:
            self._troubles = self._commands.troubles
            self._doubt |= self._consumers
        if accepted > 0:
            if consumer in self._doubt:
                taken += await self._take_doubtful(consumer, accepted)
            if len(taken) < accepted:
                taken += _taken(await self._run(TAKE, consumer, accepted - len(taken)), False)
        if expired > 0 and self._may_recover(lease_seconds):
            taken += await self._recover(consumer, expired, lease_seconds)
        self.held.update(one.entry for one in taken)
        return taken

    async def count(self) -> int:
        """Return how many entries nobody has taken."""
        return int(await self._run(COUNT))

    async def _run(self, script: Script, *args: Part) -> Any:
        return await self._commands.run(script, (self._keys.queue,), GROUP, *args)

    async def _recover(self, consumer: bytes, limit: int, lease_seconds: float) -> list[Taken]:
        """Take what has expired, and learn when to look again."""
        times = (_ms(SPAN_SECONDS), _ms(LONGEST_LEASE), _ms(GRACE_SECONDS), _idle(lease_seconds))
        soonest, *entries = await self._run(RECOVER, consumer, *times, limit, *self._left)
        pause = LONGEST_LOOK if soonest < 0 else min(LONGEST_LOOK, soonest / 1000 + 0.001)
        self._look_at = self._loop.time() + pause
        return _taken(entries, True)

    async def _take_doubtful(self, consumer: bytes, limit: int) -> list[Taken]:
        """Take what Redis gave to us in a reply that we never got."""
        found = [one for one in _taken(await self._run(MINE, consumer), False) if one.entry not in self.held]
        if len(found) <= limit:
            self._doubt.discard(consumer)
        return found[:limit]

    def _may_recover(self, lease_seconds: float) -> bool:
        """Whether expired leases mean anything.

        After a time without Redis everybody's leases have expired: all get the time to renew them.
        """
        return self._loop.time() >= self._recover_at(lease_seconds)

    def _recover_at(self, lease_seconds: float) -> float:
        renewed = self._commands.troubled_at + min(lease_seconds / 2, RENEWAL_SECONDS)
        return max(self._look_at, renewed)

    def pause(self, expired: int, lease_seconds: float, seconds: float) -> float:
        """Return for how much of this time a `wait` may last."""
        if expired <= 0:
            return min(seconds, LONGEST_BLOCK)
        until_look = self._recover_at(lease_seconds) - self._loop.time()
        return max(0.001, min(seconds, LONGEST_BLOCK, until_look))

    async def wait(self, consumer: bytes, accepted: int, seconds: float) -> list[Taken]:
        """Wait for new entries for a while, on a connection of its own, and take them."""
        if accepted <= 0:
            await asyncio.sleep(seconds)
            return []
        try:
            connection = (
                self._idle.pop() if self._idle else await self._commands.connection_for(self._keys.queue)
            )
        except BackendUnavailable:  # the next `take` says so, if it lasts
            await asyncio.sleep(min(0.05, seconds))
            return []
        self._blocked.add(connection)
        try:
            async with asyncio.timeout(seconds + CONNECT_SECONDS):
                reply = await self._read(connection, consumer, accepted, seconds)
        except FAILURES:
            self._doubt.add(consumer)
            await connection.disconnect(nowait=True)
            await asyncio.sleep(min(0.05, seconds))
            return []
        except BaseException:
            self._doubt.add(consumer)
            await connection.disconnect(nowait=True)
            raise
        finally:
            self._blocked.discard(connection)
        if self._closed:
            await connection.disconnect(nowait=True)
        else:
            self._idle.append(connection)
        parts = [
            part
            for entry, fields in reply
            for part in (entry, fields[1], fields[3] if len(fields) > 3 else b"0")
        ]
        taken = _taken(parts, False)
        self.held.update(one.entry for one in taken)
        return taken

    async def _read(
        self, connection: AbstractConnection, consumer: bytes, accepted: int, seconds: float
    ) -> list[Any]:
        await connection.connect()  # type: ignore[no-untyped-call]
        if self._closed:
            raise ConnectionError("closed meanwhile")
        await connection.send_command(
            b"XREADGROUP", b"GROUP", GROUP, consumer, b"COUNT", accepted,
            b"BLOCK", max(1, _ms(seconds)), b"STREAMS", self._keys.queue, b">", check_health=False,
        )  # fmt: skip
        reply = await connection.read_response()
        return list(reply[0][1]) if reply else []

    # -- leases --------------------------------------------------------------------------------

    async def leave(self, one: Taken) -> None:
        """Give an entry that this process does not understand to others, and do not take it again."""
        if one.entry not in self._left:
            log.warning("the run %r is of a newer version of dockrion; it is left to others", one.key)
        self._left[one.entry] = None
        if len(self._left) > LEFT_ENTRIES:
            del self._left[next(iter(self._left))]
        self.held.discard(one.entry)
        await self.lease([one.entry], 0)

    def lease(self, entries: Sequence[bytes], seconds: float) -> asyncio.Future[Any]:
        """Begin the leases of these entries, or begin them anew; what is not pending is left alone."""
        # The one that took them, or another of this process: whose they are is said by the record.
        consumer = next(iter(self._consumers), None) or self.consumer("renewal")
        return self._commands.run(LEASE, (self._keys.queue,), GROUP, consumer, _idle(seconds), *entries)

    def drop(self, entries: Sequence[bytes]) -> list[asyncio.Future[Any]]:
        """Remove entries from the queue; if that is lost, whoever takes them next does it.

        They lead to nothing as far as the store was heard of. After a lost connection that may be
        different: where it has lost the end of a run as well, the entry is what leads to it.
        """
        self.held.difference_update(entries)
        queue = self._keys.queue
        return [
            self._commands.call_now(queue, b"XACK", queue, GROUP, *entries),
            self._commands.call_now(queue, b"XDEL", queue, *entries),
        ]

    async def requeue(self, entry: bytes, key: str, keys: RunKeys) -> bytes | None:
        """Put a run that was taken back into the queue; return its new entry, None if it is there."""
        again: bytes | None = await self._run(REQUEUE, entry, key, VERSION)
        self.held.discard(entry)
        if again is not None:
            await self._commands.run(ENTERED, (keys.record,), again)
        return again

    # -- what fell between ---------------------------------------------------------------------

    async def intend(self, key: str, mine: Sequence[bytes], most: int, share: int) -> list[Any] | None:
        """Note that a run is about to be made and queued; only where the two cannot be one step.

        Returns None, or what `refusal` takes.
        """
        keys = (self._keys.intents, self._keys.queue, *mine)
        reply = await self._commands.run(INTEND, keys, key, GROUP, most, share)
        return reply if isinstance(reply, list) else None

    async def enqueue(self, key: str, keys: RunKeys, mine: Sequence[bytes] = (), remember: int = 0) -> None:
        """Queue a run that has its record, after `intend`, and note its entry in the record."""
        places = (self._keys.queue, self._keys.intents, *mine)
        entry = await self._commands.run(ENQUEUE, places, key, VERSION, remember)
        await self._commands.run(ENTERED, (keys.record,), entry)

    async def sweep(self, waiting: Callable[[str], Awaitable[bool | None]]) -> None:
        """Now and then, queue the runs whose creator died before it could.

        ``waiting`` says whether a run is accepted and was never taken, or None where there is no run.
        """
        if self._loop.time() - self._swept_at < SWEEP_SECONDS:
            return
        self._swept_at = self._loop.time()
        intents = self._keys.intents
        found, forgotten = await self._commands.run(
            OVERDUE, (intents,), _ms(INTENT_SECONDS), _ms(FORGET_INTENT_SECONDS)
        )
        for key, score in zip(found[::2], found[1::2], strict=True):
            state = await waiting(key.decode())
            if state:
                await self.enqueue(key.decode(), self._keys.run(key.decode()))
            elif state is not None or float(score) < float(forgotten):
                await self._commands.run(FORGET, (intents,), key, score)

    async def close(self) -> None:
        """Forget this process's consumers, but for those that still hold something."""
        idle = _ms(IDLE_CONSUMER_SECONDS)
        self._closed = True
        for connection in (*self._idle, *self._blocked):
            await connection.disconnect(nowait=True)  # those that wait find out
        for consumer in self._consumers:
            try:
                await asyncio.wait_for(
                    self._commands.run(TIDY, (self._keys.queue,), GROUP, consumer, idle), 1
                )
            except (BackendUnavailable, TimeoutError):
                return


def refusal(reply: list[Any]) -> StoreFull:
    """Return the error that a script's refusal to queue another run stands for."""
    which, waiting = reply
    if which == b"owner":
        return QuotaExceeded(f"{waiting:,} accepted runs of this owner wait, which is its share")
    return QueueFull(f"{waiting:,} accepted runs wait already, which is the limit")


def _taken(reply: Sequence[bytes], idle: bool) -> list[Taken]:
    each = zip(reply[::3], reply[1::3], reply[2::3], strict=True)
    return [Taken(entry, key.decode(), idle, int(version)) for entry, key, version in each if key]


def _ms(seconds: float) -> int:
    return int(seconds * 1000)


def _idle(lease_seconds: float) -> int:
    """Return the idle time with which a lease begins."""
    return _ms(SPAN_SECONDS - min(lease_seconds, LONGEST_LEASE))
