"""The room that the runs in memory take: how much there is, whose it is, and what goes first."""

from __future__ import annotations

import sys
from bisect import bisect_left, bisect_right, insort
from collections import OrderedDict
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeAlias

from ...errors import QueueFull, QuotaExceeded, StoreFull

if TYPE_CHECKING:
    from .run import Run

RUN_BYTES: Final = 1536
"""What a run takes besides its request and its events: its objects, and its places in the indexes."""

_PART: Final = 512
"""Runs in one part of an index, so that removing one moves few others."""

Entry: TypeAlias = tuple[datetime, str]


class Index:
    """One owner's runs by ``(created_at, key)``, in short parts: to remove one costs little at any length."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        self._parts: list[list[Entry]] = []

    def __bool__(self) -> bool:
        return bool(self._parts)

    def add(self, entry: Entry) -> None:
        """Add a run; usually the newest."""
        parts = self._parts
        if not parts or (parts[-1][-1] < entry and len(parts[-1]) >= _PART):
            parts.append([entry])
        elif parts[-1][-1] < entry:
            parts[-1].append(entry)
        else:  # the clock was set back
            insort(parts[self._part_of(entry)], entry)

    def remove(self, entry: Entry) -> None:
        """Remove a run that is there."""
        number = self._part_of(entry)
        part = self._parts[number]
        del part[bisect_left(part, entry)]
        if not part:
            del self._parts[number]

    def newest_first(self, before: Entry | None = None) -> Iterator[str]:
        """Iterate over the keys of the runs that are older than ``before``. Nothing may change meanwhile."""
        if not self._parts:
            return
        number = len(self._parts) - 1 if before is None else self._part_of(before)
        part = self._parts[number]
        for _, key in reversed(part if before is None else part[: bisect_left(part, before)]):
            yield key
        for earlier in range(number - 1, -1, -1):
            for _, key in reversed(self._parts[earlier]):
                yield key

    def _part_of(self, entry: Entry) -> int:
        return max(0, bisect_right(self._parts, entry, key=_first) - 1)


def _first(part: list[Entry]) -> Entry:
    return part[0]


class Owner:
    """One owner's runs: their index, those that have ended, how many wait, and their bytes."""

    __slots__ = ("_space", "bytes", "ended", "index", "name", "waiting")

    def __init__(self, space: Space, name: str) -> None:
        self._space = space
        self.name: str = name
        self.index: Index = Index()
        self.ended: OrderedDict[str, Run] = OrderedDict()  # the earliest end first
        self.waiting: int = 0
        self.bytes: int = 0

    def count(self, difference: int) -> None:
        """Count bytes that were added, or were freed where the difference is negative."""
        self.bytes += difference
        self._space.bytes += difference

    def fits(self) -> bool:
        """Remove ended runs until the owner and the whole are within their limits; say whether they are."""
        return self._space.make_room(self) is None


class Space:
    """All runs by key, and the limits that they share.

    ``owner_share`` is the part of ``max_waiting`` and of ``max_bytes`` that one owner may take.
    """

    def __init__(self, *, max_bytes: int, max_waiting: int, owner_share: float) -> None:
        self.runs: dict[str, Run] = {}
        self.owners: dict[str, Owner] = {}
        self.ended: OrderedDict[str, Run] = OrderedDict()  # the earliest end first
        self.waiting: OrderedDict[str, Run] = OrderedDict()  # in order of acceptance
        self.bytes: int = 0
        self.evicted: int = 0
        self.max_bytes: int = max_bytes
        self._max_waiting = max_waiting
        shared = owner_share < 1  # else an owner's limit is that of all
        self._owner_bytes = int(max_bytes * owner_share) if shared else sys.maxsize
        self._owner_waiting = max(1, int(max_waiting * owner_share)) if shared else sys.maxsize

    # -- limits --------------------------------------------------------------------------------

    def admit_waiting(self, owner: str) -> None:
        """Raise `QueueFull` or `QuotaExceeded` if no other run of the owner's may wait."""
        if len(self.waiting) >= self._max_waiting:
            raise QueueFull(f"{len(self.waiting):,} accepted runs wait already, which is the limit")
        known = self.owners.get(owner)
        if known is not None and known.waiting >= self._owner_waiting:
            raise QuotaExceeded(f"{known.waiting:,} accepted runs of this owner wait, which is its share")

    def admit(self, owner: Owner, needed: int) -> None:
        """Make room for so many bytes. Raises `QuotaExceeded` or `StoreFull`."""
        lacking = self.make_room(owner, needed)
        if lacking is owner:
            raise QuotaExceeded(
                f"the runs of this owner take {owner.bytes:,} of {self._owner_bytes:,} bytes, "
                f"none of them has ended, and this one needs {needed:,}"
            )
        if lacking is not None:
            raise StoreFull(
                f"runs that have not ended take {self.bytes:,} of {self.max_bytes:,} bytes of memory, "
                f"and this one needs {needed:,}"
            )

    def make_room(self, owner: Owner, needed: int = 0) -> Owner | Space | None:
        """Remove ended runs until ``needed`` bytes fit; return what is still full, if anything is."""
        while owner.bytes + needed > self._owner_bytes:
            if not owner.ended:
                return owner
            self._evict(next(iter(owner.ended.values())))
        while self.bytes + needed > self.max_bytes:
            if not self.ended:
                return self
            self._evict(next(iter(self.ended.values())))
        return None

    def _evict(self, run: Run) -> None:
        self.evicted += 1
        self.remove(run)

    # -- runs ----------------------------------------------------------------------------------

    def owner(self, name: str) -> Owner:
        """Return what is kept of an owner; it is forgotten with its last run."""
        return self.owners.get(name) or Owner(self, name)

    def add(self, run: Run) -> None:
        """Keep a run that was admitted."""
        owner = run.of
        self.runs[run.key] = run
        self.owners[owner.name] = owner
        owner.index.add((run.created_at, run.key))
        owner.count(run.weight)

    def wait(self, run: Run) -> None:
        """Put a run at the end of those that wait to be claimed."""
        self.waiting[run.key] = run
        run.of.waiting += 1

    def leave(self, run: Run) -> None:
        """Take a run out of those that wait, if it is among them."""
        if self.waiting.pop(run.key, None) is not None:
            run.of.waiting -= 1

    def end(self, run: Run) -> None:
        """Note that a run has ended: from now on it may be removed to make room."""
        self.leave(run)
        self.ended[run.key] = run.of.ended[run.key] = run

    def remove(self, run: Run) -> None:
        """Forget a run that has ended. Its followers learn that it is gone."""
        owner = run.of
        del self.runs[run.key], self.ended[run.key], owner.ended[run.key]
        owner.index.remove((run.created_at, run.key))
        run.drop("lost")
        owner.count(-run.weight)
        if not owner.index:
            del self.owners[owner.name]

    def clear(self) -> None:
        """Forget everything; followers end."""
        for run in self.runs.values():
            run.drop("closed")
        for owner in self.owners.values():
            owner.ended.clear()
        for kept in (self.runs, self.owners, self.ended, self.waiting):
            kept.clear()
        self.bytes = 0
