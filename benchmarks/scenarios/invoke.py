"""``POST /invoke`` of a graph of twenty nodes, against the bare ``ainvoke``."""

from __future__ import annotations

import json
import time

from ..client import Connection, WrongStream, ask
from ..report import Goal, Row
from ..rounds import Plan, Sample, alternate, rate_detail, ratio_row
from ..server import Server, Worker

NODES = 20
RUNS = 100
PAYLOAD = {"count": 0, "text": "lorem ipsum"}


async def measure(plan: Plan) -> list[Row]:
    body = json.dumps(PAYLOAD).encode()
    with Server("graph", "chain") as server, Worker() as worker:
        connection = await Connection.open(server.port)

        async def ours() -> Sample:
            began = time.perf_counter()
            responses = [await ask(connection, "/invoke", body, streamed=False) for _ in range(RUNS)]
            seconds = time.perf_counter() - began
            for response in responses:
                answer = response.json()
                if not answer["success"] or answer["output"] != {**PAYLOAD, "count": NODES}:
                    raise WrongStream(f"/invoke answered {answer}")
            return Sample(RUNS / seconds)

        async def bare() -> Sample:
            return Sample(RUNS / worker.call("ainvoke", runs=RUNS, payload=PAYLOAD))

        pairs = await alternate(ours, bare, plan.rounds)
        connection.close()
    rates = [(one.per_second, other.per_second) for one, other in pairs]
    detail = rate_detail([one for one, _ in rates], [other for _, other in rates])
    return [ratio_row(f"/invoke, graph of {NODES} nodes: of ainvoke", rates, Goal(at_least=0.9), detail)]
