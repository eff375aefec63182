"""Executors without a server around them: one store, one agent, and processes that come and go."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from dockrion_events.bus import EventBackend, MemoryBackend, RunRecord
from dockrion_runtime.assembly import assemble
from dockrion_runtime.runs.executor import Executor
from dockrion_runtime.runs.ids import id_generator
from dockrion_runtime.runs.request import RunRequest
from dockrion_runtime.runs.service import Runs

from .conftest import DEADLINE, agent_module, dockfile

LEASE = 0.1


class SharedMemory(MemoryBackend):
    """The store of several executors in one process: to each of them, it outlives itself."""

    durable = True


class House:
    """One agent and one store; executors of both come and go, each like a process of its own."""

    def __init__(self, agent: Any, backend: EventBackend, *, framework: str | None, **sections: Any) -> None:
        module = agent_module(agent=agent)
        key: dict[str, Any] = {"handler": f"{module}:agent"}
        if framework is not None:
            key = {"entrypoint": f"{module}:agent", "framework": framework}
        file = dockfile(key, {"streaming": {"async_runs": True, **sections}})
        service, _ = assemble(file, {}, executing=False)
        self.backend = backend
        self.runs = Runs(service, lambda: backend, id_generator(file), executing=False)
        self._executors: list[Executor] = []

    def executor(self, on_lost: str = "fail", *, slots: int = 8, lease: float = LEASE) -> Executor:
        """Return an executor that has been started."""
        made = Executor(
            self.backend,
            self.runs,
            max_concurrent=slots,
            lease_seconds=lease,
            on_lost=on_lost,
        )
        self._executors.append(made)
        made.start()
        return made

    async def make(self, run_id: str = "r", payload: Any = None, *, thread: str | None = None) -> str:
        """Accept a run and return its key."""
        request = RunRequest({} if payload is None else payload, thread).encode()
        record, new = await self.backend.create_run(run_id, owner="", request=request)
        assert new
        return record.key

    async def end(self) -> None:
        for executor in self._executors:
            await executor.stop(0)
        await self.backend.close()

    async def events(self, key: str) -> list[dict[str, Any]]:
        """Follow a run to its end and return all its events, numbered without a hole."""
        follower = await self.backend.follow(key, after=0)
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(DEADLINE):
            while not follower.ended:
                found += [json.loads(event.json) for event in await follower.next_batch()]
        assert [event["sequence"] for event in found] == list(range(1, len(found) + 1))
        return found

    async def reaches(self, key: str, kind: str) -> None:
        """Return when an event of this type is in the run's log."""
        follower = await self.backend.follow(key, after=0)
        async with asyncio.timeout(DEADLINE):
            while not any(event.type == kind for event in await follower.next_batch()):
                pass

    async def record(self, key: str) -> RunRecord:
        return await self.backend.get_run(key)


class Agent:
    """Runs until it is let go; counts how many run at once."""

    def __init__(self) -> None:
        self.calls = 0
        self.at_once = 0
        self.most = 0
        self.entered = asyncio.Event()
        self.go_on = asyncio.Event()

    def handler(self) -> Any:
        async def held(payload: dict[str, Any], context: Any) -> str:
            self.calls += 1
            self.at_once += 1
            self.most = max(self.most, self.at_once)
            try:
                await context.emit_token("begun")
                self.entered.set()
                await self.go_on.wait()
                await context.emit_token("over")
            finally:
                self.at_once -= 1
            return "done"

        return held


class SlowStore(SharedMemory):
    """A store whose appends wait, while it is told so."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = asyncio.Event()
        self.answers = asyncio.Event()
        self.answers.set()

    async def append(self, claim: Any, events: Any) -> None:
        self.asked.set()
        await self.answers.wait()
        await super().append(claim, events)


@asynccontextmanager
async def house(
    agent: Any, backend: EventBackend | None = None, *, framework: str | None = None, **streaming: Any
) -> AsyncIterator[House]:
    """Open a store with an agent; its executors end with the block."""
    made = House(agent, backend or SharedMemory(), framework=framework, **streaming)
    await made.backend.open()
    try:
        yield made
    finally:
        await made.end()


async def until(condition: Any) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():  # noqa: ASYNC110 - it looks at the executor from outside
            await asyncio.sleep(0.005)


async def die(executor: Executor) -> None:
    """Stop an executor's tasks where they are; it gives nothing back and ends nothing."""
    tasks = [*executor._loops, *executor._running]
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def idle(executor: Executor) -> None:
    """Return when the executor executes nothing."""
    async with asyncio.timeout(DEADLINE):
        while executor._running:
            await asyncio.wait(executor._running)


def kinds(events: list[dict[str, Any]]) -> list[str]:
    """Return what happened, in short: types, and the names of steps and tokens' content."""
    return [event.get("node_name") or event.get("content") or event["type"] for event in events]
