"""Runs in memory: deliveries against a list and an `asyncio.Event`, and what finished runs keep."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final

from ..report import Goal, Row
from ..rounds import Plan, Sample, alternate, speed_row
from ..server import Took, Worker

EVENTS: Final = 20_000
SUBSCRIBERS: Final = 20
RUNS: Final = 10_000
RUN_EVENTS: Final = 100
RUN_BATCH: Final = 10
TTL: Final = 20.0


async def measure(plan: Plan) -> list[Row]:
    with Worker() as worker:
        rows = [await _burst(plan, worker, each, goal) for each, goal in ((1, 0.5), (SUBSCRIBERS, 4.0))]
    with Worker() as worker:
        rows += _kept(worker)
    return rows


async def _burst(plan: Plan, worker: Worker, each: int, goal: float) -> Row:
    """Events are appended one by one, and the loop gets its turn after each."""

    def side(name: str, followers: int) -> Callable[[], Awaitable[Sample]]:
        async def once() -> Sample:
            took = Took(*worker.ask(f"memory_runs.{name}", events=EVENTS, size=1, each=followers))
            deliveries = EVENTS * followers
            return Sample(deliveries / took.seconds, took.cpu_seconds / deliveries * 1e6)

        return once

    pairs = await alternate(side("ours", each), side("bare", 1), plan.rounds)
    followers = f"{each} follower{'s' * (each > 1)}"
    return speed_row(
        f"memory, burst to {followers}: deliveries, of a list's to one", pairs, Goal(at_least=goal)
    )


def _kept(worker: Worker) -> list[Row]:
    worker.ask("memory_runs.fill", runs=100, events=RUN_EVENTS, size=RUN_BATCH, ttl=1.0)
    worker.ask("memory_runs.wait_until_gone", seconds=5.0)
    before = worker.memory_bytes()
    encoded = worker.ask("memory_runs.fill", runs=RUNS, events=RUN_EVENTS, size=RUN_BATCH, ttl=TTL)
    kept = worker.memory_bytes() - before
    worker.ask("memory_runs.wait_until_gone", seconds=2 * TTL)
    left = worker.memory_bytes() - before
    name = f"memory, {RUNS:,} finished runs of {RUN_EVENTS} events"
    mib = 1024 * 1024
    detail = f"{kept / mib:.1f} MiB of {encoded / mib:.1f} MiB"
    return [
        Row(f"{name}: kept, of their JSON", kept / encoded, "ratio", Goal(at_most=1.5), detail=detail),
        Row(f"{name}: left after their time", left / mib, "MiB", Goal(at_most=8.0)),
    ]
