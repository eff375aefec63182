"""A process dies in the middle of a graph; another one goes on from the graph's last checkpoint."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ..servers import RedisServer
from .processes import Instance, alive, project
from .runs import DEADLINE, contiguous, eventually, frames, make, shown
from .wire import Frame

AGENT = """
import asyncio, contextlib, operator, os
from pathlib import Path
from typing import Annotated

from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

HERE = Path(__file__).parent


class State(TypedDict, total=False):
    trail: Annotated[list[str], operator.add]


def node(name, waits=False):
    async def run(state):
        if waits:
            (HERE / "waiting").write_text(str(os.getpid()))
            while not (HERE / "go_on").exists():
                await asyncio.sleep(0.01)
        with (HERE / "done").open("a") as done:
            done.write(f"{name} {os.getpid()}\\n")
        return {"trail": [name]}

    return run if not os.environ.get("SYNC") else lambda state: asyncio.run(run(state))


def builder():
    graph = StateGraph(State)
    graph.add_node("a", node("a")).add_node("b", node("b", waits=True)).add_node("c", node("c"))
    return graph.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c")


@contextlib.asynccontextmanager
async def graph():
    if os.environ.get("SYNC"):
        with SqliteSaver.from_conn_string(str(HERE / "checkpoints.db")) as saver:
            yield builder().compile(checkpointer=saver)
    else:
        async with AsyncSqliteSaver.from_conn_string(str(HERE / "checkpoints.db")) as saver:
            yield builder().compile(checkpointer=saver)
"""


HELD = 3
"""Checkpoints of a run whose second node is executed: its input, the beginning, and the first node."""


def written(folder: Path, redis: str, policy: str) -> Path:
    return project(
        folder,
        AGENT,
        redis=redis,
        agent={"name": folder.name, "entrypoint": "agent:graph", "framework": "langgraph"},
        expose={"shutdown_grace": 0.1},
        streaming={
            "events": {"allowed": ["step"]},
            "runs": {"on_executor_lost": policy, "lease_seconds": 1.0},
        },
    )


def finished(folder: Path) -> list[tuple[str, int]]:
    """Return the nodes that finished, in order, each with the process that executed it."""
    lines = (folder / "done").read_text().splitlines()
    return [(name, int(pid)) for name, pid in (line.split() for line in lines)]


def checkpoints(folder: Path) -> int:
    with closing(sqlite3.connect(folder / "checkpoints.db")) as disk:
        return int(disk.execute("SELECT count(*) FROM checkpoints").fetchone()[0])


async def until_held(folder: Path) -> None:
    """Return when the second node is executed, and what came before it is on the disk."""
    await eventually((folder / "waiting").exists)
    await eventually(lambda: checkpoints(folder) == HELD)


def in_short(log: list[Frame]) -> list[str]:
    return [frame.json().get("node_name", frame.event) for frame in log]


@pytest.mark.parametrize("saver", ["synchronous", "asynchronous"])
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "told to end"])
async def test_finished_nodes_are_not_executed_again(
    shared_redis: RedisServer, tmp_path: Path, saver: str, end: signal.Signals
) -> None:
    folder = written(tmp_path / f"{saver}-{end}", shared_redis.url, "resume")
    env = {"SYNC": "1"} if saver == "synchronous" else {}
    first, second = (Instance(folder, worker=True, env=env) for _ in range(2))
    async with alive([Instance(folder, "--no-executor", env=env), first]) as (server, _):
        await make(server.port, "walk")
        await until_held(folder)
        first.signal(end)
        await first.ended(DEADLINE)
        (folder / "go_on").touch()
        async with alive([second]):
            log = await frames(server.port, "walk")
            record = await shown(server.port, "walk")
    assert contiguous(log)
    assert in_short(log) == ["started", "a", "restarted", "b", "c", "complete"]
    assert log[-1].json()["output"] == {"trail": ["a", "b", "c"]}
    assert (record["status"], record["attempt"]) == ("completed", 2)
    assert finished(folder) == [("a", first.pid), ("b", second.pid), ("c", second.pid)]


async def test_a_process_may_die_in_every_attempt(shared_redis: RedisServer, tmp_path: Path) -> None:
    folder = written(tmp_path / "again", shared_redis.url, "resume")
    async with alive([Instance(folder, "--no-executor")]) as (server,):
        await make(server.port, "walk")
        for _ in range(3):
            async with alive([Instance(folder, worker=True)]):
                await until_held(folder)
            (folder / "waiting").unlink()
        (folder / "go_on").touch()
        async with alive([Instance(folder, worker=True)]):
            log = await frames(server.port, "walk")
    assert contiguous(log)
    assert in_short(log) == ["started", "a", *["restarted"] * 3, "b", "c", "complete"]
    assert [name for name, _ in finished(folder)] == ["a", "b", "c"]


async def test_under_restart_they_are(shared_redis: RedisServer, tmp_path: Path) -> None:
    folder = written(tmp_path / "restarted", shared_redis.url, "restart")
    first, second = (Instance(folder, worker=True) for _ in range(2))
    async with alive([Instance(folder, "--no-executor"), first]) as (server, _):
        await make(server.port, "walk")
        await until_held(folder)
        first.kill()
        (folder / "go_on").touch()
        async with alive([second]):
            log = await frames(server.port, "walk")
    assert contiguous(log)
    assert in_short(log) == ["started", "a", "restarted", "a", "b", "c", "complete"]
    assert [name for name, _ in finished(folder)] == ["a", "a", "b", "c"]
