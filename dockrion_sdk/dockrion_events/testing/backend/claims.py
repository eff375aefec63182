"""Claims: who executes a run, until when, and how they learn that they do not any more."""

from __future__ import annotations

import asyncio
import time

from ...bus.base import Claim, EventBackend
from ...errors import RunEnded, Superseded
from .support import (
    LONG,
    OWNER,
    PATIENCE,
    SHORT,
    EventBackendTests,
    accepted,
    assert_same,
    claimed,
    complete,
    ending,
    nothing_to_claim,
    opened,
    opening,
    refused,
    some_turns,
    soon,
    stored,
    taken_over,
    tokens,
)


class ClaimTests(EventBackendTests):
    # -- claim ---------------------------------------------------------------------------------

    async def test_a_claim_carries_the_run_and_says_that_it_runs(self) -> None:
        async with self.make() as backend:
            await backend.create_run("run", owner=OWNER, request=b"the request")
            claim = await claimed(backend)
            assert claim.record == await backend.get_run("run")
            assert (claim.record.status, claim.record.request) == ("running", b"the request")
            assert claim.record.attempt == 1
            assert claim.record.started_at is not None
            assert not claim.revoked.done()

    async def test_accepted_runs_are_claimed_oldest_first_and_not_more_than_asked_for(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            keys = [f"run-{number}" for number in range(10)]
            await accepted(backend, *keys)
            claims: list[Claim] = []
            for instance, limit in ((backend, 1), (other, 4), (backend, 3), (other, 9)):
                got = await instance.claim(
                    "executor", accepted=limit, expired=0, lease_seconds=LONG, timeout=PATIENCE
                )
                assert 0 < len(got) <= limit
                claims += got
            assert [claim.record.key for claim in claims] == keys[: len(claims)]
            assert len(claims) == 10

    async def test_runs_that_wait_are_counted_until_they_are_claimed(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            assert await backend.count_accepted() == 0
            await accepted(backend, "one", "two", "three")
            assert await backend.count_accepted() == await other.count_accepted() == 3
            claim = await claimed(other)
            assert await backend.count_accepted() == 2
            await other.release(claim)
            assert await backend.count_accepted() == 3
            await backend.open_run("own", owner=OWNER, request=b"")
            await backend.end_run("two", ending("two"))
            while claims := await backend.claim(
                "executor", accepted=9, expired=0, lease_seconds=LONG, timeout=0
            ):
                assert "two" not in [claim.record.key for claim in claims]
            assert await backend.count_accepted() == 0

    async def test_what_was_not_asked_for_is_not_claimed(self) -> None:
        async with self.make() as backend:
            await accepted(backend, "expired")
            await claimed(backend, lease_seconds=0.001)
            await accepted(backend, "accepted")
            started = time.monotonic()
            await taken_over(backend)
            assert time.monotonic() - started < PATIENCE
            kept = await backend.get_run("accepted")
            assert kept.status == "accepted"
            await claimed(backend, lease_seconds=0.001)
            assert not await backend.claim(
                "executor", accepted=9, expired=0, lease_seconds=LONG, timeout=SHORT
            )
            assert (await taken_over(backend)).record.key == "accepted"

    async def test_a_run_is_claimed_once_whoever_asks(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            keys = {f"run-{number}" for number in range(200)}

            async def executor(instance: EventBackend, limit: int) -> list[str]:
                got: list[str] = []
                while claims := await instance.claim(
                    "executor", accepted=limit, expired=limit, lease_seconds=LONG, timeout=2 * SHORT
                ):
                    got += [claim.record.key for claim in claims]
                return got

            waiting = [
                asyncio.create_task(executor(instance, limit))
                for limit in (1, 2, 3, 7)
                for instance in (backend, other)
            ]
            await asyncio.gather(*[accepted((backend, other)[len(key) % 2], key) for key in keys])
            got = [key for part in await soon(asyncio.gather(*waiting)) for key in part]
            got += await executor(backend, 200)
            assert len(got) == len(set(got)), "a run was claimed twice"
            assert set(got) == keys

    async def test_a_waiting_claim_gets_the_run_that_comes(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            waiting = asyncio.create_task(claimed(backend))
            await some_turns()
            await accepted(other, "run")
            assert (await soon(waiting)).record.key == "run"

    async def test_a_claim_waits_for_as_long_as_it_may(self) -> None:
        async with self.make() as backend:
            started = time.monotonic()
            await nothing_to_claim(backend, 0)
            await nothing_to_claim(backend, SHORT)
            assert 0.9 * SHORT <= time.monotonic() - started < PATIENCE

    # -- leases --------------------------------------------------------------------------------

    async def test_losses_count_where_the_holder_had_appended_something(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            silent = await claimed(backend, lease_seconds=0.001)
            assert silent.record.losses == 0
            writing = await taken_over(other, lease_seconds=0.001)
            assert (writing.record.attempt, writing.record.losses) == (2, 0)
            log = opening("run", 2)
            await other.append(writing, log)
            silent_again = await taken_over(backend, lease_seconds=0.001)
            assert (silent_again.record.attempt, silent_again.record.losses) == (3, 1)
            last = await taken_over(other)
            assert (last.record.attempt, last.record.losses) == (4, 1)
            await other.append(last, tokens("run", 1, after=2))
            await other.release(last)  # which is no loss
            assert (await claimed(backend)).record.losses == 1
            assert (await other.get_run("run")).losses == 1

    async def test_a_lease_is_renewed_by_another_backend_of_the_same_store(self) -> None:
        """As from a thread with a loop of its own, while the claim's loop is blocked."""
        async with self.make() as backend, self.second(backend) as other, self.second(backend) as third:
            await accepted(backend, "run")
            claim = await claimed(backend, lease_seconds=SHORT)
            until = time.monotonic() + 3 * SHORT
            while time.monotonic() < until:
                await other.renew([claim.twin()], lease_seconds=SHORT)
                await nothing_to_claim(third, SHORT / 5)
            await backend.append(claim, opening("run", 2))
            successor = await taken_over(third)
            twin = claim.twin()
            await other.renew([twin], lease_seconds=LONG)
            assert await soon(twin.revoked) == "superseded"
            assert not successor.revoked.done()

    async def test_a_run_whose_lease_expires_is_claimed_by_another(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            started = time.monotonic()
            zombie = await claimed(backend, lease_seconds=SHORT)
            log = opening("run", 3)
            await backend.append(zombie, log)
            claim = await taken_over(other)
            assert time.monotonic() - started >= 0.9 * SHORT, "the lease had not expired yet"
            assert claim.token > zombie.token
            assert (claim.record.key, claim.record.status) == ("run", "running")
            assert (claim.record.attempt, claim.record.last_sequence) == (2, 3)
            await nothing_to_claim(backend)
            assert_same(await stored(backend, "run"), log)

    async def test_a_lease_that_is_renewed_does_not_expire(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "renewed", "left")
            renewed, left = [await claimed(backend, lease_seconds=2 * SHORT) for _ in range(2)]
            await backend.renew([renewed], lease_seconds=LONG)
            assert (await taken_over(other)).record.key == left.record.key
            await nothing_to_claim(other)
            assert not renewed.revoked.done()

    async def test_a_renewed_lease_may_be_a_shorter_one(self) -> None:
        async with self.make() as backend:
            await accepted(backend, "run")
            claim = await claimed(backend, lease_seconds=LONG)
            waiting = asyncio.create_task(taken_over(backend))
            await some_turns()
            await backend.renew([claim], lease_seconds=SHORT)
            assert (await soon(waiting)).record.key == "run"

    async def test_renewing_tells_whose_right_is_gone(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "superseded", "cancelled", "completed", "kept")
            claims = [await claimed(backend, lease_seconds=lease) for lease in (0.001, LONG, LONG, LONG)]
            superseded, cancelled, completed, kept = claims
            await taken_over(other)
            await other.end_run("cancelled", ending("cancelled"))
            await backend.append(completed, [*opening("completed", 1), complete("completed", after=1)])
            await backend.renew(claims, lease_seconds=LONG)
            assert await soon(superseded.revoked) == "superseded"
            assert await soon(cancelled.revoked) == "cancelled"
            assert not completed.revoked.done(), "its holder ended the run"
            assert not kept.revoked.done()

    # -- tokens --------------------------------------------------------------------------------

    async def test_nobody_appends_with_an_older_token(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            zombie = await claimed(backend, lease_seconds=0.001)
            log = opening("run", 3)
            await backend.append(zombie, log)
            claim = await taken_over(other)
            for late in (tokens("run", 2, after=3), [complete("run", after=3)]):
                with refused(Superseded):
                    await backend.append(zombie, late)
            assert await soon(zombie.revoked) == "superseded"
            log += tokens("run", 4, after=3, text="other")
            await other.append(claim, log[3:])
            with refused(Superseded):
                await backend.append(zombie, tokens("run", 2, after=7))
            log.append(complete("run", after=7))
            await other.append(claim, log[7:])
            with refused(Superseded, RunEnded):
                await backend.append(zombie, tokens("run", 2, after=8))
            assert_same(await stored(backend, "run"), log)

    async def test_tokens_grow_with_every_claim(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            claims = [await claimed(backend, lease_seconds=0.001)]
            for instance in (other, backend, other):
                (claim,) = await instance.claim(
                    "executor", accepted=1, expired=1, lease_seconds=0.001, timeout=PATIENCE
                )
                claims.append(claim)
            grown = [claim.token for claim in claims]
            assert grown == sorted(set(grown))
            assert [claim.record.attempt for claim in claims] == [1, 2, 3, 4]

    # -- release -------------------------------------------------------------------------------

    async def test_a_run_that_is_handed_back_is_accepted_and_keeps_its_log(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            before = await claimed(backend)
            log = [*opening("run", 4), *tokens("run", 2, after=4), complete("run", after=6)]
            await backend.append(before, log[:4])
            await backend.release(before)
            record = await other.get_run("run")
            assert (record.status, record.last_sequence) == ("accepted", 4)
            with refused(Superseded):
                await backend.append(before, tokens("run", 1, after=4))
            claim = await claimed(other)
            assert claim.token > before.token
            assert (claim.record.attempt, claim.record.last_sequence) == (2, 4)
            await other.append(claim, log[4:])
            assert_same(await stored(backend, "run"), log)

    async def test_only_who_holds_a_run_hands_it_back(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            zombie = await claimed(backend, lease_seconds=0.001)
            claim = await taken_over(other)
            await backend.release(zombie)
            assert (await backend.get_run("run")).status == "running"
            await nothing_to_claim(backend)
            await other.append(claim, [*opening("run", 1), complete("run", after=1)])
            await other.release(claim)
            assert (await backend.get_run("run")).status == "completed"
            await nothing_to_claim(backend)

    async def test_handing_back_twice_makes_one_run_to_claim(self) -> None:
        async with self.make() as backend:
            await accepted(backend, "run")
            claim = await claimed(backend)
            await backend.release(claim)
            await backend.release(claim)
            await claimed(backend)
            await nothing_to_claim(backend)

    async def test_a_waiting_claim_gets_the_run_that_is_handed_back(self) -> None:
        async with self.make() as backend, self.second(backend) as other:
            await accepted(backend, "run")
            claim = await claimed(backend)
            waiting = asyncio.create_task(claimed(other))
            await some_turns()
            await backend.release(claim)
            assert (await soon(waiting)).record.key == "run"

    async def test_an_open_run_has_no_lease(self) -> None:
        async with self.make() as backend:
            claim = await opened(backend, "run", opening("run", 2))
            await nothing_to_claim(backend)
            await backend.append(claim, [complete("run", after=2)])
            assert not claim.revoked.done()

    async def test_an_opened_run_that_is_handed_back_can_be_claimed(self) -> None:
        async with self.make() as backend:
            opened_run = await opened(backend, "run", opening("run", 2))
            await backend.release(opened_run)
            claim = await claimed(backend)
            assert (claim.record.key, claim.record.last_sequence) == ("run", 2)
            await backend.append(claim, [complete("run", after=2)])
