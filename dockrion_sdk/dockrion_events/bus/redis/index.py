"""Which runs an owner has, newest first."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, Final

from ...errors import BackendUnavailable, RunUnreadable
from ..base import RunRecord, RunState, newest_first
from .commands import Commands
from .queue_scripts import FORGET
from .records import STATUSES, Keys, microseconds, moment, stored
from .scripts import GET, STATES

log: logging.Logger = logging.getLogger("dockrion")

TOLD: Final = 1000
"""Runs that cannot be read of which it is remembered that the log names them."""

INDEX_SECONDS: Final = 7 * 86_400
"""An index that got no new run for so long, and that of the runs themselves, is forgotten."""

TIDY_EVERY: Final = 16
TIDY_LOOKS: Final = 32
"""One in so many new runs has so many of the owner's others looked at that are old enough to have expired.
Most of these have, so there are few of them at any time, and nobody has to go through a whole index."""

STATES_AT_ONCE: Final = 500
"""Runs that Redis looks at in one step."""


class Index:
    """A sorted set for each owner: the keys of runs by the microsecond of their creation.

    Runs expire by themselves and stay in the index until they are noticed. ``ttl`` and ``run_ttl`` are
    milliseconds.
    """

    def __init__(self, commands: Commands, keys: Keys, run_ttl: int) -> None:
        self.ttl: int = INDEX_SECONDS * 1000 + run_ttl
        self._run_ttl = run_ttl
        self._commands = commands
        self._keys = keys
        self._tasks: set[asyncio.Task[None]] = set()
        self._told: set[str] = set()

    async def add(self, owner: str, record: RunRecord) -> None:
        """Add a run; only where that cannot be done when the run is made."""
        index = self._keys.owner(owner)
        await asyncio.gather(
            self._commands.call(index, b"ZADD", index, microseconds(record.created_at), record.key),
            self._commands.call(index, b"PEXPIRE", index, self.ttl),
        )

    async def page(self, owner: str, limit: int, before: RunRecord | None) -> list[RunRecord]:
        """See `EventBackend.list_runs`."""
        found: list[RunRecord] = []
        expired: list[bytes] = []
        highest: bytes | int = b"+inf" if before is None else microseconds(before.created_at)
        index = self._keys.owner(owner)
        offset = 0
        while len(found) < limit:
            count = limit - len(found) + 4
            page = await self._commands.call(
                index, b"ZREVRANGEBYSCORE", index, highest, b"-inf", b"WITHSCORES", b"LIMIT", offset, count
            )
            members = list(zip(page[::2], page[1::2], strict=True))
            offset += len(members)
            wanted = [one for one in members if before is None or _is_behind(one, before)]
            for member, record in zip(wanted, await self._records(wanted), strict=True):
                if isinstance(record, RunUnreadable):
                    self._skip(record)
                elif record is None or record.owner != owner:
                    expired += member
                else:
                    found.append(record)
            if len(members) < count:
                break
        if expired:
            await self._commands.run(FORGET, (index,), *expired)
        return found[:limit]

    async def states(self, owner: str) -> list[RunState]:
        """See `EventBackend.run_states`."""
        index = self._keys.owner(owner)
        page = await self._commands.call(index, b"ZRANGE", index, 0, -1, b"WITHSCORES")
        members = list(zip(page[::2], page[1::2], strict=True))
        found: list[RunState] = []
        expired: list[bytes] = []
        for start in range(0, len(members), STATES_AT_ONCE):
            some = members[start : start + STATES_AT_ONCE]
            for member, state in zip(some, await self._states(some), strict=True):
                key = member[0].decode()
                try:
                    known = _state(key, owner, state)
                except RunUnreadable as error:
                    self._skip(error)
                    continue
                if known is None:
                    expired += member
                else:
                    found.append(known)
        if expired:
            await self._commands.run(FORGET, (index,), *expired)
        return newest_first(found)

    async def _states(self, members: list[tuple[bytes, bytes]]) -> list[list[Any] | bytes]:
        records = [self._keys.run(member.decode()).record for member, _ in members]
        if not self._commands.one_slot:
            together: list[list[Any] | bytes] = await self._commands.run(STATES, records)
            return together
        apart: list[list[list[Any] | bytes]] = await asyncio.gather(
            *(self._commands.run(STATES, (record,)) for record in records)
        )
        return [state for [state] in apart]

    def _skip(self, error: RunUnreadable) -> None:
        """Log once why a run is missing from lists."""
        told = str(error)
        if told not in self._told:
            log.error("%s; lists leave it out", told)
            if len(self._told) < TOLD:
                self._told.add(told)

    async def _records(self, members: list[tuple[bytes, bytes]]) -> list[RunRecord | RunUnreadable | None]:
        names = [member.decode() for member, _ in members]
        runs = [self._keys.run(name) for name in names]
        replies: list[Any] = await asyncio.gather(
            *(self._commands.run(GET, (run.record, run.log)) for run in runs)
        )
        found: list[RunRecord | RunUnreadable | None] = []
        for name, reply in zip(names, replies, strict=True):
            try:
                found.append(None if reply is None else stored(name, reply).record)
            except RunUnreadable as error:
                found.append(error)
        return found

    def tidy_sometimes(self, newest: RunRecord) -> None:
        """Remove some runs of an owner that have expired, now and then, in the background."""
        if random.randrange(TIDY_EVERY) == 0:
            task = asyncio.create_task(self._tidy(newest))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _tidy(self, newest: RunRecord) -> None:
        index = self._keys.owner(newest.owner)
        before = microseconds(newest.created_at) - self._run_ttl * 1000
        try:
            old = await self._commands.call(index, b"ZCOUNT", index, b"-inf", before)
            if not old:
                return
            first = random.randrange(1 - TIDY_LOOKS, old)
            page = await self._commands.call(
                index, b"ZRANGE", index, max(0, first), first + TIDY_LOOKS - 1, b"WITHSCORES"
            )
            if not page:  # others have removed them meanwhile
                return
            members = list(zip(page[::2], page[1::2], strict=True))
            expired: list[bytes] = []
            for member, state in zip(members, await self._states(members), strict=True):
                if isinstance(state, list) and state[0] is None:
                    expired += member
            if expired:
                await self._commands.run(FORGET, (index,), *expired)
        except BackendUnavailable:
            pass  # another time

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _state(key: str, owner: str, state: list[Any] | bytes) -> RunState | None:
    """Return a run's state, or None where it is not there or another owner's. Raises `RunUnreadable`."""
    if not isinstance(state, list):
        raise RunUnreadable(f"the keys of the run {key!r} in Redis hold something that is not a run")
    whose, status, created, started, ended = state
    if whose != owner.encode():
        return None
    try:
        if status.decode() not in STATUSES:
            raise ValueError(f"{status!r} is not a status")
        return RunState(key=key, status=status.decode(), changed_at=moment(ended or started or created))
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunUnreadable(f"the record of the run {key!r} in Redis is broken: {error}") from None


def _is_behind(member: tuple[bytes, bytes], before: RunRecord) -> bool:
    key, score = member
    return (int(float(score)), key.decode()) < (microseconds(before.created_at), before.key)
