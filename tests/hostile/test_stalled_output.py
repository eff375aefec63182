"""A server whose stdout or stderr is a full pipe: it serves on, counts what it drops, and says so."""

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
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from ..chaos.processes import project
from ..servers.redis import free_port

DEADLINE = 30.0

AGENT = """
import logging, sys

log = logging.getLogger("shop")

async def handle(payload, context):
    text = "x" * payload["size"]
    for number in range(payload.get("times", 1)):
        if payload["how"] == "print":
            print(text)
        elif payload["how"] == "stderr":
            print(text, file=sys.stderr)
        elif payload["how"] == "buffer":
            sys.stdout.buffer.write(text.encode() + b"\\n")
            sys.stdout.flush()
        elif payload["how"] == "log":
            log.warning("%s", text)
        else:
            raise ValueError(text)
    return "said"
"""


@contextmanager
def stalled(
    folder: Path, *options: str, limits: dict[str, int] | None = None
) -> Iterator[tuple[subprocess.Popen[bytes], str, int]]:
    """Serve with stdout and stderr as one pipe that nobody reads; yields its reading end, too."""
    expose = {"shutdown_grace": 0.5, "limits": limits or {}}
    project(folder, AGENT, expose=expose, streaming={"async_runs": False})
    port = free_port()
    here, elsewhere = os.pipe()
    command = [
        sys.executable,
        "-m",
        "dockrion_runtime.cli",
        "run",
        str(folder),
        "--port",
        str(port),
        *options,
    ]
    with subprocess.Popen(command, stdout=elsewhere, stderr=elsewhere) as process:
        os.close(elsewhere)
        url = f"http://127.0.0.1:{port}"
        try:
            _eventually(lambda: httpx.get(f"{url}/ready").status_code == 200)
            yield process, url, here
        finally:
            process.kill()
            with suppress(OSError):
                os.close(here)


def _eventually(condition: Any) -> None:
    limit = time.monotonic() + DEADLINE
    while True:
        with suppress(httpx.HTTPError):
            if condition():
                return
        assert time.monotonic() < limit
        time.sleep(0.02)


def dropped(url: str) -> int:
    text = httpx.get(f"{url}/metrics", timeout=5).text
    match = re.search(r"^dockrion_log_records_dropped_total (\S+)$", text, re.M)
    assert match
    return int(float(match[1]))


@pytest.mark.parametrize("how", ["print", "stderr", "buffer", "log", "raise"])
def test_it_serves_on_and_counts_what_it_drops(tmp_path: Path, how: str) -> None:
    with stalled(tmp_path) as (process, url, _):
        payload = {"how": how, "size": 20_000, "times": 10}
        asked = 0
        while asked < 400 and not dropped(url):
            asked += 1
            status = httpx.post(f"{url}/invoke", json=payload, timeout=5).status_code
            assert status == (500 if how == "raise" else 200)
            assert httpx.get(f"{url}/health", timeout=1).status_code == 200
        assert dropped(url)
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        assert time.monotonic() - began < 3


@pytest.mark.parametrize("options", [(), ("--workers", "2")], ids=["one", "two"])
def test_it_says_once_how_much_was_dropped_when_it_is_read_again(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with stalled(tmp_path, *options) as (process, url, here):
        while not dropped(url):
            httpx.post(f"{url}/invoke", json={"how": "log", "size": 20_000, "times": 20}, timeout=5)
        text = bytearray()

        def read() -> None:
            while part := os.read(here, 1 << 16):
                text.extend(part)

        reader = threading.Thread(target=read, daemon=True)
        reader.start()
        _eventually(lambda: b"were dropped" in text)
        httpx.post(f"{url}/invoke", json={"how": "log", "size": 7}, timeout=5)
        _eventually(lambda: b'"xxxxxxx"' in text)
        process.send_signal(signal.SIGTERM)
        assert process.wait(DEADLINE) == 0
        reader.join(DEADLINE)
        # What is longer than a pipe takes in one piece may be mixed up by two processes; this is not.
        told = [json.loads(line) for line in text.decode().splitlines() if line.count("were dropped") == 1]
        assert 1 <= len(told) <= 2
        assert all(int(line["event"].split()[0]) > 0 for line in told)


def test_what_was_logged_last_is_flushed_at_the_end(tmp_path: Path) -> None:
    with stalled(tmp_path) as (process, url, here):
        httpx.post(f"{url}/invoke", json={"how": "log", "size": 9}, timeout=5)
        process.send_signal(signal.SIGTERM)
        text = b""
        while part := os.read(here, 1 << 16):
            text += part
        assert process.wait(DEADLINE) == 0
        assert b'"xxxxxxxxx"' in text


def test_what_may_wait_is_set_in_the_dockfile(tmp_path: Path) -> None:
    with stalled(tmp_path, limits={"output_bytes": 2_000_000_000}) as (process, url, _):
        for _ in range(5):  # 2 MB: twice the default
            httpx.post(f"{url}/invoke", json={"how": "log", "size": 20_000, "times": 20}, timeout=5)
        assert not dropped(url)
        process.kill()
