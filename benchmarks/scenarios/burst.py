"""Burst: 2,000 tokens as fast as a handler can emit them, against raw with all that is ready coalesced."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence

from ..report import Goal, Row
from ..rounds import Plan, Sample, Streaming, alternate, comparable, quartiles, rate_detail, ratio_row
from ..server import Server

TOKENS = 2000
LOADS = ((1, 50), (50, 2))  # streams at once, and how often


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
    rates = [(ours.per_second, theirs.per_second) for ours, theirs in pairs]
    cpu = [ours.cpu_us for ours, _ in pairs]
    raw_cpu = statistics.median(theirs.cpu_us for _, theirs in pairs)
    return [
        ratio_row(
            f"{name}: of raw, coalesced",
            rates,
            Goal(at_least=0.7),
            rate_detail([ours for ours, _ in rates], [theirs for _, theirs in rates]),
        ),
        Row(
            f"{name}: CPU an event",
            statistics.median(cpu),
            "µs",
            Goal(at_most=2.0),
            quartiles(cpu),
            f"raw {raw_cpu:.2f} µs",
        ),
    ]


def _times(streams: int) -> str:
    return "1 stream" if streams == 1 else f"{streams} streams"
