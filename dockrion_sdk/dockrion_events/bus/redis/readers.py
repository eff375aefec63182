"""Reading logs: one reader for each followed run, shared by its followers in this process.

A hint, or the regular look at all followed runs, wakes the reader; it reads the log from its top on and
wakes its followers, who take what they lack from its window of recent events. A follower that is behind the
window reads the log itself. So a slow one costs nobody anything, and no one keeps a connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from ...cursor import epoch_of
from ...errors import BackendUnavailable, RunNotFound
from .commands import Commands
from .follower import RedisFollower
from .hub import Hub
from .reader import RunReader
from .records import RunKeys, Stored

LOOK_SECONDS: Final = 1.5
"""How often all followed runs are looked at, in case that a hint was lost."""


class Readers:
    """The readers of this process. ``fetch`` reads a run's record, or None where there is no run."""

    def __init__(
        self, commands: Commands, hub: Hub, fetch: Callable[[str], Awaitable[Stored | None]]
    ) -> None:
        self.commands: Commands = commands
        self._hub = hub
        self._fetch = fetch
        self._readers: dict[str, RunReader] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._looking: asyncio.Task[None] | None = None

    def get(self, key: str) -> RunReader | None:
        """Return the run's reader, if somebody follows the run."""
        return self._readers.get(key)

    async def follow(self, key: str, keys: RunKeys, after: int) -> RedisFollower:
        """Return a new follower. Raises `RunNotFound`."""
        reader = self._readers.get(key)
        if reader is None or reader.ended or reader.gone:
            found = await self._fetch(key)
            if found is None:
                raise RunNotFound(f"there is no run {key!r}")
            reader = self._readers.get(key)
            if reader is not None and reader.created_at != found.record.created_at:
                reader.vanish()  # another run has taken its name
            if reader is None or reader.gone:
                reader = self._readers[key] = RunReader(self, key, keys, found)
                if not reader.ended:
                    self.join(reader)
        elif reader.branches.fork(after, epoch_of(after)) is not None:
            await reader.look_now()  # the cursor may be of events that this process has not heard of yet
        if self._looking is None:
            self._looking = asyncio.create_task(self._look_regularly())
        follower = RedisFollower(self, reader, after)
        reader.followers.add(follower)
        return follower

    def left(self, reader: RunReader, follower: RedisFollower) -> None:
        """Forget a follower, and its reader after the last one."""
        reader.followers.discard(follower)
        if not reader.followers:
            self.leave(reader)
            if self._readers.get(reader.key) is reader:
                del self._readers[reader.key]

    def join(self, reader: RunReader) -> None:
        """Want hints for a reader."""
        if self._readers.get(reader.key) is reader:
            self._hub.subscribe(reader.keys.channel, reader.hint)

    def leave(self, reader: RunReader) -> None:
        """Want no more hints for a reader."""
        if self._readers.get(reader.key) is reader:
            self._hub.unsubscribe(reader.keys.channel)

    def finish(self, reader: RunReader) -> None:
        """Read the record of a run that has ended, for a reader that has not seen the end."""
        task = asyncio.create_task(self._finish(reader))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _finish(self, reader: RunReader) -> None:
        try:
            reader.finished(await self._fetch(reader.key))
        except BackendUnavailable as error:
            reader.fail(error)

    async def _look_regularly(self) -> None:
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            for reader in list(self._readers.values()):
                reader.settle()
                if not (reader.ended or reader.gone):
                    reader.look()

    async def close(self) -> None:
        """End every follower."""
        for reader in list(self._readers.values()):
            for follower in list(reader.followers):
                follower.close()
        tasks = [*self._tasks, *([self._looking] if self._looking else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
