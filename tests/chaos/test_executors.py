"""Executors that die, that only seemed to, and requests that come many times."""

from __future__ import annotations

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ..servers import RedisServer
from .processes import GO_ON, STOP, Instance, alive, project
from .runs import AGENT, DEADLINE, began, cancelled, contiguous, eventually, frames, make, shown, until_token
from .wire import Frame, ask

pytestmark = pytest.mark.timeout(120)  # processes start, and time-outs are waited for

LEASE = 1.0


@pytest.fixture(scope="module")
async def trio(
    shared_redis: RedisServer, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[tuple[Path, list[Instance]]]:
    """Three servers of one agent, with the default lease of ten seconds."""
    folder = project(tmp_path_factory.mktemp("trio"), AGENT, name="trio", redis=shared_redis.url)
    async with alive(Instance(folder) for _ in range(3)) as servers:
        yield folder, servers


async def test_fifty_requests_over_three_servers_make_one_run(trio: tuple[Path, list[Instance]]) -> None:
    folder, servers = trio
    answers = await asyncio.gather(
        *(
            ask(servers[number % 3].port, "POST", "/runs?run_id=once", body={"tokens": 5})
            for number in range(50)
        )
    )
    assert sorted(answer.status for answer in answers) == [200] * 49 + [202]
    logs = await asyncio.gather(*(frames(server.port, "once") for server in servers))
    assert contiguous(logs[0])
    assert logs[0] == logs[1] == logs[2]
    assert len(began(folder, "once")) == 1
    other = await ask(servers[1].port, "POST", "/runs?run_id=once", body={"tokens": 6})
    assert (other.status, other.json()["code"]) == (409, "RUN_EXISTS")


async def test_the_runs_of_a_killed_server_end_within_fifteen_seconds(
    trio: tuple[Path, list[Instance]],
) -> None:
    _, servers = trio
    rng = random.Random(17)
    runs = {f"lost-{number}": rng.randint(1, 60) for number in range(12)}
    for run in runs:
        await make(rng.choice(servers).port, run, tokens=100, pause=0.02)
    executors = await asyncio.gather(
        *(until_token(servers[0].port, run, number) for run, number in runs.items())
    )
    victim = rng.choice([server for server in servers if server.pid in executors])
    left = [server for server in servers if server is not victim]

    async def ending(run: str) -> tuple[float, list[Frame]]:
        log = await frames(rng.choice(left).port, run)
        return time.monotonic(), log

    following = [asyncio.create_task(ending(run)) for run in runs]
    killed_at = time.monotonic()
    victim.kill()
    ends = await asyncio.gather(*following)
    lost = 0
    for (ended_at, log), executor in zip(ends, executors, strict=True):
        assert contiguous(log)
        if log[-1].event == "error":
            assert log[-1].json()["code"] == "EXECUTOR_LOST"
            assert executor == victim.pid
            assert ended_at - killed_at < 15
            lost += 1
        else:
            assert executor != victim.pid or log[-1].event == "complete"
    assert lost
    for run, (_, log) in zip(runs, ends, strict=True):
        record = await shown(left[0].port, run)
        assert record["status"] == ("completed" if log[-1].event == "complete" else "failed")
        assert record["last_sequence"] == len(log)


@pytest.mark.parametrize("policy", ["fail", "restart"])
async def test_an_executor_that_wakes_up_late_writes_nothing_more(
    shared_redis: RedisServer, tmp_path: Path, policy: str
) -> None:
    folder = project(
        tmp_path,
        AGENT,
        name=f"zombie-{policy}",
        redis=shared_redis.url,
        streaming={"runs": {"lease_seconds": LEASE, "on_executor_lost": policy}},
    )
    async with alive(Instance(folder) for _ in range(2)) as servers:
        run = "stopped"
        await make(servers[0].port, run, tokens=300, pause=0.02)
        pid = await until_token(servers[0].port, run, 5)
        zombie = next(server for server in servers if server.pid == pid)
        other = next(server for server in servers if server.pid != pid)
        following = asyncio.create_task(frames(other.port, run))
        zombie.signal(STOP)
        stopped_at = time.monotonic()
        taken = "restarted" if policy == "restart" else "error"
        await eventually(lambda: _has(other.port, run, taken))
        await asyncio.sleep(max(0.0, stopped_at + 3 * LEASE - time.monotonic()))  # it is stopped that long
        zombie.signal(GO_ON)
        await cancelled(folder, run)  # it has learned that the run is not its own any more
        log = await following
        assert contiguous(log)
        if policy == "fail":
            assert log[-1].json()["code"] == "EXECUTOR_LOST"
        else:
            at = [frame.event for frame in log].index("restarted")
            pids = {frame.json()["content"].partition(":")[0] for frame in log[at:] if frame.event == "token"}
            assert pids == {str(other.pid)}
            assert (log[at].json()["attempt"], log[-1].event) == (2, "complete")
        assert await frames(zombie.port, run) == log
        assert (await shown(zombie.port, run))["last_sequence"] == len(log)


async def _has(port: int, run: str, event: str) -> bool:
    answer = await ask(port, "GET", f"/runs/{run}/events?timeout=0.2", patience=DEADLINE)
    return f"event: {event}\n".encode() in answer.body


CANCELS = 120


async def test_a_cancel_on_one_server_reaches_the_agent_on_another(
    shared_redis: RedisServer, tmp_path: Path
) -> None:
    folder = project(
        tmp_path,
        AGENT,
        name="cancelled",
        redis=shared_redis.url,
        streaming={"runs": {"max_concurrent": CANCELS}},
    )
    async with alive([Instance(folder), Instance(folder, "--no-executor")]) as (executing, accepting):
        runs = [f"cancel-{number}" for number in range(CANCELS)]
        for run in runs:
            await make(executing.port, run, waits=True)
        pids = await asyncio.gather(*(until_token(accepting.port, run) for run in runs))
        assert set(pids) == {executing.pid}
        sent: dict[str, float] = {}
        for run in runs:
            sent[run] = time.time()
            answer = await ask(accepting.port, "DELETE", f"/runs/{run}")
            assert answer.json() == {"run_id": run, "status": "cancelled"}
        took = sorted([await cancelled(folder, run) - sent[run] for run in runs])
        assert took[int(0.99 * CANCELS) - 1] <= 0.25, json.dumps(took[-5:])
        for run in runs[::20]:
            log = await frames(executing.port, run)
            assert contiguous(log)
            assert log[-1].event == "cancelled"
