"""Claims: taking runs, keeping the right to them, and learning that it is gone."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, Final

from ...errors import BusError, LogLost, RunEnded, RunNotFound, RunUnreadable, Superseded
from ..base import ENDED
from .commands import Commands
from .lanes import Part
from .queue import Queue, Taken
from .records import Keys, RedisClaim, RunKeys, Stored, stored
from .scripts import CLAIM, RELEASE, VERSION

log: logging.Logger = logging.getLogger("dockrion")

DROP_SECONDS: Final = 0.01
"""How long entries of the queue that lead to nothing any more gather before they are removed."""

CLAIMS_AT_ONCE: Final = 100
"""Runs whose right Redis looks at in one step, where their keys may be of several slots."""


class Executing:
    """The claims of this process."""

    def __init__(
        self,
        commands: Commands,
        queue: Queue,
        keys: Keys,
        process: str,
        name: Callable[[], str],
        head: Callable[[RunKeys, bytes], tuple[Any, ...]],
    ) -> None:
        self._commands = commands
        self._queue = queue
        self._keys = keys
        self._process = process
        self._name = name
        self._head = head
        self._at_once = 1 if commands.one_slot else CLAIMS_AT_ONCE
        self._loop = asyncio.get_running_loop()
        self._claims: dict[str, RedisClaim] = {}  # the newest of each run
        self._by_fence: dict[bytes, RedisClaim] = {}
        self._useless: list[bytes] = []  # entries to remove soon
        self._useless_since = 0  # the count of lost connections when the first of them was put there
        self._dropping: set[asyncio.Future[Any]] = set()

    # -- taking --------------------------------------------------------------------------------

    async def claim(
        self, executor: str, accepted: int, expired: int, lease_seconds: float, timeout: float
    ) -> list[RedisClaim]:
        """See `EventBackend.claim`."""
        consumer = self._queue.consumer(executor)
        deadline = self._loop.time() + timeout
        while True:
            taken = await self._queue.take(consumer, accepted, expired, lease_seconds)
            claims = await self._claimed(taken, lease_seconds)
            if self._commands.one_slot:
                await self._queue.sweep(self._is_waiting)
            remaining = deadline - self._loop.time()
            if claims or remaining <= 0:
                return claims
            pause = self._queue.pause(expired, lease_seconds, remaining)
            claims = await self._claimed(await self._queue.wait(consumer, accepted, pause), lease_seconds)
            if claims:
                return claims

    async def _claimed(self, taken: Sequence[Taken], lease_seconds: float) -> list[RedisClaim]:
        """Begin the leases, ask whose right the runs are, and drop what leads to nothing."""
        newer = [one for one in taken if one.version > VERSION]
        for one in newer:
            await self._queue.leave(one)
        taken = [one for one in taken if one.version <= VERSION] if newer else taken
        if not taken:
            return []
        leased = self._queue.lease([one.entry for one in taken], lease_seconds)
        runs = [self._keys.run(one.key) for one in taken]
        asked = self._ask(taken, runs)
        try:
            _, *answers = await asyncio.gather(leased, *asked, return_exceptions=True)
        except asyncio.CancelledError:
            self._queue.held.difference_update(one.entry for one in taken)
            raise
        claims: list[RedisClaim] = []
        useless: list[bytes] = []
        failure: BaseException | None = None
        for one, keys, answer in zip(taken, runs, self._each(answers, len(taken)), strict=True):
            if isinstance(answer, list):
                try:
                    claims.append(self.hold(stored(one.key, answer), keys, one.entry))
                except RunUnreadable as error:
                    log.error("%s; nobody can execute it", error)
                    useless.append(one.entry)
            elif isinstance(answer, BaseException):  # the entry stays, and its lease runs out
                failure = answer
                self._queue.held.discard(one.entry)
            elif answer == b"newer":
                await self._queue.leave(one)
            elif answer == b"held":
                self._queue.held.discard(one.entry)
            else:
                useless.append(one.entry)
        if useless:
            self._drop(useless)
        if failure is not None and not claims:
            raise failure
        return claims

    def _ask(self, taken: Sequence[Taken], runs: Sequence[RunKeys]) -> list[asyncio.Future[Any]]:
        """Ask whose right the runs are, `_at_once` of them in one step."""
        asked = []
        for start in range(0, len(taken), self._at_once):
            some = slice(start, start + self._at_once)
            keys = [key for run in runs[some] for key in (run.record, run.log)]
            arguments: list[Part] = []
            for one in taken[some]:
                arguments += (one.entry, self._name(), b"idle" if one.idle else b"")
            asked.append(self._commands.run(CLAIM, keys, self._process, self._keys.processes, *arguments))
        return asked

    def _each(self, answers: Sequence[Any], count: int) -> list[Any]:
        """Return what was answered for each of ``count`` runs; a failure counts for all it was to answer."""
        each: list[Any] = []
        for answer in answers:
            asked_for = min(self._at_once, count - len(each))
            each += answer if isinstance(answer, list) else [answer] * asked_for
        return each

    def hold(self, found: Stored, keys: RunKeys, entry: bytes) -> RedisClaim:
        """Return a new claim of this process."""
        head = self._head(keys, found.fence)
        claim = RedisClaim(found, keys, entry, head, self._loop.create_future())
        self.revoke(found.record.key, "superseded")
        self._claims[found.record.key] = self._by_fence[found.fence] = claim
        if entry:
            self._queue.held.add(entry)
        return claim

    async def _is_waiting(self, key: str) -> bool | None:
        """Say whether a run is accepted and was never taken; None where there is no run."""
        record = self._keys.run(key).record
        status, entry = await self._commands.call(record, b"HMGET", record, b"st", b"en")
        return None if status is None else status == b"accepted" and not entry

    # -- keeping -------------------------------------------------------------------------------

    async def renew(self, claims: Sequence[RedisClaim], lease_seconds: float) -> None:
        """Begin leases anew, and ask in the same breath whose right it is."""
        leased = [claim.entry for claim in claims if claim.entry and not claim.revoked.done()]
        asked = [
            self._commands.call(claim.keys.record, b"HMGET", claim.keys.record, b"st", b"fe", b"at")
            for claim in claims
        ]
        waiting: list[asyncio.Future[Any]] = list(asked)
        if leased:
            waiting.append(self._queue.lease(leased, lease_seconds))
        for claim, fields in zip(claims, await asyncio.gather(*waiting), strict=False):
            self._judge(claim, *fields)

    def _judge(
        self, claim: RedisClaim, status: bytes | None, fence: bytes | None, attempt: bytes | None
    ) -> None:
        if fence == claim.fence:
            return
        if status is None or attempt is None or int(attempt) < claim.token:
            self._revoke(claim, "lost")
        elif status.decode() in ENDED:
            self._revoke(claim, "cancelled")
        else:
            self._revoke(claim, "superseded")

    # -- giving back ---------------------------------------------------------------------------

    async def release(self, claim: RedisClaim) -> None:
        """See `EventBackend.release`."""
        released = await self._commands.run(RELEASE, (claim.keys.record,), claim.fence)
        if released:
            entry = await self._queue.requeue(claim.entry, claim.record.key, claim.keys)
            self._forget(claim)
            claim.entry = entry or claim.entry  # handed back once more, it is not queued once more
        self._forget(claim)

    def done(self, claim: RedisClaim) -> None:
        """Let go of a claim whose holder has ended the run."""
        self._forget(claim)
        if claim.entry:
            self._drop([claim.entry])

    def refusal(self, claim: RedisClaim, reply: Any) -> BusError:
        """Return the error that an append's reply stands for; what is certain is made known."""
        key = claim.record.key
        if reply == b"gone":
            self._revoke(claim, "lost")
            return RunNotFound(f"there is no run {key!r} any more")
        if reply == b"ended":
            self._revoke(claim, "cancelled")
            return RunEnded(f"the run {key!r} has ended already")
        if reply == b"hole":
            return LogLost(f"Redis has lost events of the run {key!r} that it had taken")
        self._revoke(claim, "superseded")
        return Superseded(f"somebody else executes the run {key!r}, or its log has other events there")

    # -- learning that it is gone --------------------------------------------------------------

    def hint(self, message: bytes | None) -> None:
        """Take a message to this process: the fence of a claim, and why it is revoked."""
        if message is not None:
            fence, _, why = message.partition(b" ")
            claim = self._by_fence.get(fence)
            if claim is not None:
                self._revoke(claim, why.decode())

    def revoke(self, key: str, why: str) -> None:
        """Revoke the claim of this process on a run, if there is one."""
        claim = self._claims.get(key)
        if claim is not None:
            self._revoke(claim, why)

    def _revoke(self, claim: RedisClaim, why: str) -> None:
        self._forget(claim)
        claim.revoke(why)
        if why == "cancelled" and claim.entry:
            self._drop([claim.entry])

    def _forget(self, claim: RedisClaim) -> None:
        self._by_fence.pop(claim.fence, None)
        if self._claims.get(claim.record.key) is claim:
            del self._claims[claim.record.key]
        self._queue.held.discard(claim.entry)

    def _drop(self, entries: Sequence[bytes]) -> None:
        """Remove entries in the background; should it fail, whoever takes them next does it.

        Nothing waits for it, so those of many runs gather for one command.
        """
        if not self._useless:
            self._loop.call_later(DROP_SECONDS, self._drop_now)
            self._useless_since = self._commands.troubles
        self._useless += entries

    def _drop_now(self) -> None:
        entries, self._useless = self._useless, []
        if not entries or self._useless_since != self._commands.troubles:
            return
        for dropping in self._queue.drop(entries):
            self._dropping.add(dropping)
            dropping.add_done_callback(self._dropped)

    def _dropped(self, dropping: asyncio.Future[Any]) -> None:
        self._dropping.discard(dropping)
        if not dropping.cancelled():
            dropping.exception()

    async def close(self) -> None:
        self._drop_now()
        if self._dropping:
            await asyncio.wait(self._dropping, timeout=1)
        self._claims.clear()
