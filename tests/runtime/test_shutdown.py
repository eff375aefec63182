"""SIGTERM while streams are open: a real process, told by a real signal."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import httpx_sse
import pytest

DEADLINE = 20.0
GRACE = 1.5

AGENT = """
import asyncio, threading, time

async def handle(payload, context):
    await context.emit_token("begun")
    if payload["kind"] == "stubborn":
        while True:
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                pass
    await asyncio.sleep(payload["seconds"])
    return "finished"

def block(payload, context):
    context.sync_emit_token("begun")
    threading.Event().wait()
"""


@contextmanager
def process(folder: Path, handler: str = "handle") -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Serve ``AGENT`` by the command; yields the process and its URL, and ends it if need be."""
    (folder / "ending.py").write_text(AGENT)
    (folder / "Dockfile.yaml").write_text(
        f'version: "1.0"\nagent: {{name: ending, handler: "ending:{handler}"}}\n'
        f"expose: {{host: 127.0.0.1, port: 0, shutdown_grace: {GRACE}}}\n"
        "streaming: {async_runs: true, runs: {max_concurrent: 150}}\n"
    )
    command = [sys.executable, "-m", "dockrion_runtime.cli", "run", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as server:
        try:
            assert server.stdout is not None
            url = next(m[0] for line in server.stdout if (m := re.search(r"http://[\w.]+:\d+", line)))
            threading.Thread(target=server.stdout.read, daemon=True).start()
            yield server, url
        finally:
            if server.poll() is None:
                os.kill(server.pid, signal.SIGKILL)


class Readers:
    """Many clients, each following a stream to its end."""

    def __init__(self, url: str, payloads: list[dict[str, Any]]) -> None:
        self.begun = threading.Semaphore(0)
        self.ends: list[dict[str, Any] | None] = [None] * len(payloads)
        self._threads = [
            threading.Thread(target=self._follow, args=(url, number, payload), daemon=True)
            for number, payload in enumerate(payloads)
        ]
        for thread in self._threads:
            thread.start()
        for _ in payloads:
            assert self.begun.acquire(timeout=DEADLINE)

    def _follow(self, url: str, number: int, payload: dict[str, Any]) -> None:
        with (
            httpx.Client(timeout=DEADLINE) as client,
            httpx_sse.connect_sse(client, "POST", f"{url}/invoke/stream", json=payload) as source,
        ):
            for event in source.iter_sse():
                if event.event == "token":
                    self.begun.release()
                self.ends[number] = json.loads(event.data)

    def join(self) -> list[dict[str, Any] | None]:
        for thread in self._threads:
            thread.join(DEADLINE)
        return self.ends


def test_streams_end_within_the_grace_and_all_see_an_ending(tmp_path: Path) -> None:
    soon, never = {"kind": "sleeps", "seconds": 0.5}, {"kind": "sleeps", "seconds": 3600}
    with process(tmp_path) as (server, url):
        readers = Readers(url, [soon] * 100 + [never] * 100)
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        wait_until_draining(url)
        refused = httpx.post(f"{url}/invoke", json=soon)
        assert refused.status_code == 503
        assert refused.json()["code"] == "SHUTTING_DOWN"
        assert "retry-after" in refused.headers
        assert httpx.get(f"{url}/health").status_code == 200
        assert server.wait(DEADLINE) == 0
        assert time.monotonic() - began <= GRACE + 1
        ends = readers.join()
    assert [end and end["type"] for end in ends] == ["complete"] * 100 + ["cancelled"] * 100
    assert {end["reason"] for end in ends[100:] if end} == {"shutdown"}


def wait_until_draining(url: str) -> None:
    limit = time.monotonic() + DEADLINE
    while httpx.get(f"{url}/ready").status_code != 503:
        assert time.monotonic() < limit


@pytest.mark.parametrize("kind", ["stubborn", "block"])
def test_agents_that_do_not_end_do_not_hold_the_process(tmp_path: Path, kind: str) -> None:
    with process(tmp_path, "block" if kind == "block" else "handle") as (server, url):
        readers = Readers(url, [{"kind": kind, "seconds": 0}])
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) == 0
        took = time.monotonic() - began
        [end] = readers.join()
    assert end is not None
    assert (end["type"], end["reason"]) == ("cancelled", "shutdown")
    assert took <= GRACE + 3  # a second for cancelled tasks, and the interpreter's own end


def test_an_idle_server_ends_at_once(tmp_path: Path) -> None:
    with process(tmp_path) as (server, url):
        assert httpx.get(f"{url}/ready").status_code == 200
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) == 0
        assert time.monotonic() - began < 1.5


class Followers(Readers):
    """Many clients, each making a run and following it to the end of the response."""

    def _follow(self, url: str, number: int, payload: dict[str, Any]) -> None:
        with httpx.Client(timeout=DEADLINE) as client:
            events = client.post(f"{url}/runs", json=payload).json()["events_url"]
            with httpx_sse.connect_sse(client, "GET", url + events) as source:
                if payload["kind"] == "waits":
                    self.begun.release()
                for event in source.iter_sse():
                    if event.event == "token":
                        self.begun.release()
                    if event.data:
                        self.ends[number] = json.loads(event.data)


def test_followers_of_runs_in_memory_see_how_their_runs_end(tmp_path: Path) -> None:
    never = {"kind": "sleeps", "seconds": 3600}
    with process(tmp_path) as (server, url):
        readers = Followers(url, [never] * 150)
        waiting = Followers(url, [{"kind": "waits", "seconds": 3600}] * 50)  # beyond runs.max_concurrent
        began = time.monotonic()
        server.send_signal(signal.SIGTERM)
        wait_until_draining(url)
        refused = httpx.post(f"{url}/runs", json=never)
        assert (refused.status_code, refused.json()["code"]) == (503, "SHUTTING_DOWN")
        assert server.wait(DEADLINE) == 0
        assert time.monotonic() - began <= GRACE + 1
        ends = readers.join() + waiting.join()
    assert [end and (end["type"], end["reason"]) for end in ends] == [("cancelled", "shutdown")] * 200


def test_runs_in_memory_may_end_within_the_grace(tmp_path: Path) -> None:
    with process(tmp_path) as (server, url):
        readers = Followers(url, [{"kind": "sleeps", "seconds": 0.7}] * 20)
        server.send_signal(signal.SIGTERM)
        assert server.wait(DEADLINE) == 0
        ends = readers.join()
    assert [end and (end["type"], end["output"]) for end in ends] == [("complete", "finished")] * 20
