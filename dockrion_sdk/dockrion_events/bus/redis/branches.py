"""Who wrote which part of a run's log.

A store that goes back in time, because a crash or a failover lost its newest writes, lets others write
what comes then: under the same sequences there are other events. Every claim, and every end from outside,
has a name of its own, and writes each sequence at most once with one content. So the name of an event's
writer, as a short hash, is the event's *epoch*: a reader whose cursor has the epoch that the log has at
this sequence has seen the same events, up to there.

In the record ``ep`` lists the parts whose writers are gone, as ``<first sequence>:<epoch>;`` for each. The
newest part is that of the fence ``fe``, and begins behind ``ba``. Releases before this list was kept wrote
none: of what they wrote, only the newest part is known.
"""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from operator import itemgetter
from typing import Final

import msgspec

EPOCH_LENGTH: Final = 8
NEVER: Final = 2**63

_first = itemgetter(0)


def epoch_of_fence(fence: bytes) -> str:
    """Return the epoch of what is written under a fence; the scripts make the same of it."""
    return hashlib.sha1(fence, usedforsecurity=False).hexdigest()[:EPOCH_LENGTH]


class Branches(msgspec.Struct, frozen=True):
    """The parts of a log, as first sequence and epoch of each, ascending.

    ``open`` says whether the newest part may still grow, ``last`` where it ends if not. Of what lies
    before ``known_from`` nobody knows who wrote it.
    """

    parts: tuple[tuple[int, str], ...] = ()
    open: bool = False
    last: int = 0
    known_from: int = NEVER

    @property
    def newest(self) -> str:
        """The epoch of the newest part; an empty string where none is known."""
        return self.parts[-1][1] if self.parts else ""

    def epoch_at(self, sequence: int) -> str:
        """Return the epoch of an event; an empty string where it is not known."""
        place = bisect_right(self.parts, sequence, key=_first) - 1
        return self.parts[place][1] if place >= 0 else ""

    def end_of(self, sequence: int) -> int:
        """Return the last sequence up to which events have the epoch of this one."""
        if len(self.parts) < 2 and self.known_from <= 1:
            return NEVER
        place = bisect_right(self.parts, sequence, key=_first)
        return self.parts[place][0] - 1 if place < len(self.parts) else NEVER

    def fork(self, sequence: int, epoch: str) -> int | None:
        """Return the first sequence at which this log differs from that of a reader.

        The reader has seen the event ``sequence`` of ``epoch``. Returns None where it has seen what is
        in the log, or what the newest writer may still write. Where it is not known how much the two
        have in common, that is taken for nothing: 1.
        """
        if not sequence or not epoch or sequence < self.known_from:
            return None
        place = bisect_right(self.parts, sequence, key=_first) - 1
        if place >= 0 and self.parts[place][1] == epoch:
            beyond = place == len(self.parts) - 1 and not self.open and sequence > self.last
            return self.last + 1 if beyond else None
        for earlier in range(place - 1, -1, -1):
            if self.parts[earlier][1] == epoch:
                return self.parts[earlier + 1][0]
        return 1

    def extended(self, first: int, epoch: str) -> Branches:
        """Return these parts with a new one, which begins at ``first``."""
        kept = tuple(part for part in self.parts if part[0] < first)
        known_from = self.known_from if self.known_from < first else first
        return Branches((*kept, (first, epoch)), True, first - 1, known_from)


def branches(
    listed: bytes | None, base: bytes | None, fence: bytes | None, last: int, *, ended: bool
) -> Branches:
    """Return what a record's fields ``ep``, ``ba``, ``fe`` and ``la`` say."""
    parts = [_part(text) for text in (listed or b"").split(b";") if text]
    if fence:
        first = int(base or 0) + 1
        parts = [part for part in parts if part[0] < first]
        parts.append((first, epoch_of_fence(fence)))
    nothing_written = listed is not None and not last
    known_from = parts[0][0] if parts else 1 if nothing_written else NEVER
    return Branches(tuple(parts), bool(fence) and not ended, last, known_from)


def _part(text: bytes) -> tuple[int, str]:
    first, _, epoch = text.partition(b":")
    return int(first), epoch.decode()
