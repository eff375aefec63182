"""What tests of resuming share: checkpoints that outlive a process, and nodes that count their executions."""

from __future__ import annotations

import asyncio
import copy
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import Event

from .states import Numbers, grow
from .support import check_form

THREAD: dict[str, Any] = {"configurable": {"thread_id": "t"}}
ROW = {"x": 3, "trail": ["a", "b", "c"]}
KINDS = ("memory", "sqlite", "aiosqlite")


class Disk:
    """Checkpoints that outlive a process: what `died` returns is what a kill would leave behind now."""

    def __init__(self, kind: str, folder: Path, memory: InMemorySaver | None = None) -> None:
        self.kind = kind
        self._folder = folder
        self._path = folder / "0.db"
        self._memory = memory or InMemorySaver()
        self._deaths = 0

    @asynccontextmanager
    async def saver(self) -> AsyncIterator[Any]:
        if self.kind == "memory":
            yield self._memory
        elif self.kind == "sqlite":
            with SqliteSaver.from_conn_string(str(self._path)) as saver:
                yield saver
        else:
            async with AsyncSqliteSaver.from_conn_string(str(self._path)) as made:
                yield made

    def died(self) -> Disk:
        left = Disk(self.kind, self._folder)
        left._deaths = self._deaths + 1
        left._path = self._folder / f"{left._deaths}.db"
        if self.kind == "memory":
            for name in ("storage", "writes", "blobs"):
                getattr(left._memory, name).update(copy.deepcopy(dict(getattr(self._memory, name))))
        else:
            source, target = sqlite3.connect(self._path), sqlite3.connect(left._path)
            source.backup(target)
            source.close()
            target.close()
        return left


class Work:
    """Nodes that count their executions, and one that is held until its process is dead."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self._loop = asyncio.get_running_loop()
        self._reached = asyncio.Event()
        self._go_on = threading.Event()

    def node(self, name: str) -> Callable[[Any], dict[str, Any]]:
        def run(state: Any) -> dict[str, Any]:
            self.done.append(name)
            return grow(name)(state)

        return run

    def held(self, name: str) -> Callable[[Any], dict[str, Any]]:
        def run(state: Any) -> dict[str, Any]:
            self.done.append(name)
            self._loop.call_soon_threadsafe(self._reached.set)
            self._go_on.wait(20)
            return grow(name)(state)

        return run

    def row(self, held: str | None = None, state: Any = Numbers, **schemas: Any) -> StateGraph[Any]:
        builder = StateGraph(state, **schemas)
        for name in "abc":
            builder.add_node(name, self.held(name) if name == held else self.node(name))
        return builder.add_edge(START, "a").add_edge("a", "b").add_edge("b", "c")

    async def dies(self, disk: Disk, builder: Any, payload: Any, run: str = "r", **options: Any) -> Disk:
        """Execute up to the held node and return what a kill there leaves on the disk."""
        options = {"config": THREAD, "durability": "sync", **options}
        async with disk.saver() as saver:
            adapter = LangGraphAdapter(builder.compile(checkpointer=saver))
            async with adapter.run_stream(payload, run=run, **options) as stream:
                await anext(stream)
                await self._reached.wait()
                left = disk.died()
        self._go_on.set()
        return left


async def ends(
    graph: Any, payload: Any, run: str = "r", *, resume: bool = True, **options: Any
) -> list[Event]:
    """Execute to the end, on another process as it were, and return the events."""
    adapter = graph if isinstance(graph, LangGraphAdapter) else LangGraphAdapter(graph)
    options = {"config": THREAD, **options}
    async with adapter.run_stream(payload, run=run, resume=resume, **options) as stream:
        received = [event async for event in stream]
    check_form(received)
    return received
