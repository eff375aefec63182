"""Runs in Redis: what one process appends another follows, against redis-py doing only that."""

from __future__ import annotations

import itertools
import statistics
import time
from typing import Final

from ..report import Goal, Row
from ..rounds import Plan, Sample, alternate, ratio_row, speed_row
from ..stores import Pair, redis_store

EVENTS: Final = 20_000
BATCH: Final = 100
SUBSCRIBERS: Final = 20
PACE: Final = 1000
PACED_SECONDS: Final = 5
FOLLOWED: Final = 1000
FEW_SECONDS: Final = 6
"""How long a thousand runs get an event a second each."""

_numbers = itertools.count()


async def measure(plan: Plan) -> list[Row]:
    with redis_store() as store, Pair(store, "redis_ours") as ours, Pair(store, "redis_bare") as bare:
        rows = await _bursts(plan, ours, bare)
        rows.append(_paced(ours))
        rows.append(await _many(plan, ours))
    return rows


# -- bursts ----------------------------------------------------------------------------------------


async def _bursts(plan: Plan, ours: Pair, bare: Pair) -> list[Row]:
    rows = []
    for subscribers, goal in ((1, 0.8), (SUBSCRIBERS, 8.0)):

        async def followed(each: int = subscribers) -> Sample:
            key = f"burst-{next(_numbers)}"
            ours.write("make", keys=[key])
            ours.read("follow", keys=[key], each=each)
            return _burst(ours, {}, each)

        async def by_hand() -> Sample:
            return _burst(bare, {"key": f"bare-{next(_numbers)}"}, 1)

        pairs = await alternate(followed, by_hand, plan.rounds)
        followers = f"{subscribers} follower{'s' * (subscribers > 1)}"
        name = f"Redis, burst to {followers}: deliveries, of redis-py's to one"
        rows.append(speed_row(name, pairs, Goal(at_least=goal)))
    return rows


def _burst(pair: Pair, named: dict[str, str], each: int) -> Sample:
    began, ended, cpu, _ = pair.together(
        ("append_burst", {**named, "events": EVENTS, "size": BATCH}),
        ("read_burst", {**named, "events": EVENTS}),
    )
    return Sample(EVENTS * each / (ended - began), cpu / (EVENTS * each) * 1e6)


# -- by the clock ----------------------------------------------------------------------------------


def _by_the_clock(pair: Pair, runs: int, seconds: int) -> tuple[dict[str, float], float, float]:
    """Return latencies in ms, and the processor time in µs an event, of the two processes and of Redis."""
    keys = [f"clock-{next(_numbers)}" for _ in range(runs)]
    pair.write("make", keys=keys)
    pair.read("follow", keys=keys)
    events = PACE * seconds
    start = time.monotonic() + 0.2
    _, latencies, cpu, served = pair.together(
        ("append_by_the_clock", {"rate": PACE, "events": events, "start": start}),
        ("read_by_the_clock", {"events": events}),
    )
    return latencies, cpu / events * 1e6, served / events * 1e6


def _paced(pair: Pair) -> Row:
    latencies, cpu, _ = _by_the_clock(pair, 1, PACED_SECONDS)
    detail = f"median {latencies['p50']:.2f} ms, worst {latencies['worst']:.1f} ms; CPU {cpu:.0f} µs"
    return Row(f"Redis, {PACE:,} events/s: p99", latencies["p99"], "ms", Goal(at_most=10.0), detail=detail)


async def _many(plan: Plan, pair: Pair) -> Row:
    redis_cpu: list[tuple[float, float]] = []

    async def many() -> tuple[float, float]:
        return _by_the_clock(pair, FOLLOWED, FEW_SECONDS)[1:]

    async def one() -> tuple[float, float]:
        return _by_the_clock(pair, 1, FEW_SECONDS)[1:]

    pairs = await alternate(many, one, plan.crowd_rounds)
    redis_cpu = [(ours[1], theirs[1]) for ours, theirs in pairs]
    ours, theirs = (statistics.median(pair[side][0] for pair in pairs) for side in (0, 1))
    in_redis = [statistics.median(pair[side] for pair in redis_cpu) for side in (0, 1)]
    return ratio_row(
        f"Redis, {FOLLOWED:,} followed runs of an event/s: CPU, of one of {PACE:,}/s",
        [(ours[0], theirs[0]) for ours, theirs in pairs],
        Goal(at_most=1.5),
        f"{ours:.0f} against {theirs:.0f} µs; Redis {in_redis[0]:.0f} against {in_redis[1]:.0f} µs",
    )
