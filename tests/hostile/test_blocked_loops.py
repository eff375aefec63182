"""An agent that blocks the event loop: it is named, and no lease is lost for it."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from ..chaos.processes import Instance, alive, project
from ..chaos.wire import Frame, ask, followed
from ..servers.redis import RedisServer

LEASE = 1.0
BLOCKED = 6.0

AGENT = """
import asyncio, os, time

async def handle(payload, context):
    await context.emit_token(f"begun {os.getpid()}")
    if payload.get("block"):
        the_culprit(payload["block"])
    for _ in range(payload.get("steps", 0)):
        await asyncio.sleep(0.1)
        await context.emit_token("step")
    return os.getpid()

def the_culprit(seconds):
    secret_local = "do not show this"
    time.sleep(seconds)
"""


async def frames(port: int, run: str) -> list[Frame]:
    async with followed(port, run, patience=60) as response:
        return [frame async for frame in response.frames(60) if frame.data is not None]


@pytest.mark.parametrize("policy", ["restart", "fail"])
async def test_a_blocked_loop_costs_no_lease(shared_redis: RedisServer, tmp_path: Path, policy: str) -> None:
    folder = project(
        tmp_path,
        AGENT,
        name=f"blocked-{policy}",
        redis=shared_redis.url,
        streaming={"runs": {"lease_seconds": LEASE, "on_executor_lost": policy}},
    )
    executing, other = Instance(folder), Instance(folder, worker=True)
    accepting = Instance(folder, "--no-executor")
    async with alive([executing, accepting]):
        runs = {f"beside-{number}": {"steps": 80} for number in range(4)}
        for run, payload in runs.items():
            assert (await ask(accepting.port, "POST", f"/runs?run_id={run}", body=payload)).status == 202
        await _begun(accepting.port, "beside-3")
        other.start()  # only now, so that all of them are executed by the one that will be blocked
        try:
            await other.ready()
            other.signal(19)  # it claims nothing new; it wakes up to look for lost runs
            made = await ask(
                accepting.port, "POST", "/runs?run_id=culprit", body={"block": BLOCKED, "steps": 1}
            )
            assert made.status == 202
            await _begun(accepting.port, "culprit")
            other.signal(18)
            logs = await asyncio.gather(*(frames(accepting.port, run) for run in ("culprit", *runs)))
        finally:
            other.kill()
        for log in logs:
            kinds = [frame.event for frame in log]
            assert kinds[-1] == "complete", log[-1]
            assert "restarted" not in kinds
        text = executing.log.read_text()
        warnings = [json.loads(line) for line in text.splitlines() if "has been blocked for" in line]
        assert len(warnings) == 1
        told = warnings[0]["event"]
        assert "in the_culprit\n    time.sleep(seconds)" in told
        assert "do not show this" not in told
        assert "uvicorn" not in told
        assert "dockrion_runtime" not in told
        metrics = (await ask(executing.port, "GET", "/metrics")).body.decode()
        assert _late(metrics, "+Inf") - _late(metrics, "5.0") == 1


def _late(metrics: str, bound: str) -> int:
    match = re.search(rf'^dockrion_loop_lag_seconds_bucket{{le="{re.escape(bound)}"}} (\S+)$', metrics, re.M)
    assert match
    return int(float(match[1]))


async def _begun(port: int, run: str) -> None:
    async with followed(port, run, patience=60) as response:
        async for frame in response.frames(60):
            if frame.event == "token":
                return


async def test_runs_in_memory_are_not_lost_to_their_own_loop(tmp_path: Path) -> None:
    folder = project(
        tmp_path, AGENT, streaming={"runs": {"lease_seconds": LEASE, "on_executor_lost": "fail"}}
    )
    async with alive([Instance(folder)]) as (server,):
        bodies: list[tuple[str, Any]] = [("beside", {"steps": 30}), ("culprit", {"block": 3.5, "steps": 1})]
        for run, body in bodies:
            assert (await ask(server.port, "POST", f"/runs?run_id={run}", body=body)).status == 202
        for run, _ in bodies:
            assert (await frames(server.port, run))[-1].event == "complete"
