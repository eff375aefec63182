"""Which runs an owner has, newest first."""

from __future__ import annotations

import asyncio
import logging
import random
from typing import Any, Final

from ...errors import BackendUnavailable, RunUnreadable
from ..base import RunRecord, RunState, RunSummary, newest_first
from .commands import Commands
from .queue_scripts import FORGET
from .records import Keys, microseconds, summary
from .scripts import SUMMARIES

log: logging.Logger = logging.getLogger("dockrion")

TOLD: Final = 1000
"""Runs that cannot be read of which it is remembered that the log names them."""

INDEX_SECONDS: Final = 7 * 86_400
"""An index that got no new run for so long, and that of the runs themselves, is forgotten."""

TIDY_EVERY: Final = 16
TIDY_LOOKS: Final = 32
"""One in so many new runs has so many of the owner's others looked at that are old enough to have expired.
Most of these have, so there are few of them at any time, and nobody has to go through a whole index."""

RUNS_AT_ONCE: Final = 500
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

    async def page(self, owner: str, limit: int, before: RunSummary | None) -> list[RunSummary]:
        """See `EventBackend.list_runs`."""
        found: list[RunSummary] = []
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
            found += await self._summaries(owner, wanted, expired)
            if len(members) < count:
                break
        await self._forget(index, expired)
        return found[:limit]

    async def states(self, owner: str, limit: int) -> list[RunState]:
        """See `EventBackend.run_states`."""
        index = self._keys.owner(owner)
        page = await self._commands.call(
            index, b"ZREVRANGEBYSCORE", index, b"+inf", b"-inf", b"WITHSCORES", b"LIMIT", 0, limit
        )
        members = list(zip(page[::2], page[1::2], strict=True))
        expired: list[bytes] = []
        found = await self._summaries(owner, members, expired)
        await self._forget(index, expired)
        return newest_first(
            [
                RunState(key=run.key, status=run.status, changed_at=run.changed_at, thread=run.thread)
                for run in found
            ]
        )

    async def _summaries(
        self, owner: str, members: list[tuple[bytes, bytes]], expired: list[bytes]
    ) -> list[RunSummary]:
        """Return the runs of an index that are the owner's and can be read.

        Those that are gone or another owner's are added to ``expired``, those that cannot be read are logged.
        """
        found: list[RunSummary] = []
        whose = owner.encode()
        for start in range(0, len(members), RUNS_AT_ONCE):
            some = members[start : start + RUNS_AT_ONCE]
            for member, reply in zip(some, await self._read(some), strict=True):
                if isinstance(reply, list) and reply[0] != whose:
                    expired += member
                    continue
                try:
                    found.append(summary(member[0].decode(), reply))
                except RunUnreadable as error:
                    self._skip(error)
        return found

    async def _read(self, members: list[tuple[bytes, bytes]]) -> list[list[Any] | bytes]:
        """Return what `scripts.SUMMARIES` says of each run."""
        runs = [self._keys.run(member.decode()) for member, _ in members]
        if not self._commands.one_slot:
            keys = [key for run in runs for key in (run.record, run.log)]
            together: list[list[Any] | bytes] = await self._commands.run(SUMMARIES, keys)
            return together
        apart: list[list[list[Any] | bytes]] = await asyncio.gather(
            *(self._commands.run(SUMMARIES, (run.record, run.log)) for run in runs)
        )
        return [reply for [reply] in apart]

    def _skip(self, error: RunUnreadable) -> None:
        """Log once why a run is missing from lists."""
        told = str(error)
        if told not in self._told:
            log.error("%s; lists leave it out", told)
            if len(self._told) < TOLD:
                self._told.add(told)

    async def _forget(self, index: bytes, expired: list[bytes]) -> None:
        for start in range(0, len(expired), 2 * RUNS_AT_ONCE):
            await self._commands.run(FORGET, (index,), *expired[start : start + 2 * RUNS_AT_ONCE])

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
            for member, reply in zip(members, await self._read(members), strict=True):
                if isinstance(reply, list) and reply[0] is None:
                    expired += member
            await self._forget(index, expired)
        except BackendUnavailable:
            pass  # another time

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _is_behind(member: tuple[bytes, bytes], before: RunSummary) -> bool:
    key, score = member
    return (int(float(score)), key.decode()) < (microseconds(before.created_at), before.key)
