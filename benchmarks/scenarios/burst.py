"""Burst: 2,000 tokens as fast as a handler can emit them, against raw with all that is ready coalesced."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from ..report import Goal, Row
from ..rounds import Plan, Sample, Streaming, alternate, comparable, quartiles, speed_row
from ..server import Server

TOKENS = 2000
LOADS = ((1, 100), (50, 3))  # streams at once, and how often


async def measure(plan: Plan) -> list[Row]:
    rows: list[Row] = []
    body = json.dumps({"tokens": TOKENS}).encode()
    with Server("raw") as raw:
        for agent, kind in (("burst", "async"), ("burst_sync", "sync")):
            with Server("handler", agent) as server:
                for streams, runs in LOADS:
                    ours = Streaming(
                        server, "/invoke/stream", body, tokens=TOKENS, streams=streams, runs=runs
                    )
                    theirs = Streaming(raw, "/burst", body, tokens=TOKENS, streams=streams, runs=runs)
                    pairs = await alternate(ours, theirs, plan.rounds)
                    await ours.close()
                    await theirs.close()
                    rows += _rows(f"burst, {kind} handler, {_times(streams)}", pairs)
    return rows


def _rows(name: str, pairs: Sequence[tuple[Sample, Sample]]) -> list[Row]:
    comparable(pairs)
    cpu = [ours.cpu_us for ours, _ in pairs]
    return [
        speed_row(f"{name}: of raw, coalesced", pairs, Goal(at_least=0.7)),
        Row(
            f"{name}: CPU an event",
            statistics.median(cpu),
            "µs",
            Goal(at_most=2.0),
            quartiles(cpu),
        ),
    ]


def _times(streams: int) -> str:
    return "1 stream" if streams == 1 else f"{streams} streams"
