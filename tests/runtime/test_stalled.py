"""A reader that stops reading loses its connection; nobody else notices."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from typing import Any

import pytest

from dockrion_sdk.dockfile import Limits

from .conftest import DEADLINE, Live, Serve, Store
from .test_runs import make, read, sequences, serve_runs

SOON = {"limits": {"unread_seconds": 0.5}}


def stalled_reader(live: Live, request: bytes = b"POST /invoke/stream") -> socket.socket:
    """Open a stream and read its beginning only."""
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(DEADLINE)
    reader.connect(("127.0.0.1", live.port))
    reader.sendall(
        b"%b HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        b"Content-Length: 2\r\n\r\n{}" % request
    )
    assert reader.recv(1000).startswith(b"HTTP/1.1 200")
    return reader


@pytest.mark.parametrize("kind", ["asynchronous", "synchronous"])
def test_it_is_dropped_in_time_and_its_agent_stopped(serve: Serve, kind: str) -> None:
    stopped = threading.Event()
    emitted = 0

    async def asynchronous(payload: dict[str, Any], context: Any) -> None:
        nonlocal emitted
        try:
            while True:
                await context.emit_token("x" * 1000)
                emitted += 1
        finally:
            stopped.set()

    def synchronous(payload: dict[str, Any], context: Any) -> None:
        nonlocal emitted
        try:
            while True:
                context.sync_emit_token("x" * 1000)
                emitted += 1
        finally:
            stopped.set()

    live = serve({"asynchronous": asynchronous, "synchronous": synchronous}[kind], expose=SOON)
    reader = stalled_reader(live)
    began = time.monotonic()
    assert stopped.wait(DEADLINE)
    assert time.monotonic() - began < 5
    live.until(lambda: live.service.active == 0)
    live.until(lambda: not live.server.server_state.connections)
    # What was emitted fits the queue and the buffers of the sockets: back-pressure held.
    assert emitted < 20_000
    assert live.service.edge.refused["unread"] == 1
    reader.close()
    assert live.get("/health").status_code == 200


def test_it_is_dropped_from_a_run_that_is_not_slowed(serve: Serve, store: Store) -> None:
    count, seconds = 200, 2.0

    async def paced(payload: dict[str, Any], context: Any) -> float:
        loop = asyncio.get_running_loop()
        began = loop.time()
        for number in range(1, count + 1):
            await context.emit_token("x" * 50_000)
            await asyncio.sleep(began + number * seconds / count - loop.time())
        return loop.time() - began

    live = serve_runs(serve, store, paced, expose=SOON)
    took = []
    for stalled in (False, True):
        run_id = make(live)
        if stalled:
            reader = stalled_reader(live, f"GET /runs/{run_id}/events".encode())
            live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 1)
            live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)
            assert live.get(f"/runs/{run_id}").json()["status"] == "running"
            reader.close()
        frames = read(live, run_id)
        assert sequences(frames) == list(range(1, count + 3))
        took.append(frames[-1][1]["output"])
    assert took[1] <= 1.05 * took[0]


def test_the_deadline_leaves_time_to_spare_within_thirty_seconds() -> None:
    assert Limits().unread_seconds <= 25
