"""Events arrive while the handler runs: one every 100 ms is seen every 100 ms, whatever the handler is."""

from __future__ import annotations

import json
import statistics
from itertools import pairwise

from ..client import Connection, ask
from ..report import Goal, Row
from ..rounds import Plan
from ..server import Server

KINDS = {
    "ticks_sync": "sync handler",
    "ticks_async": "async handler",
    "ticks_generator": "generator",
    "ticks_async_generator": "async generator",
}
TICKS = 20
INTERVAL = 0.1


async def measure(_: Plan) -> list[Row]:
    rows = []
    body = json.dumps({"tokens": TICKS, "interval": INTERVAL}).encode()
    for agent, kind in KINDS.items():
        with Server("handler", agent) as server:
            connection = await Connection.open(server.port)
            response = await ask(connection, "/invoke/stream", body, timed=True)
            connection.close()
        response.events(tokens=TICKS)
        tokens = response.arrivals()[1:-1]
        gaps = [(after - before) / 1e6 for before, after in pairwise(tokens)]
        middle = statistics.median(gaps)
        rows.append(
            Row(
                f"an event every 100 ms, {kind}: off by",
                abs(middle - INTERVAL * 1000),
                "ms",
                Goal(at_most=20.0),
                detail=f"median {middle:.1f} ms, {min(gaps):.1f} to {max(gaps):.1f}",
            )
        )
    return rows
