"""What stays: readers that never read, and ten thousand runs that have come and gone."""

from __future__ import annotations

import asyncio
import json
import socket
from itertools import pairwise
from typing import Any, Final

from ..client import Connection, WrongStream, ask
from ..machine import allow_open_files
from ..report import Goal, Row
from ..rounds import Plan
from ..server import Server
from ..stores import Store
from .runs_http import runs_server

DEAF: Final = 100
DEAF_TOKENS: Final = 2000
DEAF_SIZE: Final = 1000
SEND_BUFFER: Final = 32 * 1024
"""What the kernel takes of each connection; the log of two megabytes is much more."""

SETTLE_SECONDS: Final = 2.0
IDLE: Final = 0.02
"""The share of its core that an idle server takes."""

RUNS: Final = 10_000
ROUNDS: Final = 3
"""The first lets the heap grow to what so many runs need; what leaks grows in each of the others too."""

TTL: Final = 1
CALLERS: Final = 16
FOLLOWED: Final = 20
"""One run in so many is followed to its end."""

MIB: Final = 1024 * 1024


async def measure(_: Plan) -> list[Row]:
    allow_open_files(4096)
    rows = []
    for store in ("memory", "redis"):
        rows.append(await _deaf(store))
        rows += await _soak(store)
    return rows


# -- readers that do not read ----------------------------------------------------------------------


async def _deaf(store: str) -> Row:
    async with runs_server(store, "essay", send_buffer=SEND_BUFFER) as (server, _):
        connection = await Connection.open(server.port)
        body = json.dumps({"tokens": DEAF_TOKENS, "size": DEAF_SIZE, "seconds": 60}).encode()
        run_id = (await ask(connection, "/runs", body, streamed=False)).json()["run_id"]
        async with asyncio.timeout(30):
            while (await _get(connection, f"/runs/{run_id}"))["last_sequence"] <= DEAF_TOKENS:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        _open_deaf(server, run_id).close()  # the first reader warms up
        await asyncio.sleep(SETTLE_SECONDS)
        before = server.memory_bytes()
        deaf = [_open_deaf(server, run_id) for _ in range(DEAF)]
        async with asyncio.timeout(15):  # before the server gives them up
            while (await _get(connection, "/info"))["runs"]["subscribers"] != DEAF:  # noqa: ASYNC110
                await asyncio.sleep(0.1)
        await _idle(server)
        each = (server.memory_bytes() - before) / DEAF / 1024
        if (await _get(connection, "/info"))["runs"]["subscribers"] != DEAF:
            raise WrongStream("readers were given up")
        for one in deaf:
            one.close()
        connection.close()
    return Row(f"{store}, a subscriber that never reads: memory", each, "KiB", Goal(at_most=192.0))


async def _idle(server: Server) -> None:
    """Return when the server has nothing to do any more: all that can be written is written."""
    busy = 1.0
    while busy > IDLE:
        before = server.cpu_seconds()
        await asyncio.sleep(SETTLE_SECONDS)
        busy = (server.cpu_seconds() - before) / SETTLE_SECONDS


def _open_deaf(server: Server, run_id: str) -> socket.socket:
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.connect(("127.0.0.1", server.port))
    reader.sendall(f"GET /runs/{run_id}/events HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader


# -- many runs -------------------------------------------------------------------------------------


async def _soak(store: str) -> list[Row]:
    async with runs_server(store, "trivial", TTL) as (server, redis):
        states = []
        for _ in range(ROUNDS):
            await _make(server, RUNS)
            states.append(await _state(server, redis))
    memory = [state.pop("memory") / MIB for state in states]
    grown = min(later - sooner for sooner, later in pairwise(memory))
    before, *_, after = states
    more = sum(after[name] - before[name] for name in before)
    detail = ", ".join(f"{name} {before[name]} → {after[name]}" for name in before)
    name = f"{store}, after {RUNS:,} runs and their time"
    resident = " → ".join(f"{size:.1f}" for size in memory)
    return [
        Row(f"{name}: more memory", grown, "MiB", Goal(at_most=2.0), detail=f"resident: {resident} MiB"),
        Row(f"{name}: more of what is counted", more, "pieces", Goal(at_most=0.0), detail=detail),
    ]


async def _make(server: Server, runs: int) -> None:
    """Make runs, and follow some of them to their end."""
    body = json.dumps({"question": "lorem ipsum"}).encode()
    connections = [await Connection.open(server.port) for _ in range(CALLERS)]

    async def call(connection: Connection) -> None:
        for number in range(runs // CALLERS):
            made = (await ask(connection, "/runs", body, streamed=False)).json()
            if number % FOLLOWED == 0:
                followed = await ask(connection, made["events_url"], b"", method="GET")
                followed.events(tokens=0)

    await asyncio.gather(*map(call, connections))
    for connection in connections:
        connection.close()


async def _state(server: Server, redis: Store | None) -> dict[str, int]:
    """Return what the process holds when its runs are gone."""
    await asyncio.sleep(TTL + SETTLE_SECONDS)
    connection = await Connection.open(server.port)
    state: dict[str, int] = await _get(connection, "/bench/state")
    kept = await _get(connection, "/runs")
    connection.close()
    if kept["runs"]:
        raise WrongStream("there are runs whose time is over")
    if redis is not None:
        state["keys"] = redis.keys()
    state["memory"] = server.memory_bytes()
    return state


async def _get(connection: Connection, path: str) -> Any:
    return (await ask(connection, path, b"", streamed=False, method="GET")).json()
