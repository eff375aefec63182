"""A run that one server executes is cancelled on another: how long until its agent is."""

from __future__ import annotations

import asyncio
import functools
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from ..client import Connection, WrongStream, ask
from ..report import Goal, Row
from ..rounds import Plan
from ..server import Server
from ..stores import redis_store

CANCELS: Final = 200
AT_ONCE: Final = 50
PATIENCE: Final = 10.0


async def measure(_: Plan) -> list[Row]:
    with redis_store() as store, tempfile.TemporaryDirectory() as folder:
        settings = {"BENCHMARK_STORE": "redis", "BENCHMARK_REDIS": store.url}
        with (
            Server("runs", "cancelled", **settings),
            Server("runs", "cancelled", BENCHMARK_EXECUTING="", **settings) as other,
        ):
            connection = await Connection.open(other.port)
            took = []
            for _ in range(CANCELS // AT_ONCE):
                took += await _cancel_some(connection, Path(folder))
            connection.close()
    p99 = statistics.quantiles(took, n=100)[98] * 1000
    detail = f"median {statistics.median(took) * 1000:.1f} ms, worst {max(took) * 1000:.1f} ms of {len(took)}"
    return [Row("Redis, cancel on another server: p99", p99, "ms", Goal(at_most=250.0), detail=detail)]


async def _cancel_some(connection: Connection, folder: Path) -> list[float]:
    """Let runs begin, cancel them one by one, and return after how long each agent was told."""
    notes = {}
    for number in range(AT_ONCE):
        note = folder / str(number)
        note.unlink(missing_ok=True)
        made = await ask(connection, "/runs", json.dumps({"note": str(note)}).encode(), streamed=False)
        notes[made.json()["run_id"]] = note
    await _until(lambda: all(note.exists() for note in notes.values()))
    took = []
    for run_id, note in notes.items():
        sent = time.time()
        answer = await ask(connection, f"/runs/{run_id}", b"", streamed=False, method="DELETE")
        if answer.json()["status"] != "cancelled":
            raise WrongStream(f"DELETE answered {answer.json()}")
        await _until(functools.partial(_written, note))
        took.append(float(note.read_text()) - sent)
    return took


def _written(note: Path) -> bool:
    return note.stat().st_size > 0


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - it looks at another process
            await asyncio.sleep(0.001)
