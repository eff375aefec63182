"""What the tests of the bus have in common."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from dockrion_events import (
    CancelledEvent,
    EncodedEvent,
    Event,
    EventBus,
    StartedEvent,
    StreamContext,
    TokenEvent,
)
from dockrion_events.bus import Claim, EventBackend, MemoryBackend, ending, run_key

DEADLINE = 20.0
Call = Callable[[StreamContext], Any]
Make = Callable[..., EventBackend]

ENDS: list[tuple[Call, str, str]] = [
    (lambda c: c.emit_complete(1, 1.0), "complete", "completed"),
    (lambda c: c.emit_error("bad", "CODE", [1]), "error", "failed"),
    (lambda c: c.emit_cancelled("enough"), "cancelled", "cancelled"),
]

EMITS: list[Call] = [
    lambda c: c.emit_token("a"),
    lambda c: c.emit_step("a"),
    lambda c: c.emit_progress("a", 0.5),
    lambda c: c.checkpoint("a", 1),
    lambda c: c.emit("a"),
    lambda c: c.send(TokenEvent("a")),
    lambda c: c.emit_heartbeat(),
]
SYNC_EMITS: list[Call] = [
    lambda c: c.sync_emit_token("a"),
    lambda c: c.sync_emit_step("a"),
    lambda c: c.sync_emit_progress("a", 0.5),
    lambda c: c.sync_checkpoint("a", 1),
    lambda c: c.sync_emit("a"),
    lambda c: c.sync_send(TokenEvent("a")),
    lambda c: c.sync_emit_heartbeat(),
]
LIVES: list[Call] = [lambda c: c.emit_started("again"), *(end for end, _, _ in ENDS)]


async def read(bus: EventBus, run_id: str = "r", **options: Any) -> list[Event]:
    async with asyncio.timeout(DEADLINE):
        return [event async for event in bus.subscribe(run_id, **options)]


def types(events: Sequence[Event]) -> list[str]:
    return [event.type for event in events]


def contents(events: Sequence[Event]) -> list[str]:
    return [event.content for event in events if isinstance(event, TokenEvent)]


async def begun(bus: EventBus, run_id: str = "r", **options: Any) -> StreamContext:
    context = StreamContext(run_id, bus=bus, **options)
    await context.emit_started("worker", "mine")
    return context


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - it looks at what other tasks and threads do
            await asyncio.sleep(0.002)


async def end_from_outside(bus: EventBus, run_id: str = "r") -> None:
    """What `DELETE /runs/{id}` does."""
    end = ending(run_id, StartedEvent("server"), CancelledEvent("enough"))
    await bus.backend.end_run(run_key(bus.owner, run_id), end)


async def done(answer: Awaitable[None] | None) -> None:
    if answer is not None:
        await answer


async def every_call_raises(
    context: StreamContext, calls: list[Call], error: type[BaseException], match: str
) -> None:
    for call in calls:
        with pytest.raises(error, match=match):
            await done(call(context))


def in_threads(works: list[Callable[[], object]]) -> Awaitable[list[object]]:
    return asyncio.gather(*(asyncio.to_thread(work) for work in works))


class Slow(MemoryBackend):
    """A store whose appends are let through one by one."""

    def __init__(self) -> None:
        super().__init__()
        self.permits = asyncio.Semaphore(0)
        self.batches: list[int] = []
        self.asked = 0

    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        self.asked += 1
        await self.permits.acquire()
        self.batches.append(len(events))
        await super().append(claim, events)

    def allow(self, count: int = 1) -> None:
        for _ in range(count):
            self.permits.release()


class Refusing(MemoryBackend):
    """A store whose next appends raise, and that shows the claims it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.error: Exception | None = None
        self.refused = 0
        self.claim_given: Claim | None = None

    async def open_run(self, key: str, *, owner: str, request: bytes) -> Claim:
        self.claim_given = await super().open_run(key, owner=owner, request=request)
        return self.claim_given

    async def append(self, claim: Claim, events: Sequence[EncodedEvent]) -> None:
        if self.error is not None:
            self.refused += 1
            raise self.error
        await super().append(claim, events)
