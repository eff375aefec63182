"""What runs on the server's core: a server, or a worker that runs a framework without a server.

``python -m benchmarks.child raw|handler|graph|runs FD`` serves on the listening socket FD until SIGTERM;
``python -m benchmarks.child worker`` reads one JSON command a line and answers each with one.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import json
import os
import socket
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, Final

import uvloop

from .machine import allow_open_files
from .sampling import Sampler

AGENTS: Final = Path(__file__).parent / "agents"
MODES: Final = ["updates", "values", "messages", "tasks", "custom"]
"""What dockrion asks of LangGraph where every event is allowed."""

Took = tuple[float, float]  # seconds by the clock, and of processor time


def main(role: str, *arguments: str) -> None:
    if role == "worker":
        work()
    else:
        allow_open_files(4096)
        serve(role, socket.socket(fileno=int(arguments[0])))


def profiled(role: str) -> AbstractContextManager[Any]:
    """Profile the block, where the run asks for it."""
    return Sampler(role) if os.environ.get("BENCHMARK_PROFILE") else nullcontext()


# -- servers ---------------------------------------------------------------------------------------


def serve(role: str, sock: socket.socket) -> None:
    """Serve the raw app, or dockrion's over ``agents/<role>.yaml``, with one and the same uvicorn."""
    if role == "raw":
        serve_raw(sock)
        return
    from dockrion_runtime import create_app, server
    from dockrion_sdk import load_dockfile

    executing = bool(os.environ.get("BENCHMARK_EXECUTING", "yes"))
    app = create_app(load_dockfile(AGENTS / f"{role}.yaml"), executing=executing)
    if role == "runs":
        from .probes import ROUTES

        for route in ROUTES:
            app.register(route)
    with profiled(f"{role} {os.environ['BENCHMARK_AGENT']}"):
        server.serve(app, sock)


def serve_raw(sock: socket.socket) -> None:
    import uvicorn

    from dockrion_runtime.server import server_config

    from .raw import app

    config = server_config(app)
    server = uvicorn.Server(config)
    with asyncio.Runner(loop_factory=config.get_loop_factory()) as runner, profiled("raw"):
        runner.run(server.serve(sockets=[sock]))


# -- the worker ------------------------------------------------------------------------------------


def work() -> None:
    """Answer commands until the input ends: the seconds that one took, and its processor time."""
    sys.path.insert(0, str(AGENTS))
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, profiled("worker"):
        for line in sys.stdin:
            command = json.loads(line)
            gc.collect()
            print(json.dumps(runner.run(_command(command.pop("call"))(**command))), flush=True)


def _command(name: str) -> Callable[..., Any]:
    """Return one of `COMMANDS`, or of a module in ``benchmarks.work``."""
    module, _, function = name.rpartition(".")
    if not module:
        return COMMANDS[name]
    found: Callable[..., Any] = getattr(importlib.import_module(f"benchmarks.work.{module}"), function)
    return found


class Stopwatch:
    """Runs from when it is made."""

    def __init__(self) -> None:
        self._cpu = time.process_time()
        self._clock = time.perf_counter()

    def took(self) -> Took:
        return time.perf_counter() - self._clock, time.process_time() - self._cpu


async def astream(*, runs: int, streams: int, tokens: int, gives_way: bool) -> Took:
    """Stream the bare graph: ``runs`` times, ``streams`` at once."""
    import graphs
    from langchain_core.messages import AIMessageChunk

    payload = graphs.chat_payload(tokens, gives_way=gives_way)

    async def one() -> int:
        parts = graphs.chat.astream(payload, stream_mode=MODES, subgraphs=True)
        seen = 0
        async for _, mode, data in parts:
            if mode == "messages" and isinstance(data[0], AIMessageChunk) and data[0].content:
                seen += 1
        return seen

    return await _timed(one, runs, streams, tokens)


async def invoke_stream(*, runs: int, streams: int, tokens: int, gives_way: bool) -> Took:
    """Stream the same graph through dockrion's adapter, as a library."""
    import graphs

    from dockrion_adapters import get_adapter
    from dockrion_events import TokenEvent

    adapter: Any = get_adapter("langgraph")
    adapter.load(graphs.chat)
    payload = graphs.chat_payload(tokens, gives_way=gives_way)

    async def one() -> int:
        events: AsyncIterator[Any] = adapter.invoke_stream(payload)
        seen = 0
        async for event in events:
            if isinstance(event, TokenEvent) and event.content:
                seen += 1
        return seen

    return await _timed(one, runs, streams, tokens)


async def ainvoke(*, runs: int, callers: int, payload: dict[str, Any]) -> Took:
    """Invoke the bare chain of nodes ``runs`` times for each of ``callers``, who do so at once."""
    import graphs

    async def call() -> None:
        for _ in range(runs):
            output = await graphs.chain.ainvoke(payload)
            if output["count"] != graphs.NODES:
                raise RuntimeError(f"the chain returned {output}")

    watch = Stopwatch()
    await asyncio.gather(*[call() for _ in range(callers)])
    return watch.took()


async def _timed(one: Callable[[], Any], runs: int, streams: int, tokens: int) -> Took:
    watch = Stopwatch()
    for _ in range(runs):
        seen = await asyncio.gather(*[one() for _ in range(streams)])
        if seen != [tokens] * streams:
            raise RuntimeError(f"{tokens} tokens were due in each stream, and {seen} came")
    return watch.took()


COMMANDS: Final[dict[str, Callable[..., Any]]] = {
    "astream": astream,
    "invoke_stream": invoke_stream,
    "ainvoke": ainvoke,
}

if __name__ == "__main__":
    main(*sys.argv[1:])
