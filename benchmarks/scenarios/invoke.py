"""``POST /invoke`` of a graph of twenty nodes, against the bare ``ainvoke``."""

from __future__ import annotations

import json
import time

from ..client import Connection, WrongStream, ask
from ..report import Goal, Row
from ..rounds import Plan, Sample, alternate, sample_of, speed_row
from ..server import Server, Worker

NODES = 20
RUNS = 100
PAYLOAD = {"count": 0, "text": "lorem ipsum"}


async def measure(plan: Plan) -> list[Row]:
    body = json.dumps(PAYLOAD).encode()
    with Server("graph", "chain") as server, Worker() as worker:

        async def ours() -> Sample:
            connection = await Connection.open(server.port)
            await ask(connection, "/invoke", body, streamed=False)
            cpu = server.cpu_seconds()
            began = time.perf_counter()
            responses = [await ask(connection, "/invoke", body, streamed=False) for _ in range(RUNS)]
            seconds = time.perf_counter() - began
            cpu = server.cpu_seconds() - cpu
            connection.close()
            for response in responses:
                answer = response.json()
                if not answer["success"] or answer["output"] != {**PAYLOAD, "count": NODES}:
                    raise WrongStream(f"/invoke answered {answer}")
            return Sample(RUNS / seconds, cpu / RUNS * 1e6)

        async def bare() -> Sample:
            return sample_of(worker.call("ainvoke", runs=RUNS, payload=PAYLOAD), RUNS)

        pairs = await alternate(ours, bare, plan.rounds)
    return [speed_row(f"/invoke, graph of {NODES} nodes: of ainvoke", pairs, Goal(at_least=0.9))]
