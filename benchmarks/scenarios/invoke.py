"""``POST /invoke`` of a graph of twenty nodes, against the bare ``ainvoke``."""

from __future__ import annotations

import asyncio
import itertools
import json
import time

from ..client import Connection, Response, WrongStream, ask
from ..report import Goal, Row
from ..rounds import Plan, Sample, alternate, sample_of, speed_row
from ..server import Server, Worker

NODES = 20
RUNS = 200
CALLERS = 4
PAYLOAD = {"count": 0, "text": "lorem ipsum"}


async def measure(plan: Plan) -> list[Row]:
    body = json.dumps(PAYLOAD).encode()
    with Server("graph", "chain") as server, Worker() as worker:

        async def ours() -> Sample:
            connections = [await Connection.open(server.port) for _ in range(CALLERS)]

            async def call(connection: Connection, times: int) -> list[Response]:
                return [await ask(connection, "/invoke", body, streamed=False) for _ in range(times)]

            await asyncio.gather(*[call(connection, 1) for connection in connections])
            cpu = server.cpu_seconds()
            began = time.perf_counter()
            answers = await asyncio.gather(*[call(connection, RUNS // CALLERS) for connection in connections])
            seconds = time.perf_counter() - began
            cpu = server.cpu_seconds() - cpu
            for connection in connections:
                connection.close()
            for response in itertools.chain(*answers):
                answer = response.json()
                if not answer["success"] or answer["output"] != {**PAYLOAD, "count": NODES}:
                    raise WrongStream(f"/invoke answered {answer}")
            return Sample(RUNS / seconds, cpu / RUNS * 1e6)

        async def bare() -> Sample:
            return sample_of(
                worker.call("ainvoke", runs=RUNS // CALLERS, callers=CALLERS, payload=PAYLOAD), RUNS
            )

        pairs = await alternate(ours, bare, plan.rounds)
    return [speed_row(f"/invoke, graph of {NODES} nodes: of ainvoke", pairs, Goal(at_least=0.9))]
