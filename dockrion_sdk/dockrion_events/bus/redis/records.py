"""Names of keys, run records as the scripts return them, and claims."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypeVar

import msgspec

from ...errors import RunUnreadable
from ...events import EncodedEvent
from ..base import ENDED, Claim, RunRecord, RunSummary
from .branches import Branches, branches, epoch_of_fence
from .lanes import Part
from .scripts import VERSION

_T = TypeVar("_T")

_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MICROSECOND: Final = timedelta(microseconds=1)

STATUSES: Final = ENDED | {"accepted", "running"}

RECORD_FIELDS: Final = 18
"""How many values the scripts return for a record."""

_names: dict[bytes, str] = {}


def type_name(name: bytes) -> str:
    """Return an event type as a string; events share those that come often."""
    found = _names.get(name)
    if found is None:
        found = name.decode()
        if len(_names) < 1024:  # names come from agents; the table must not grow for ever
            _names[name] = found
    return found


def check_version(version: bytes | None, what: str) -> None:
    """Raise `RunUnreadable` where something has a newer format than this process understands."""
    if version is not None and int(version) > VERSION:
        told = f"{what} was written by a newer version of dockrion (format {int(version)}, known: {VERSION})"
        raise RunUnreadable(told, newer=True)


class RunKeys(msgspec.Struct, frozen=True, gc=False):
    """A run's keys, which share one hash tag, and the channel of its hints."""

    record: bytes
    log: bytes
    channel: bytes


class Keys:
    """All keys below one prefix. The queue's keys share a hash tag, too."""

    def __init__(self, prefix: str) -> None:
        self.prefix: bytes = prefix.encode()
        self._prefix = self.prefix
        self.queue: bytes = self._prefix + b"{queue}"
        self.intents: bytes = self._prefix + b"{queue}:intents"
        self.processes: bytes = self._prefix + b"process:"

    @property
    def kept(self) -> dict[bytes, bytes]:
        """The keys that all processes share, and the types that Redis has to say they are of."""
        return {self.queue: b"stream", self.intents: b"zset"}

    def run(self, key: str) -> RunKeys:
        tag = key.encode()
        if b"{" in tag or b"}" in tag or b"%" in tag:  # braces would end the hash tag
            tag = tag.replace(b"%", b"%25").replace(b"{", b"%7B").replace(b"}", b"%7D")
        base = b"%brun:{%b}" % (self._prefix, tag)
        return RunKeys(base, base + b":log", base + b":top")

    def owner(self, owner: str) -> bytes:
        return self._prefix + b"owner:" + owner.encode()

    def waiting(self, owner: str) -> bytes:
        return self.queue + b":of:" + owner.encode()


class Stored(msgspec.Struct, frozen=True, gc=False):
    """What `scripts` return of a run. ``largest`` is the bytes of its largest event."""

    record: RunRecord
    largest: int
    fence: bytes
    branches: Branches


def stored(key: str, reply: list[Any] | bytes) -> Stored:
    """Read a script's reply. Raises `RunUnreadable`."""
    return _readable(_stored, key, reply)


def _readable(read: Callable[[str, list[Any]], _T], key: str, reply: list[Any] | bytes) -> _T:
    if not isinstance(reply, list):
        raise RunUnreadable(f"the keys of the run {key!r} in Redis hold something that is not a run")
    try:
        return read(key, reply)
    except (TypeError, ValueError, AttributeError, OverflowError) as error:
        raise RunUnreadable(f"the record of the run {key!r} in Redis is broken: {error}") from None


def _check_status(status: bytes) -> None:
    if status.decode() not in STATUSES:
        raise ValueError(f"{status!r} is not a status")


def _stored(key: str, reply: list[Any]) -> Stored:
    status, owner, request, created, started, ended, attempt, last, largest, fence, *rest = reply
    base, listed, version, losses, thread, length, kind, json = rest
    check_version(version, f"the run {key!r}")
    _check_status(status)
    sequence = int(last)
    parts = branches(listed, base, fence, sequence, ended=ended is not None)
    record = RunRecord(
        key=key,
        owner=owner.decode(),
        status=status.decode(),
        request=request,
        thread=(thread or b"").decode(),
        created_at=moment(created),
        started_at=None if started is None else moment(started),
        ended_at=None if ended is None else moment(ended),
        attempt=int(attempt),
        losses=int(losses or 0),
        first_sequence=sequence - length + 1,
        last_sequence=sequence,
        terminal=None if kind is None else EncodedEvent(type_name(kind), json, sequence),
        epoch=parts.epoch_at(sequence),
    )
    return Stored(record, int(largest), fence, parts)


def summary(key: str, reply: list[Any] | bytes) -> RunSummary:
    """Read what `scripts.SUMMARIES` says of a run that is there. Raises `RunUnreadable`."""
    return _readable(_summary, key, reply)


def _summary(key: str, reply: list[Any]) -> RunSummary:
    owner, status, created, started, ended, thread, attempt, losses, version, last, length = reply
    check_version(version, f"the run {key!r}")
    _check_status(status)
    sequence = int(last)
    return RunSummary(
        key=key,
        owner=owner.decode(),
        status=status.decode(),
        thread=(thread or b"").decode(),
        created_at=moment(created),
        started_at=None if started is None else moment(started),
        ended_at=None if ended is None else moment(ended),
        attempt=int(attempt),
        losses=int(losses or 0),
        first_sequence=sequence - length + 1,
        last_sequence=sequence,
    )


def made_or_found(
    key: str, reply: list[Any] | bytes, owner: str, request: bytes, fence: str, thread: str
) -> Stored:
    """Read what `scripts.CREATE` says of a run: when it was made just now, or what it found."""
    if isinstance(reply, list):
        return stored(key, reply)
    at = moment(reply)
    record = RunRecord(
        key=key,
        owner=owner,
        status="running" if fence else "accepted",
        request=request,
        thread=thread,
        created_at=at,
        started_at=at if fence else None,
        attempt=1 if fence else 0,
    )
    return Stored(record, 0, fence.encode(), branches(b"", b"0", fence.encode(), 0, ended=False))


def moment(microseconds: bytes) -> datetime:
    """Return the time that Redis's clock showed, exactly."""
    return _EPOCH + int(microseconds) * _MICROSECOND


def microseconds(time: datetime) -> int:
    """Return what `moment` was made from."""
    return (time - _EPOCH) // _MICROSECOND


class RedisClaim(Claim):
    """A claim with what its commands need.

    ``fence`` is the token and a name, so that after a loss of data two claims with the same token are
    told apart. ``entry`` is its place in the queue, empty without lease. ``head`` begins an append, and
    ``epoch`` and ``base`` say which part of the log it writes; see `branches`.
    """

    __slots__ = ("base", "entry", "epoch", "fence", "head", "keys")

    def __init__(
        self, found: Stored, keys: RunKeys, entry: bytes, head: tuple[Part, ...], revoked: asyncio.Future[str]
    ) -> None:
        super().__init__(found.record, found.record.attempt, revoked)
        self.fence: bytes = found.fence
        self.keys: RunKeys = keys
        self.entry: bytes = entry
        self.head: tuple[Part, ...] = head
        self.epoch: str = epoch_of_fence(found.fence)
        self.base: int = found.record.last_sequence
