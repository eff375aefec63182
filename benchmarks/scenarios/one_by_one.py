"""One frame an event: the source gives way after each, and raw sends each by itself."""

from __future__ import annotations

import json
import statistics

from ..report import Goal, Row
from ..rounds import Plan, Streaming, alternate, comparable, speed_row
from ..server import Server

TOKENS = 2000
LOADS = ((1, 25), (20, 2))  # streams at once, and how often


async def measure(plan: Plan) -> list[Row]:
    rows = []
    body = json.dumps({"tokens": TOKENS}).encode()
    with Server("raw") as raw, Server("handler", "one_by_one") as server:
        for streams, runs in LOADS:
            ours = Streaming(server, "/invoke/stream", body, tokens=TOKENS, streams=streams, runs=runs)
            theirs = Streaming(raw, "/one_by_one", body, tokens=TOKENS, streams=streams, runs=runs)
            pairs = await alternate(ours, theirs, plan.rounds)
            await ours.close()
            await theirs.close()
            comparable(pairs)
            frames = statistics.median(one.frames_a_chunk for one, _ in pairs)
            name = f"one frame an event, {streams} stream{'s' * (streams > 1)}: of raw"
            rows.append(speed_row(name, pairs, Goal(at_least=0.95), f"; {frames:.2f} frames a chunk"))
    return rows
