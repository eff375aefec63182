"""One agent that hangs, exits or blocks; and the runs beside it, in its own process and in others."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from ..chaos.processes import Instance, alive, project
from ..chaos.wire import Frame, ask, followed, request
from ..servers.redis import RedisServer

LEASE = 1.0
PATIENCE = 150.0

AGENT = """
import asyncio, os, pathlib, re, threading, time

here = pathlib.Path(__file__).parent

async def handle(payload, context):
    kind = payload["kind"]
    with here.joinpath(f"begun-{kind}").open("a") as file:
        file.write(f"{os.getpid()}\\n")
    if kind == "exits late":
        await context.emit_token("begun")
        await asyncio.sleep(0.5)
        os._exit(3)
    if kind == "exits":
        os._exit(3)
    if kind == "holds the interpreter":
        await context.emit_token("begun")
        await asyncio.sleep(0.3)
        re.match("(a+)+$", "a" * 40 + "b")
    for _ in range(payload.get("steps", 0)):
        await asyncio.sleep(0.1)
        await context.emit_token("step")
    return "done"

def hangs(payload, context):
    if payload["kind"] == "hangs":
        context.sync_emit_token("begun")
        threading.Event().wait()
    return "done"
"""


async def log(port: int, run: str) -> list[Frame]:
    """Follow a run to its end, over every break."""
    found: list[Frame] = []
    async with asyncio.timeout(PATIENCE):
        while not found or found[-1].event not in ("complete", "error", "cancelled"):
            try:
                async with followed(port, run, after=len(found), patience=20) as response:
                    found += [frame async for frame in response.frames(20) if frame.data is not None]
            except (OSError, EOFError, TimeoutError, asyncio.IncompleteReadError):
                await asyncio.sleep(0.1)
    return found


async def make(port: int, run: str, payload: Any) -> None:
    answer = await ask(port, "POST", f"/runs?run_id={run}", body=payload)
    assert answer.status == 202, answer


@pytest.mark.timeout(240)
@pytest.mark.parametrize(
    ("kind", "policy"), [("exits", "restart"), ("exits late", "resume"), ("holds the interpreter", "restart")]
)
async def test_an_agent_that_takes_its_process_along_ends_alone(
    shared_redis: RedisServer, tmp_path: Path, kind: str, policy: str
) -> None:
    """All that are executed beside it complete, and its end says what is true."""
    folder = project(
        tmp_path,
        AGENT,
        name=f"neighbours-{kind.replace(' ', '-')}-{policy}",
        redis=shared_redis.url,
        streaming={"runs": {"lease_seconds": LEASE, "on_executor_lost": policy}},
    )
    accepting = Instance(folder, "--no-executor")
    executing = [Instance(folder, worker=True) for _ in range(2)]
    begun = folder / f"begun-{kind}"

    async def keep_up(instance: Instance) -> None:
        """Start a process again whenever it has gone, or hangs for longer than its lease."""
        while True:
            instance.start()
            await instance.ready()
            while instance.process.poll() is None:
                await asyncio.sleep(0.1)
                hanging = kind == "holds the interpreter" and begun.exists()
                if hanging and str(instance.pid) in begun.read_text().split():
                    await asyncio.sleep(3 * LEASE)
                    instance.kill()

    async with alive([accepting]):
        innocent = [f"innocent-{number}" for number in range(5)]
        for run in innocent:
            await make(accepting.port, run, {"kind": "innocent", "steps": 15})
        await make(accepting.port, "guilty", {"kind": kind})
        keeping = [asyncio.create_task(keep_up(instance)) for instance in executing]
        try:
            guilty, *others = await asyncio.gather(
                *(log(accepting.port, run) for run in ("guilty", *innocent))
            )
        finally:
            for task, instance in zip(keeping, executing, strict=True):
                task.cancel()
                instance.kill()
    assert [events[-1].event for events in others] == ["complete"] * len(innocent)
    end = guilty[-1].json()
    assert (end["type"], end["code"]) == ("error", "EXECUTOR_LOST")
    assert "executed 5 times by a process that ended or stopped answering" in end["error"]
    assert "the last 3 times it executed no other run" in end["error"]
    assert 5 <= len(begun.read_text().split()) <= 6


async def test_abandoned_threads_leave_runs_to_a_healthy_server(
    shared_redis: RedisServer, tmp_path: Path
) -> None:
    folder = project(
        tmp_path,
        AGENT,
        agent={"name": "abandoned", "handler": "agent:hangs"},
        redis=shared_redis.url,
        streaming={"runs": {"lease_seconds": 10, "max_concurrent": 64}},
        expose={"shutdown_grace": 0.5},
    )
    async with alive([Instance(folder), Instance(folder)]) as (sick, healthy):
        # Until it is closed, an execution takes a place beside that of its thread: nobody leaves before all
        # are there.
        all_there = asyncio.Barrier(32)

        async def leave() -> None:
            async with request(
                sick.port, "POST", "/invoke/stream", body={"kind": "hangs"}, patience=60
            ) as response:
                async for frame in response.frames(60):
                    if frame.event == "token":
                        await all_there.wait()
                        return

        for _ in range(8):
            await asyncio.gather(*(leave() for _ in range(32)))
            async with asyncio.timeout(30):
                while json.loads((await ask(sick.port, "GET", "/info")).body)["active"]:  # noqa: ASYNC110
                    await asyncio.sleep(0.02)
        async with asyncio.timeout(30):
            while (ready := await ask(sick.port, "GET", "/ready")).status == 200:  # noqa: ASYNC110
                await asyncio.sleep(0.05)
        assert ready.status == 503
        assert json.loads(ready.body)["status"] == "too many abandoned threads"
        metrics = (await ask(sick.port, "GET", "/metrics")).body.decode()
        assert "\ndockrion_abandoned_threads 256.0\n" in metrics
        assert "\ndockrion_abandoned_threads_limit 128.0\n" in metrics
        assert (await ask(healthy.port, "GET", "/ready")).status == 200
        runs = [f"run-{number}" for number in range(100)]
        await asyncio.gather(*(make(healthy.port, run, {"kind": "quick"}) for run in runs))
        logs = await asyncio.gather(*(log(healthy.port, run) for run in runs))
        assert [events[-1].event for events in logs] == ["complete"] * len(runs)
        assert (await ask(sick.port, "GET", "/health")).status == 200
        refused = await ask(sick.port, "POST", "/invoke", body={"kind": "quick"})
        assert refused.status == 503
        assert "256 by cancelled code" in json.loads(refused.body)["detail"]
