"""A crowd: 1,000 streams of 10 events a second each, spread evenly, against raw by the same clock."""

from __future__ import annotations

import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..client import Connection, Response, ask
from ..machine import allow_open_files
from ..report import Goal, Row
from ..rounds import Plan, alternate, quartiles, ratio_row
from ..server import Server

STREAMS: Final = 1000
INTERVAL: Final = 0.1
LEAD: Final = 3.0
"""Seconds for all streams to open before the first event is due."""
WINDOW: Final = 10.0
MARGIN: Final = 0.5
"""Seconds of streaming before and after the window that is measured."""
TOKENS: Final = round((WINDOW + 2 * MARGIN) / INTERVAL)


@dataclass(frozen=True)
class Crowd:
    """What one side did in the window. ``latencies`` in ms from the emitting line to the client."""

    delivered: int
    cpu: float
    latencies: Sequence[float]
    kib_a_connection: float

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98]


async def measure(plan: Plan) -> list[Row]:
    allow_open_files(4096)

    async def ours() -> Crowd:
        with Server("handler", "by_the_clock") as server:
            return await _crowd(server, "/invoke/stream")

    async def theirs() -> Crowd:
        with Server("raw") as server:
            return await _crowd(server, "/by_the_clock")

    pairs = await alternate(ours, theirs, plan.crowd_rounds, warm_up=False)
    p99 = [one.p99 for one, _ in pairs]
    memory = [one.kib_a_connection for one, _ in pairs]
    raw_p99 = statistics.median(other.p99 for _, other in pairs)
    raw_memory = statistics.median(other.kib_a_connection for _, other in pairs)
    delivered = [(one.delivered, other.delivered) for one, other in pairs]
    cpu = [(one.cpu, other.cpu) for one, other in pairs]
    name = f"{STREAMS:,} streams × 10 events/s"
    return [
        ratio_row(
            f"{name}: delivered, of raw",
            delivered,
            Goal(at_least=0.97),
            f"{_middle(delivered, 0) / WINDOW:,.0f}/s against {_middle(delivered, 1) / WINDOW:,.0f}/s",
        ),
        Row(
            f"{name}: p99",
            statistics.median(p99),
            "ms",
            Goal(at_most=5.0),
            quartiles(p99),
            f"raw {raw_p99:.2f} ms",
        ),
        ratio_row(
            f"{name}: CPU, of raw",
            cpu,
            Goal(at_most=1.3),
            f"{_middle(cpu, 0) / WINDOW:.0%} of a core against {_middle(cpu, 1) / WINDOW:.0%}",
        ),
        Row(
            f"{name}: memory a connection",
            statistics.median(memory),
            "KiB",
            Goal(at_most=25.0),
            quartiles(memory),
            f"raw {raw_memory:.1f} KiB",
        ),
    ]


async def _crowd(server: Server, path: str) -> Crowd:
    """Stream to everyone from a server that is fresh but for a few streams to warm it up."""
    few = [await Connection.open(server.port) for _ in range(10)]
    now = time.monotonic()
    await asyncio.gather(*[ask(connection, path, _body(now, 20, 0.001)) for connection in few])
    for connection in few:
        connection.close()
    await asyncio.sleep(0.2)
    before = server.memory_bytes()

    start = time.monotonic() + LEAD
    connections = []
    for number in range(STREAMS):
        connection = await Connection.open(server.port)
        connection.send(path, _body(start + INTERVAL * number / STREAMS, TOKENS, INTERVAL), timed=True)
        connections.append(connection)
    await asyncio.gather(*[connection.first_bytes() for connection in connections])
    if time.monotonic() > start:
        raise RuntimeError(f"it took more than {LEAD:g} s to open {STREAMS} streams")

    await _until(start + MARGIN)
    cpu = server.cpu_seconds()
    opened = time.monotonic_ns()
    await _until(start + MARGIN + WINDOW)
    cpu = server.cpu_seconds() - cpu
    closed = time.monotonic_ns()
    memory = server.memory_bytes() - before  # every stream is still open

    async with asyncio.timeout(WINDOW):
        responses = await asyncio.gather(*[connection.response() for connection in connections])
    for connection in connections:
        connection.close()
    return _seen(responses, opened, closed, cpu, memory / STREAMS / 1024)


def _seen(
    responses: Sequence[Response], opened: int, closed: int, cpu: float, kib_a_connection: float
) -> Crowd:
    delivered = 0
    latencies = []
    for response in responses:
        events = response.events(tokens=TOKENS)
        for event, arrived in zip(events[1:-1], response.arrivals()[1:-1], strict=True):
            if opened <= arrived < closed:
                delivered += 1
                latencies.append((arrived - int(event.content)) / 1e6)
    return Crowd(delivered, cpu, latencies, kib_a_connection)


def _body(start: float, tokens: int, interval: float) -> bytes:
    return json.dumps({"tokens": tokens, "start": start, "interval": interval}).encode()


async def _until(moment: float) -> None:
    await asyncio.sleep(moment - time.monotonic())


def _middle(pairs: Sequence[tuple[float, float]], side: int) -> float:
    return statistics.median(pair[side] for pair in pairs)
