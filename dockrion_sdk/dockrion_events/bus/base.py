"""The contract of an event backend: run records, their logs, and the claims on executing them.

The three live behind one contract because they change together: a terminal event ends the log, the
run and the claim in one step.

A run's log holds `EncodedEvent` objects that are complete; sequences begin at 1 and have no holes. What a
follower gets is what is in the log. The first terminal event wins and is the last event of the log.
"""

from __future__ import annotations

import asyncio
import copy
from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Final, Literal, Protocol, Self, TypeAlias

import msgspec

from ..errors import LogLost
from ..events import TERMINAL, EncodedEvent

RunStatus: TypeAlias = Literal["accepted", "running", "completed", "failed", "cancelled"]

ENDED: Final[frozenset[RunStatus]] = frozenset({"completed", "failed", "cancelled"})

STATUS_OF_TERMINAL: Final[dict[str, RunStatus]] = {
    "complete": "completed",
    "error": "failed",
    "cancelled": "cancelled",
}


class RunSummary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What lists show of a run: everything that is never large. Times are UTC, by the backend's clock.

    ``key`` names the run within the backend. ``thread`` is the conversation it was created for, empty
    for none. ``attempt`` counts the claims so far, and ``losses`` those whose lease expired after their
    holder had appended something. ``first_sequence`` is that of the oldest event that is still kept,
    ``last_sequence`` that of the newest; of a log without events they are 1 and 0.
    """

    key: str
    owner: str
    status: RunStatus
    created_at: datetime
    thread: str = ""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    attempt: int = 0
    losses: int = 0
    first_sequence: int = 1
    last_sequence: int = 0

    @property
    def ended(self) -> bool:
        """Whether the run has its terminal event."""
        return self.status in ENDED

    @property
    def changed_at(self) -> datetime:
        """When the run took its status; of one that was handed back, when it was first claimed."""
        return self.ended_at or self.started_at or self.created_at


class RunRecord(RunSummary, frozen=True, kw_only=True, gc=False):
    """A run as it was when it was read.

    ``request`` is what the run's creator gave, and nobody else reads it. ``terminal`` is the terminal
    event. ``epoch`` is that of the last event, see `Cursor`; an empty string where the store has none.
    """

    request: bytes
    terminal: EncodedEvent | None = None
    epoch: str = ""


class RunState(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A run's status and when it took it; see `RunSummary`."""

    key: str
    status: RunStatus
    changed_at: datetime
    thread: str = ""


class StoreUsage(msgspec.Struct, frozen=True, kw_only=True):
    """How much of its memory a store uses, and how many runs were removed before their time for it."""

    bytes: int
    max_bytes: int
    evicted: int


def check_limits(*, max_waiting: int, owner_share: float) -> None:
    """Raise ``ValueError`` for limits that make no sense."""
    if max_waiting < 1:
        raise ValueError(f"max_waiting is {max_waiting}; it has to be 1 or more")
    if not 0 < owner_share <= 1:
        raise ValueError(f"owner_share is {owner_share}; it has to be more than 0 and at most 1")


def check_batch(events: Sequence[EncodedEvent]) -> None:
    """Look at events that are to be appended together.

    Raises `LogLost` where they do not follow each other, ``ValueError`` where one follows a terminal event.
    """
    due = events[0].sequence or 0
    ended = False
    for event in events:
        if event.sequence != due:
            raise LogLost(f"events are missing between those of the sequences {[e.sequence for e in events]}")
        if ended:
            raise ValueError("an event follows a terminal event")
        ended = event.type in TERMINAL
        due += 1


def newest_first(states: list[RunState]) -> list[RunState]:
    """Return states in the order of `EventBackend.run_states`."""
    return sorted(states, key=lambda state: (state.changed_at, state.key), reverse=True)


class Claim:
    """The right to append to a run, until it is `revoked`.

    ``token`` grows with every claim on the same run: the backend refuses what carries an older one.
    ``revoked`` is a future of the loop that the claim was made on. It is done as soon as the backend
    knows that the right is gone, and its result says why: ``cancelled`` (the run was ended by
    somebody else), ``superseded`` (somebody else claimed it) or ``lost`` (there is no such run any
    more). It stays pending where the claim's holder ends the run.
    """

    __slots__ = ("record", "revoked", "token")

    def __init__(self, record: RunRecord, token: int, revoked: asyncio.Future[str]) -> None:
        self.record: RunRecord = record
        self.token: int = token
        self.revoked: asyncio.Future[str] = revoked

    def twin(self) -> Self:
        """Return the same right for another backend of the same store, on the running loop.

        Only to `EventBackend.renew` it, where the loop of this claim is blocked. It is revoked by itself.
        """
        twin = copy.copy(self)
        twin.revoked = asyncio.get_running_loop().create_future()
        return twin

    def revoke(self, why: str) -> None:
        """Make it known that the right is gone; for backends, on the claim's loop."""
        if not self.revoked.done():
            self.revoked.set_result(why)


class Ending(msgspec.Struct, frozen=True):
    """A terminal event for a run whose next sequence is not known yet.

    Both parts are `EncodedEvent` drafts whose JSON is complete but for the number and the closing
    brace: it ends with ``"sequence":``. ``started`` is appended before ``terminal`` where the log is
    empty, because every stream begins with it.
    """

    started: EncodedEvent
    terminal: EncodedEvent


class Follower(Protocol):
    """One reader's place in a run's log: stored events, then live ones, each once and in order.

    One task uses it. It costs the run nothing: a reader that does not read has a cursor, no queue.
    """

    @property
    def position(self) -> int:
        """The sequence of the last event that was returned; at first, that of the cursor."""

    @property
    def ended(self) -> bool:
        """Whether the last event there will be was returned; also once this or its backend is closed."""

    async def next_batch(self) -> list[EncodedEvent]:
        """Wait for what comes after `position` and return it; an empty list after the end or a `nudge`.

        A batch is bounded (some hundred events or some 100 KiB), so that a replay need not fit into
        memory. The list is the caller's; the events are shared and must not be changed.

        Where events that the reader lacks are not kept any more, a ``gap`` event comes first. Where
        the cursor lies beyond the end of a run that has ended, a ``gap`` comes and then the run's
        terminal event. Where the run itself is gone, an ``error`` event with the code ``RUN_LOST``
        ends the following. These have the run's id, and ``sequence`` None.

        Cancelling it loses nothing. Raises `BackendUnavailable` where the log could not be read for
        longer than the backend is patient.
        """

    def nudge(self) -> None:
        """Make a waiting `next_batch`, or else the next one, return what it has, if only an empty list."""

    def close(self) -> None:
        """Stop following; `next_batch` returns an empty list from now on. May be called again."""


class EpochFollower(Follower, Protocol):
    """A follower in a store that may lose what it acknowledged, and tells that by epochs; see `Cursor`."""

    @property
    def epoch(self) -> str:
        """The epoch of the event at `position`; that of all numbered events of the batch it came in.

        An empty string where it is not known.
        """


def follower_epoch(follower: Follower) -> str:
    """Return the epoch at a follower's position; an empty string where its store has no epochs."""
    epoch: str = getattr(follower, "epoch", "")
    return epoch


class EventBackend(ABC):
    """Keeps runs; see the module. Belongs to the event loop that it was opened on.

    Every method may raise `BackendUnavailable`: the store could not be reached for as long as the
    backend tries, and whether the change happened is not known. Every change may then be made again:
    one that has happened already is recognised and succeeds once more.

    After its end a run is kept for ``stream_ttl_seconds``, then it is gone. A log keeps at least the
    newest ``max_events_per_run`` events, and not many more; older ones go first.

    Up to ``max_waiting`` runs may be accepted and not claimed yet. Of these, one owner may have
    ``owner_share`` (a part of 1; 1 is no limit of its own). A backend whose memory has no limit of its
    own has ``max_bytes``, of which one owner may use the same share. When it is used up, the runs that
    ended first are removed before their time, an owner's own where its share is used up, as if
    ``stream_ttl_seconds`` were over. When nothing has ended, a growing log loses its oldest events.
    """

    name: str
    """A short name for messages, such as ``memory``."""

    durable: bool
    """Whether runs outlive this process, and other processes see them."""

    @abstractmethod
    async def open(self) -> list[str]:
        """Connect, and return one line for each thing about the store that is not safe.

        Raises `BackendUnavailable` where there is no store, or one that cannot work at all.
        """

    @abstractmethod
    async def close(self) -> None:
        """Let go of everything; followers end, and what is called later raises `BackendUnavailable`.

        May be called again.
        """

    @abstractmethod
    async def ping(self) -> None:
        """Return if the store answers, soon; else raise `BackendUnavailable`."""

    # -- runs ----------------------------------------------------------------------------------

    @abstractmethod
    async def create_run(
        self, key: str, *, owner: str, request: bytes, thread: str = ""
    ) -> tuple[RunRecord, bool]:
        """Accept a run for execution, in order of acceptance; say whether it is new.

        Where ``key`` exists the record there is returned and nothing changes: the caller compares
        the requests. Many calls at once make one run. ``thread`` is kept for lists.

        Raises `QueueFull` when ``max_waiting`` runs wait, `QuotaExceeded` when the owner has its share
        of those or of the memory, and `StoreFull` when the memory is used up and nothing in it has
        ended. Nothing was created then. A run that exists is returned even so.
        """

    @abstractmethod
    async def open_run(self, key: str, *, owner: str, request: bytes) -> Claim:
        """Make a run that is running already and belongs to the caller; it has no lease.

        Nobody else can claim it. Raises `RunExists`, and like `create_run` `QuotaExceeded` and
        `StoreFull` for the memory.
        """

    @abstractmethod
    async def get_run(self, key: str) -> RunRecord:
        """Return the record. Raises `RunNotFound`."""

    @abstractmethod
    async def list_runs(
        self, owner: str, *, limit: int, before: RunSummary | None = None
    ) -> list[RunSummary]:
        """Return the owner's runs, newest first by ``(created_at, key)``, that are older than ``before``.

        Of ``before`` only ``created_at`` and ``key`` are used; it need not exist any more. Neither
        requests nor events are read.
        """

    @abstractmethod
    async def run_states(self, owner: str, *, limit: int = 10_000) -> list[RunState]:
        """Return the states of the owner's newest ``limit`` runs, the newest change first.

        Changes are ordered by ``(changed_at, key)``. Neither requests nor events are read.
        """

    @abstractmethod
    async def end_run(self, key: str, ending: Ending) -> RunRecord:
        """End a run from outside, in one step: append its ending, and revoke the claim on it.

        A run that has ended already stays as it is. Returns the record as it is then. Raises
        `RunNotFound`.
        """

    # -- executing -----------------------------------------------------------------------------

    @abstractmethod
    async def claim(
        self, executor: str, *, accepted: int, expired: int, lease_seconds: float, timeout: float
    ) -> list[Claim]:
        """Claim up to so many accepted runs, oldest first, and up to so many whose lease has expired.

        Waits up to ``timeout`` seconds for the first. The lease begins now, and counts by the
        store's own clock. A run is claimed by one caller at a time. Cancelling the call may leave
        a claimed run behind, until its lease expires.
        """

    @abstractmethod
    async def count_accepted(self) -> int:
        """Return how many runs wait for somebody to claim them; for those who watch, not to decide by."""

    def usage(self) -> StoreUsage | None:
        """Return what the runs take of this process's memory; None where they are kept elsewhere."""
        return None

    @abstractmethod
    async def renew(self, claims: Sequence[Claim], *, lease_seconds: float) -> None:
        """Begin the leases of claims made by `claim` anew; revoke those whose right is gone."""

    @abstractmethod
    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        """Append complete events that follow the log's last one, all or none of them.

        A terminal event may only be the last, and ends the run in the same step. Events that are in
        the log already, byte for byte and by the same token, count as appended.

        Raises `RunEnded` where the run has another end, `Superseded` where the token is not the
        newest or the log has other events in the place of these, `RunNotFound` where the run is
        gone, and `LogLost` where the log lacks events that came before these: the store has lost
        data. Of a run that has ended and was superseded before, either may be raised.
        """

    @abstractmethod
    async def release(self, claim: Claim) -> None:
        """Hand a run back: it is accepted again, and its log stays. Nothing where the right is gone.

        The claim's own right is gone then: its `append` raises `Superseded`.
        """

    # -- reading -------------------------------------------------------------------------------

    @abstractmethod
    async def follow(self, key: str, *, after: int) -> Follower:
        """Return a follower from behind the sequence ``after`` (0: from the first). Raises `RunNotFound`.

        A cursor beyond the end of a run that goes on waits until the run gets there.

        ``after`` may be a `Cursor` with an epoch, which a store without epochs ignores. A store that may
        lose what it acknowledged gives an `EpochFollower`. Where the cursor's event is not the one that the
        log has at this sequence, or what the reader has seen is replaced while it follows, the next batch
        begins with a ``gap`` whose ``first_available`` is the first sequence that is not the same, or 1 (or
        the oldest event that is kept) where that is not known. It may lie before ``requested``: the reader
        forgets what it had from there on.
        """
