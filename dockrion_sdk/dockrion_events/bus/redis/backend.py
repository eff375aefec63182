"""The event backend that keeps runs in Redis."""

from __future__ import annotations

import asyncio
import secrets
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any, Final

from redis.exceptions import ResponseError

from ...errors import BackendUnavailable, RunExists, RunNotFound
from ...events import TERMINAL, EncodedEvent
from ..base import (
    STATUS_OF_TERMINAL,
    Claim,
    Ending,
    EventBackend,
    Follower,
    RunRecord,
    RunState,
    RunSummary,
    check_batch,
    check_limits,
)
from .branches import EPOCH_LENGTH, epoch_of_fence
from .checks import checked
from .cluster import ClusterCommands
from .commands import Commands, OneServer
from .executing import Executing
from .hub import Hub
from .index import Index
from .queue import GROUP, Queue, refusal
from .readers import Readers
from .records import RECORD_FIELDS, Keys, RedisClaim, RunKeys, Stored, made_or_found, stored
from .scripts import APPEND, CREATE, END, GET
from .selftest import selftest
from .urls import parse

PING_SECONDS: Final = 1.0
TEST_SECONDS: Final = 10.0
"""How long a `selftest` that found no fault is good for."""

_UNCERTAIN_CALLS: Final = 1000


class RedisBackend(EventBackend):
    """Runs in Redis.

    ``url`` is one of ``redis://``, ``rediss://``, ``unix://``, ``redis+sentinel://host:port,…/service``
    and ``redis+cluster://host:port,…`` (``rediss+…`` with TLS); raises ``ValueError`` for any other.
    Of a log ``max_events_per_run`` events are kept, and up to a tenth more. ``stream_ttl_seconds`` after
    its end a run is gone; one made by `open_run` after ``open_run_ttl_seconds`` without an event. Each
    server gets up to ``connection_pool_size`` connections for commands, one for hints, and one for each
    `claim` that waits. A command is tried for ``patience_seconds``. All keys begin with ``prefix``.
    """

    name = "redis"
    durable = True

    def __init__(
        self,
        url: str,
        *,
        max_events_per_run: int = 10_000,
        stream_ttl_seconds: float = 3600,
        connection_pool_size: int = 10,
        prefix: str = "dockrion:",
        patience_seconds: float = 5.0,
        open_run_ttl_seconds: float = 86_400,
        max_waiting: int = 10_000,
        owner_share: float = 1.0,
    ) -> None:
        if max_events_per_run < 1:
            raise ValueError(f"max_events_per_run is {max_events_per_run}; it has to be 1 or more")
        if not stream_ttl_seconds >= 0:
            raise ValueError(f"stream_ttl_seconds is {stream_ttl_seconds}; it has to be 0 or more")
        if connection_pool_size < 1:
            raise ValueError(f"connection_pool_size is {connection_pool_size}; it has to be 1 or more")
        check_limits(max_waiting=max_waiting, owner_share=owner_share)
        self._max_waiting = max_waiting
        self._owner_waiting = max(1, int(max_waiting * owner_share))
        self._place = parse(url)
        self._limit = max_events_per_run
        self._ttl = max(1, int(stream_ttl_seconds * 1000))
        self._open_ttl = int(open_run_ttl_seconds * 1000)
        self._size = connection_pool_size
        self._patience = patience_seconds
        self._process = secrets.token_hex(6)
        self._keys = Keys(prefix)
        self._count = 0
        self._uncertain: OrderedDict[str, str] = OrderedDict()
        self._parts: _Parts | None = None
        self._closed = False
        self._test_at = 0.0

    async def open(self) -> list[str]:
        if self._closed:
            raise self._not_open()
        if self._parts is not None:
            return []
        parts = _Parts(self)
        try:
            await parts.commands.open()
            warnings = await checked(parts.commands, self._keys.prefix, self._keys.kept)
        except BaseException:
            await parts.commands.close()
            raise
        self._test_at = asyncio.get_running_loop().time() + TEST_SECONDS
        parts.hub.open()
        parts.hub.subscribe(self._keys.processes + self._process.encode(), parts.executing.hint)
        self._parts = parts
        return warnings

    async def close(self) -> None:
        self._closed = True
        parts, self._parts = self._parts, None
        if parts is not None:
            await parts.close()

    def _opened(self) -> _Parts:
        if self._parts is None:
            raise self._not_open()
        return self._parts

    def _not_open(self) -> BackendUnavailable:
        state = "closed" if self._closed else "not open"
        return BackendUnavailable(f"the backend on Redis at {self._place.text} is {state}")

    async def ping(self) -> None:
        commands = self._opened().commands
        try:
            await asyncio.gather(
                *(asyncio.wait_for(commands.ask(lane, b"PING"), PING_SECONDS) for lane in commands.lanes())
            )
        except TimeoutError:
            raise BackendUnavailable(
                f"Redis at {self._place.text} did not answer within {PING_SECONDS:g} s"
            ) from None
        await self._test_again(commands)

    async def _test_again(self, commands: Commands) -> None:
        """Test now and then whether all that is needed still works; as long as it does not, each time."""
        loop = asyncio.get_running_loop()
        if loop.time() < self._test_at:
            return
        try:
            faults, _ = await selftest(commands, self._keys.prefix, self._keys.kept)
        except BackendUnavailable as error:
            if not isinstance(error.__cause__, ResponseError):
                raise
            return  # it takes no writes at present, which each of them is told
        if faults:
            raise BackendUnavailable("; ".join(faults))
        self._test_at = loop.time() + TEST_SECONDS

    # -- runs ----------------------------------------------------------------------------------

    async def create_run(
        self, key: str, *, owner: str, request: bytes, thread: str = ""
    ) -> tuple[RunRecord, bool]:
        found, new, _ = await self._create(key, owner, request, "", thread)
        return found.record, new

    async def open_run(self, key: str, *, owner: str, request: bytes) -> Claim:
        found, new, keys = await self._create(key, owner, request, "1:")
        if not new:
            raise RunExists(f"there is a run {key!r} already")
        return self._opened().executing.hold(found, keys, b"")

    async def _create(
        self, key: str, owner: str, request: bytes, fence: str, thread: str = ""
    ) -> tuple[Stored, bool, RunKeys]:
        """Make a run, unless there is one; a call whose answer was lost is made again under its name."""
        parts = self._opened()
        keys = self._keys.run(key)
        nonce = self._uncertain.pop(key, None) or self._name()
        try:
            given = (owner, request, nonce, fence and fence + nonce, thread)
            found, new = await self._made(parts, key, keys, *given)
        except BackendUnavailable:
            self._uncertain[key] = nonce
            if len(self._uncertain) > _UNCERTAIN_CALLS:
                self._uncertain.popitem(last=False)
            raise
        return found, new, keys

    async def _made(
        self,
        parts: _Parts,
        key: str,
        keys: RunKeys,
        owner: str,
        request: bytes,
        nonce: str,
        fence: str,
        thread: str,
    ) -> tuple[Stored, bool]:
        commands, index = parts.commands, parts.index
        mine, limits = self._mine(owner), (self._max_waiting, self._owner_waiting)
        times = (self._open_ttl, index.ttl)
        arguments = (owner, request, nonce, key, fence, self._process, *times, thread, GROUP, *limits)
        places = [keys.record, keys.log]
        if not commands.one_slot:
            places += (self._keys.queue, self._keys.owner(owner), *mine)
        elif not fence:
            # In a cluster the record and the queue are apart. The intent comes first: should we die before
            # the run is queued, somebody's `Queue.sweep` finds it and does that.
            full = await parts.queue.intend(key, mine, *limits)
            if full is not None:
                there = await self._fetch(key)
                if there is not None:
                    return there, False
                raise refusal(full)
        made, reply = await commands.run(CREATE, places, *arguments)
        if made == 2:
            raise refusal(reply)
        found = made_or_found(key, reply, owner, request, fence, thread)
        if made:
            if commands.one_slot:
                queued = [] if fence else [parts.queue.enqueue(key, keys, mine, index.ttl)]
                await asyncio.gather(index.add(owner, found.record), *queued)
            index.tidy_sometimes(found.record)
        return found, bool(made)

    def _mine(self, owner: str) -> tuple[bytes, ...]:
        """Return the key of an owner's entries in the queue, if they have a limit of their own."""
        return (self._keys.waiting(owner),) if self._owner_waiting < self._max_waiting else ()

    def _name(self) -> str:
        """Return a name that no other call has."""
        self._count += 1
        return f"{self._process}.{self._count}"

    async def get_run(self, key: str) -> RunRecord:
        found = await self._fetch(key)
        if found is None:
            raise _not_found(key)
        return found.record

    async def _fetch(self, key: str) -> Stored | None:
        keys = self._keys.run(key)
        reply = await self._opened().commands.run(GET, (keys.record, keys.log))
        return None if reply is None else stored(key, reply)

    async def list_runs(
        self, owner: str, *, limit: int, before: RunSummary | None = None
    ) -> list[RunSummary]:
        return await self._opened().index.page(owner, limit, before)

    async def run_states(self, owner: str, *, limit: int = 10_000) -> list[RunState]:
        return await self._opened().index.states(owner, limit)

    async def end_run(self, key: str, ending: Ending) -> RunRecord:
        parts = self._opened()
        keys = self._keys.run(key)
        started, terminal = ending.started, ending.terminal
        reply = await parts.commands.run(
            END, (keys.record, keys.log), keys.channel, self._keys.processes, self._ttl,
            secrets.token_hex(EPOCH_LENGTH // 2), STATUS_OF_TERMINAL[terminal.type],
            started.type, started.json, terminal.type, terminal.json,
        )  # fmt: skip
        if reply is None:
            raise _not_found(key)
        parts.executing.revoke(key, "cancelled")
        *fields, entry = reply if len(reply) > RECORD_FIELDS else (*reply, None)
        record = stored(key, fields).record
        if entry is not None:  # if this is lost, whoever takes the entry removes it
            places = (self._keys.queue, *self._mine(record.owner))
            await asyncio.gather(*(parts.commands.call(key, b"XDEL", key, entry) for key in places))
        return record

    # -- executing -----------------------------------------------------------------------------

    async def claim(
        self, executor: str, *, accepted: int, expired: int, lease_seconds: float, timeout: float
    ) -> list[Claim]:
        executing = self._opened().executing
        return list(await executing.claim(executor, accepted, expired, lease_seconds, timeout))

    async def count_accepted(self) -> int:
        return await self._opened().queue.count()

    async def renew(self, claims: Sequence[Claim], *, lease_seconds: float) -> None:
        await self._opened().executing.renew([_ours(claim) for claim in claims], lease_seconds)

    async def release(self, claim: Claim) -> None:
        await self._opened().executing.release(_ours(claim))

    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        if not events:
            return
        parts = self._opened()
        held = _ours(claim)
        last = events[-1].type
        arguments: list[Any] = [
            events[0].sequence,
            max([len(event.json) for event in events]),
            STATUS_OF_TERMINAL[last] if last in TERMINAL else b"",
        ]
        for event in events:
            arguments.append(event.type)
            arguments.append(event.json)
        if len(events) > 1 or not events[0].sequence:
            _check(events)
        reader = parts.readers.get(claim.record.key)
        if reader is None:
            reply = await parts.commands.run_parts(APPEND, held.keys.log, (*held.head, *arguments))
        else:
            # What this process appends it need not read again: the log has it now.
            reader.appending += 1
            reply = None
            try:
                reply = await parts.commands.run_parts(APPEND, held.keys.log, (*held.head, *arguments))
            finally:
                reader.appending -= 1
                reader.offer(events if reply == 1 else (), held.epoch, held.base)
        if reply != 1:
            raise parts.executing.refusal(held, reply)
        if last in TERMINAL:
            parts.executing.done(held)

    # -- reading -------------------------------------------------------------------------------

    async def follow(self, key: str, *, after: int) -> Follower:
        return await self._opened().readers.follow(key, self._keys.run(key), after)

    def head(self, keys: RunKeys, fence: bytes) -> tuple[Any, ...]:
        """Return the beginning of a claim's appends; see `scripts.APPEND`."""
        return Commands.head(
            APPEND, (keys.record, keys.log), fence, keys.channel, self._limit, self._ttl, self._open_ttl,
            epoch_of_fence(fence),
        )  # fmt: skip


class _Parts:
    """What an open backend consists of."""

    def __init__(self, backend: RedisBackend) -> None:
        keys = backend._keys
        place = backend._place
        kind = ClusterCommands if place.kind == "cluster" else OneServer
        self.commands: Commands = kind(place, backend._size, backend._patience)
        self.hub = Hub(self.commands)
        self.queue = Queue(self.commands, keys, backend._process)
        self.index = Index(self.commands, keys, backend._ttl)
        self.readers = Readers(self.commands, self.hub, backend._fetch)
        self.executing = Executing(
            self.commands, self.queue, keys, backend._process, backend._name, backend.head
        )

    async def close(self) -> None:
        await self.readers.close()
        await self.hub.close()
        await self.executing.close()
        await self.index.close()
        await self.queue.close()
        await self.commands.close()


def _ours(claim: Claim) -> RedisClaim:
    if not isinstance(claim, RedisClaim):
        raise TypeError("the claim is not one of a Redis backend")
    return claim


def _not_found(key: str) -> RunNotFound:
    return RunNotFound(f"there is no run {key!r}")


def _check(events: Sequence[EncodedEvent]) -> None:
    """Raise where the events are not complete, do not follow each other, or follow a terminal one."""
    if not events[0].sequence:
        raise ValueError("an event has no sequence yet; only complete ones can be appended")
    check_batch(events)
