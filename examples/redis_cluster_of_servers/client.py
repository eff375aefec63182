"""A client that outlives its servers: ``python client.py URL [URL ...]``.

All it needs is what every Server-Sent Events client keeps anyway: the id of the last event it saw. When a
connection breaks it asks the next server for what comes after that. Nothing is lost and nothing comes
twice, whichever server it asks.
"""

from __future__ import annotations

import itertools
import json
import sys
import time
from collections.abc import Iterator
from typing import Any

import httpx
import httpx_sse

PATIENCE = 30.0
"""Seconds without any server after which the client gives up."""


def start(servers: list[str], run_id: str, payload: dict[str, Any]) -> None:
    """Make the run; asked twice it is still one run, because it has a name."""
    for server in _tried(servers):
        try:
            answer = httpx.post(f"{server}/runs", params={"run_id": run_id}, json=payload, timeout=10)
        except httpx.TransportError:
            continue
        if answer.status_code != 503:
            answer.raise_for_status()
            return


def follow(servers: list[str], run_id: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each event of the run once, in order, with the server it came from, up to the terminal one."""
    last_id = ""
    attempts = _tried(servers)
    while True:
        server = next(attempts)
        headers = {"Last-Event-ID": last_id} if last_id else {}
        try:
            with (
                httpx.Client(timeout=httpx.Timeout(10, read=None)) as client,
                httpx_sse.connect_sse(
                    client, "GET", f"{server}/runs/{run_id}/events", headers=headers
                ) as source,
            ):
                if source.response.status_code == 503:
                    continue
                source.response.raise_for_status()
                for frame in source.iter_sse():
                    if not frame.data:
                        continue
                    event = json.loads(frame.data)
                    last_id = frame.id or last_id
                    attempts = _tried(servers, first=server)
                    yield server, event
                    if event["type"] in ("complete", "error", "cancelled"):
                        return
        except httpx.TransportError:
            continue


def _tried(servers: list[str], *, first: str | None = None) -> Iterator[str]:
    """Yield one server after the other, with a pause after each round, until patience ends."""
    deadline = time.monotonic() + PATIENCE
    begin = servers.index(first) if first in servers else 0
    for number in itertools.count(begin):
        if time.monotonic() > deadline:
            raise TimeoutError(f"no server has answered for {PATIENCE:g} s")
        yield servers[number % len(servers)]
        if number % len(servers) == len(servers) - 1:
            time.sleep(0.2)


def main() -> int:
    """Start a walk of a hundred steps, and print it."""
    servers = sys.argv[1:] or ["http://localhost:8080"]
    run_id = f"walk-{time.time_ns()}"
    start(servers, run_id, {"steps": 100})
    for server, event in follow(servers, run_id):
        print(server, event.get("sequence"), event["type"], event.get("step", ""))
    return 0


if __name__ == "__main__":
    sys.exit(main())
