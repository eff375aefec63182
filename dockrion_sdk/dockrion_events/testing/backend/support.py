"""What the tests of event backends have in common: how to write a log, and how to read one."""

from __future__ import annotations

import asyncio
import random
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from typing import Any, Final, TypeVar

from ...bus.base import Claim, Ending, EventBackend, Follower
from ...encoding import EventEncoder
from ...events import (
    CancelledEvent,
    CompleteEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    StartedEvent,
    TokenEvent,
)
from ...forms import as_encoded, envelope

PATIENCE: Final = 20.0
"""Seconds after which what should happen soon counts as not happening."""

LONG: Final = 60.0
"""Seconds of a lease that no test waits for."""

SHORT: Final = 0.25
"""Seconds of a lease, or of a wait, that a test waits for."""

OWNER: Final = "owner"

_encode = EventEncoder().encode
_T = TypeVar("_T")


class EventBackendTests(ABC):
    """What a subclass has to say; see `EventBackendSuite`."""

    @abstractmethod
    def make(
        self,
        *,
        max_events_per_run: int = 10_000,
        stream_ttl_seconds: int = 3600,
        max_waiting: int = 10_000,
        owner_share: float = 1.0,
    ) -> AbstractAsyncContextManager[EventBackend]:
        """Return what gives an open backend over an empty store of its own, and closes it behind the test."""

    def second(self, backend: EventBackend) -> AbstractAsyncContextManager[EventBackend]:
        """Return what gives another open backend over the same store, as another process would have it.

        By default ``backend`` itself, which is right where it is not ``durable``.
        """
        return _itself(backend)


@asynccontextmanager
async def _itself(backend: EventBackend) -> Any:
    yield backend


# -- writing -----------------------------------------------------------------------------------


def encoded(key: str, events: Sequence[Event], *, after: int = 0) -> list[EncodedEvent]:
    """Return the events complete, as the exit of the run would give them, from ``after + 1`` on."""
    return as_encoded([_encode(event) for event in events], envelope("run_id", key), after)


def opening(key: str, count: int) -> list[EncodedEvent]:
    """Return the first ``count`` events of a log: ``started``, and tokens."""
    return encoded(key, [StartedEvent("agent")]) + tokens(key, count - 1, after=1)


def tokens(key: str, count: int, *, after: int, text: str = "word") -> list[EncodedEvent]:
    return encoded(key, [TokenEvent(f"{text} {after + 1 + i}") for i in range(count)], after=after)


def complete(key: str, *, after: int, output: Any = None) -> EncodedEvent:
    return encoded(key, [CompleteEvent(output, 1.5, {})], after=after)[0]


def whole(key: str, count: int) -> list[EncodedEvent]:
    """Return a log of ``count`` events that ends in ``complete``."""
    return [*opening(key, count - 1), complete(key, after=count - 1)]


def ending(key: str, terminal: Event | None = None) -> Ending:
    """Return what ends a run from outside, as ``cancelled`` where nothing else is given."""
    tail = envelope("run_id", key).json
    drafts = [_encode(StartedEvent("agent")), _encode(terminal or CancelledEvent("asked to"))]
    started, last = (EncodedEvent(draft.type, draft.json + tail) for draft in drafts)
    return Ending(started, last)


def failure(code: str) -> ErrorEvent:
    return ErrorEvent("it failed", code)


async def accepted(backend: EventBackend, *keys: str) -> None:
    """Create the runs, in this order."""
    for key in keys:
        await backend.create_run(key, owner=OWNER, request=b"{}")


async def opened(backend: EventBackend, key: str, log: Sequence[EncodedEvent] = ()) -> Claim:
    """Open a run without a lease, whose log begins with ``log``."""
    claim = await backend.open_run(key, owner=OWNER, request=b"{}")
    if log:
        await backend.append(claim, log)
    return claim


async def claimed(backend: EventBackend, *, lease_seconds: float = LONG) -> Claim:
    """Claim the oldest accepted run; wait for it, but not until the call itself looks for the last time."""
    (claim,) = await soon(
        backend.claim("executor", accepted=1, expired=0, lease_seconds=lease_seconds, timeout=LONG)
    )
    return claim


async def taken_over(backend: EventBackend, *, lease_seconds: float = LONG) -> Claim:
    """Wait for a lease to expire, and claim its run."""
    (claim,) = await soon(
        backend.claim("other", accepted=0, expired=1, lease_seconds=lease_seconds, timeout=LONG)
    )
    return claim


async def nothing_to_claim(backend: EventBackend, seconds: float = SHORT) -> None:
    """Fail if something can be claimed within ``seconds``."""
    claims = await backend.claim("executor", accepted=9, expired=9, lease_seconds=LONG, timeout=seconds)
    assert not claims, f"{[claim.record.key for claim in claims]} could be claimed"


# -- reading -----------------------------------------------------------------------------------


async def soon(awaitable: Awaitable[_T]) -> _T:
    """Wait for what should come soon. Raises ``TimeoutError``."""
    return await asyncio.wait_for(awaitable, PATIENCE)


async def some_turns(choices: random.Random | None = None) -> None:
    """Let what was begun run until it waits; where there are ``choices``, perhaps not so far."""
    for _ in range(10 if choices is None else choices.randrange(6)):
        await asyncio.sleep(0)


async def batch_of(follower: Follower) -> list[EncodedEvent]:
    """Return the next batch of a follower that nobody nudges."""
    batch = await soon(follower.next_batch())
    assert batch or follower.ended, "an empty batch came before the end"
    return batch


async def read(follower: Follower, count: int) -> list[EncodedEvent]:
    """Return the next ``count`` events or more; fewer where the end comes first."""
    events: list[EncodedEvent] = []
    while len(events) < count and not follower.ended:
        events += await batch_of(follower)
    return events


async def rest(follower: Follower) -> list[EncodedEvent]:
    """Return everything up to the end."""
    events: list[EncodedEvent] = []
    while not follower.ended:
        events += await batch_of(follower)
    assert await soon(follower.next_batch()) == [], "something came behind the end"
    return events


async def stored(backend: EventBackend, key: str, *, after: int = 0) -> list[EncodedEvent]:
    """Return what is in the log behind ``after``."""
    last = (await backend.get_run(key)).last_sequence
    follower = await backend.follow(key, after=after)
    events = await read(follower, last - after) if last > after else []
    follower.close()
    return events


def assert_same(got: Sequence[EncodedEvent], expected: Sequence[EncodedEvent]) -> None:
    """Assert that these are the same events: types, sequences and bytes."""
    for place, (one, other) in enumerate(zip(got, expected, strict=False)):
        assert one == other, f"event {place} is {one}, not {other}"
    assert len(got) == len(expected), f"there are {len(got)} events, not {len(expected)}"


@contextmanager
def refused(*errors: type[BaseException]) -> Iterator[None]:
    """Assert that the block raises one of ``errors``."""
    try:
        yield
    except errors:
        return
    raise AssertionError(f"nothing was raised where {' or '.join(e.__name__ for e in errors)} is due")
