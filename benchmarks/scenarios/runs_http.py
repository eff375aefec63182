"""``POST /runs`` with a handler that does nothing, against a static answer of the same app."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from typing import Any, Final

from ..client import Connection, Response, WrongStream, ask
from ..machine import CLIENT_CORE
from ..report import Goal, Row
from ..rounds import Plan, Sample, alternate, speed_row
from ..server import Server
from ..stores import Store, redis_store

CALLERS: Final = 8
RUNS: Final = 480  # of one round; a page of the list shows 500
BODY: Final = json.dumps({"question": "lorem ipsum"}).encode()
PATIENCE: Final = 20.0
GOALS: Final = {"memory": 0.5, "redis": 0.35}


async def measure(plan: Plan) -> list[Row]:
    rows = []
    for store, goal in GOALS.items():
        async with runs_server(store, "trivial") as (server, _):
            pairs = await alternate(lambda at=server: _runs(at), lambda at=server: _static(at), plan.rounds)
        name = f"POST /runs, {store}, executed too: of a static answer"
        rows.append(speed_row(name, pairs, Goal(at_least=goal)))
    return rows


@asynccontextmanager
async def runs_server(
    store: str, agent: str, ttl: int = 3600, *, send_buffer: int = 0
) -> AsyncIterator[tuple[Server, Store | None]]:
    """Serve runs of a handler, kept in memory or in a Redis that is not on the server's core."""
    async with AsyncExitStack() as stack:
        settings = {"BENCHMARK_STORE": store, "BENCHMARK_TTL": str(ttl)}
        redis = stack.enter_context(redis_store(cores={CLIENT_CORE})) if store == "redis" else None
        if redis is not None:
            settings["BENCHMARK_REDIS"] = redis.url
        yield stack.enter_context(Server("runs", agent, send_buffer=send_buffer, **settings)), redis


async def _static(server: Server) -> Sample:
    cpu, began = server.cpu_seconds(), time.time()
    await _all(server, "/bench/static")
    return Sample(RUNS / (time.time() - began), (server.cpu_seconds() - cpu) / RUNS * 1e6)


async def _runs(server: Server) -> Sample:
    """The clock stops when the last run has ended, by the store's clock, which is this machine's."""
    cpu, began = server.cpu_seconds(), time.time()
    answers = await _all(server, "/runs")
    made = {answer.json()["run_id"] for answer in answers}
    await asyncio.sleep(0.1)
    cpu = server.cpu_seconds() - cpu
    ended = await _ended(server, made)
    return Sample(RUNS / (ended - began), cpu / RUNS * 1e6)


async def _all(server: Server, path: str) -> list[Response]:
    """Send all requests, the next on each connection when the one before is answered."""
    connections = [await Connection.open(server.port) for _ in range(CALLERS)]

    async def call(connection: Connection) -> list[Response]:
        return [await ask(connection, path, BODY, streamed=False) for _ in range(RUNS // CALLERS)]

    answers = await asyncio.gather(*map(call, connections))
    for connection in connections:
        connection.close()
    return list(itertools.chain(*answers))


async def _ended(server: Server, made: set[str]) -> float:
    """Return when the last of these runs, which are the newest, was completed."""
    connection = await Connection.open(server.port)
    async with asyncio.timeout(PATIENCE):
        while True:
            answer = await ask(connection, f"/runs?limit={RUNS}", b"", streamed=False, method="GET")
            runs: list[dict[str, Any]] = answer.json()["runs"]
            if {run["run_id"] for run in runs} != made:
                raise WrongStream(f"{len(made)} runs were accepted, and the list has others")
            if all(run["status"] == "completed" for run in runs):
                break
            await asyncio.sleep(0.05)
    connection.close()
    return max(datetime.fromisoformat(run["ended_at"]).timestamp() for run in runs)
