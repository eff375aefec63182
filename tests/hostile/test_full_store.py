"""A caller that makes runs as fast as it can: memory stays within its limit, and the server answers."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import httpx
import pytest

from ..chaos.processes import Instance, alive, project
from ..servers.live import DEADLINE

pytestmark = pytest.mark.timeout(120)  # a process starts, and an attack has its time

MIB = 1 << 20

AGENT = """
import asyncio

async def handle(payload, context):
    if payload.get("hang"):
        await asyncio.Event().wait()
    return "x" * payload.get("output", 0)
"""


def memory_of(server: Instance) -> int:
    status = Path(f"/proc/{server.pid}/status").read_text()
    (kibibytes,) = re.findall(r"VmRSS:\s+(\d+) kB", status)
    return int(kibibytes) * 1024


async def test_memory_stays_flat_under_runs_at_full_speed(tmp_path: Path) -> None:
    """Beyond its limit the server forgets old runs, small ones and large ones, and keeps answering."""
    limit = 24 * MIB
    folder = project(tmp_path / "project", AGENT, streaming={"memory": {"max_bytes": limit}})
    async with (
        alive([Instance(folder)]) as (server,),
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{server.port}", timeout=DEADLINE) as client,
    ):

        async def fill(until: float) -> None:
            sizes = (0, 200_000, 0, 10_000)
            number = 0
            while time.monotonic() < until:
                number += 1
                answer = await client.post("/runs", json={"output": sizes[number % len(sizes)]})
                assert answer.status_code == 202 or answer.json()["code"] == "STORE_FULL", answer.text

        async def attack(seconds: float) -> None:
            until = time.monotonic() + seconds
            await asyncio.gather(*(fill(until) for _ in range(16)))

        async def number(name: str) -> float:
            found = re.search(rf"^{name} (\S+)$", (await client.get("/metrics")).text, re.MULTILINE)
            assert found, name
            return float(found[1])

        while await number("dockrion_runs_evicted_total") < 50:
            await attack(1)
        settled, evicted = memory_of(server), await number("dockrion_runs_evicted_total")
        await attack(5)
        assert await number("dockrion_runs_evicted_total") > evicted + 100
        assert await number("dockrion_store_bytes") <= limit
        grown = memory_of(server) - settled
        assert grown < limit, f"{grown / MIB:.0f} MiB more, with a limit of {limit / MIB:.0f}"
        assert (await client.get("/health")).status_code == 200
        newest = (await client.get("/runs", params={"limit": 1})).json()["runs"][0]
        assert (await client.get(f"/runs/{newest['run_id']}")).status_code == 200
