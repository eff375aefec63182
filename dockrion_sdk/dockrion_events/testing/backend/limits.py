"""How many runs may wait, of all owners and of one."""

from __future__ import annotations

import asyncio

from ...bus.base import EventBackend
from ...errors import QueueFull, QuotaExceeded, StoreFull
from .support import LONG, OWNER, EventBackendTests, accepted, claimed, ending, nothing_to_claim, refused


class LimitTests(EventBackendTests):
    async def test_no_more_runs_wait_than_may(self) -> None:
        async with self.make(max_waiting=3) as backend, self.second(backend) as other:
            await accepted(backend, "a", "b")
            await accepted(other, "c")
            for one in (backend, other):
                with refused(QueueFull):
                    await one.create_run("d", owner="somebody else", request=b"{}")
            assert await backend.count_accepted() == 3
            assert [run.key for run in await backend.list_runs(OWNER, limit=9)] == ["c", "b", "a"]
            assert await backend.list_runs("somebody else", limit=9) == []

    async def test_a_run_that_exists_is_returned_even_so(self) -> None:
        async with self.make(max_waiting=1) as backend:
            first, _ = await backend.create_run("a", owner=OWNER, request=b"1")
            assert await backend.create_run("a", owner=OWNER, request=b"1") == (first, False)

    async def test_what_is_claimed_or_cancelled_waits_no_more(self) -> None:
        async with self.make(max_waiting=2, owner_share=0.5) as backend:
            await accepted(backend, "a")
            await claimed(backend)
            await accepted(backend, "b")
            with refused(QuotaExceeded):
                await backend.create_run("c", owner=OWNER, request=b"{}")
            await backend.end_run("b", ending("b"))
            await _admitted(backend, "c")
            await claimed(backend)
            await _admitted(backend, "d")

    async def test_an_opened_run_does_not_wait(self) -> None:
        async with self.make(max_waiting=1) as backend:
            await accepted(backend, "a")
            claim = await backend.open_run("b", owner=OWNER, request=b"{}")
            assert claim.record.status == "running"

    async def test_a_run_that_is_handed_back_is_taken_by_a_full_queue(self) -> None:
        async with self.make(max_waiting=1) as backend:
            await accepted(backend, "a")
            claim = await claimed(backend)
            await accepted(backend, "b")
            await backend.release(claim)
            with refused(QueueFull):
                await backend.create_run("c", owner=OWNER, request=b"{}")
            await backend.end_run("a", ending("a"))
            assert await backend.count_accepted() == 1
            assert (await claimed(backend)).record.key == "b"

    async def test_one_owner_leaves_a_share_to_the_others(self) -> None:
        async with self.make(max_waiting=4, owner_share=0.5) as backend, self.second(backend) as other:
            await accepted(backend, "a", "b")
            for one in (backend, other):
                with refused(QuotaExceeded):
                    await one.create_run("c", owner=OWNER, request=b"{}")
            for key in ("d", "e"):
                _, new = await other.create_run(key, owner="somebody else", request=b"{}")
                assert new
            with refused(QueueFull):
                await backend.create_run("f", owner="a third", request=b"{}")
            claims = await backend.claim("one", accepted=9, expired=0, lease_seconds=LONG, timeout=0)
            assert [claim.record.key for claim in claims] == ["a", "b", "d", "e"]
            await accepted(backend, "g", "h")

    async def test_of_many_calls_at_once_no_more_succeed_than_may(self) -> None:
        async with self.make(max_waiting=10, owner_share=0.5) as backend, self.second(backend) as other:
            answers = await asyncio.gather(
                *[
                    (backend, other)[number % 2].create_run(f"run-{number}", owner=OWNER, request=b"{}")
                    for number in range(40)
                ],
                return_exceptions=True,
            )
            made = [answer for answer in answers if not isinstance(answer, BaseException)]
            assert len(made) == await backend.count_accepted()
            assert 5 <= len(made) <= self.overshoot(5, calls=40)
            assert all(isinstance(one, StoreFull) for one in answers if isinstance(one, BaseException))
            for _ in made:
                await claimed(backend)
            await nothing_to_claim(backend)

    def overshoot(self, limit: int, *, calls: int) -> int:
        """Return how many runs of one owner so many calls at once may make.

        By default as many as ``limit`` says. A store whose runs and queue are apart may count an owner's
        runs only once they are queued.
        """
        del calls
        return limit


async def _admitted(backend: EventBackend, key: str) -> None:
    """Create a run, as soon as the store has a place for it."""
    async with asyncio.timeout(LONG):
        while True:
            try:
                await backend.create_run(key, owner=OWNER, request=b"{}")
            except StoreFull:
                await asyncio.sleep(0.02)
            else:
                return
