"""An agent that tells what happens to it, and what tests ask of its runs."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from .wire import Answer, Frame, ask, followed

DEADLINE = 30.0

AGENT = """
import asyncio, os, pathlib, time

here = pathlib.Path(__file__).parent

async def handle(payload, context):
    run, pid = context.run_id, os.getpid()
    with (here / f"{run}.began").open("a") as file:
        file.write(f"{pid}\\n")
    try:
        for number in range(payload.get("tokens", 1)):
            await context.emit_token(f"{pid}:{number} " + "x" * payload.get("size", 0))
            await asyncio.sleep(payload.get("pause", 0))
        while payload.get("waits") and not (here / "go").exists():
            await asyncio.sleep(0.01)
        for number in range(payload.get("more", 0)):
            await context.emit_token(f"{pid}:more {number}")
            await asyncio.sleep(payload.get("pause", 0))
        return "done"
    except asyncio.CancelledError:
        (here / f"{run}.cancelled").write_text(str(time.time()))
        raise
"""


async def make(port: int, run: str, headers: dict[str, str] | None = None, **payload: Any) -> Answer:
    """Make a run that is new."""
    answer = await ask(port, "POST", f"/runs?run_id={run}", body=payload, headers=headers)
    assert answer.status == 202, answer
    return answer


async def frames(port: int, run: str, after: int = 0) -> list[Frame]:
    """Follow a run until the response ends; what is no event is left out."""
    async with followed(port, run, after) as response:
        assert response.status == 200, response.status
        found = [frame async for frame in response.frames(DEADLINE)]
    return [frame for frame in found if frame.data is not None and frame.event != "heartbeat"]


async def until_token(port: int, run: str, number: int = 1) -> int:
    """Return the pid of the executor once a run has had so many tokens."""
    async with followed(port, run) as response:
        async for frame in response.frames(DEADLINE):
            if frame.event == "token":
                number -= 1
                if not number:
                    return int(frame.json()["content"].partition(":")[0])
    raise AssertionError(f"{run} ended before that")


async def shown(port: int, run: str) -> dict[str, Any]:
    """Return the run's record."""
    answer = await ask(port, "GET", f"/runs/{run}")
    assert answer.status == 200, answer
    record: dict[str, Any] = answer.json()
    return record


async def eventually(condition: Callable[[], Awaitable[Any] | Any], seconds: float = DEADLINE) -> Any:
    """Wait until ``condition`` gives something true that can only be seen from outside; return that."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if isinstance(found, Awaitable):
            found = await found
        if found:
            return found
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        await asyncio.sleep(0.02)


async def cancelled(project: Path, run: str) -> float:
    """Return the time at which the run's agent was told to stop, once it was."""
    file = project / f"{run}.cancelled"
    await eventually(lambda: file.exists() and file.read_text())
    return float(file.read_text())


def began(project: Path, run: str) -> list[int]:
    """Return the pids that have executed a run, in order."""
    return [int(pid) for pid in (project / f"{run}.began").read_text().split()]


def sequences(found: Iterable[Frame]) -> list[int | None]:
    return [frame.id for frame in found]


def contiguous(found: list[Frame]) -> bool:
    """Whether these are a whole log: from 1, without holes, one start, one end."""
    kinds = [frame.event for frame in found]
    ends = [kind for kind in kinds if kind in ("complete", "error", "cancelled")]
    return (
        sequences(found) == list(range(1, len(found) + 1))
        and kinds.count("started") == 1
        and kinds[0] == "started"
        and len(ends) == 1
        and kinds[-1] == ends[0]
    )
