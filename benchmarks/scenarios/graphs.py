"""LangGraph's tokens, over SSE and through the adapter, against the bare ``graph.astream``."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable

from ..report import Goal, Row
from ..rounds import Plan, Sample, Streaming, alternate, sample_of, speed_row
from ..server import Server, Worker

TOKENS = 2000
OTHERS = 4  # the step and its start, the message and its end
Side = Callable[[], Awaitable[Sample]]
LOADS = ((1, 8, 0.8), (20, 1, 0.85))  # streams at once, how often, and the goal


async def measure(plan: Plan) -> list[Row]:
    rows: list[Row] = []
    with Server("graph", "chat") as server, Worker() as worker:
        for gives_way, source in ((True, "one by one"), (False, "in a burst")):
            body = _body(gives_way=gives_way)
            for streams, runs, goal in LOADS:
                over_sse = Streaming(
                    server, "/invoke/stream", body, tokens=TOKENS, streams=streams, runs=runs, others=OTHERS
                )
                bare = _in_process(worker, "astream", streams, runs, gives_way)
                name = f"LangGraph tokens {source} over SSE, {streams} stream{'s' * (streams > 1)}"
                rows.append(await _row(name, over_sse, bare, plan, goal))
                await over_sse.close()
            adapter = _in_process(worker, "invoke_stream", 1, 8, gives_way)
            bare = _in_process(worker, "astream", 1, 8, gives_way)
            rows.append(
                await _row(f"LangGraph tokens {source}, adapter.invoke_stream", adapter, bare, plan, 0.9)
            )
    return rows


def _body(*, gives_way: bool) -> bytes:
    """The payload that the worker gives to the bare graph, too."""
    messages = [{"role": "user", "content": "Say something."}]
    return json.dumps({"messages": messages, "tokens": TOKENS, "gives_way": gives_way}).encode()


def _in_process(worker: Worker, call: str, streams: int, runs: int, gives_way: bool) -> Side:
    async def once() -> Sample:
        took = worker.call(call, runs=runs, streams=streams, tokens=TOKENS, gives_way=gives_way)
        return sample_of(took, runs * streams * TOKENS)

    return once


async def _row(name: str, ours: Side, bare: Side, plan: Plan, goal: float) -> Row:
    pairs = await alternate(ours, bare, plan.rounds)
    return speed_row(f"{name}: of astream", pairs, Goal(at_least=goal))
