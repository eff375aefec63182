"""However an execution is stopped, its nodes stop, and nothing of it is left."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest
from langgraph.graph import START, StateGraph

from dockrion_adapters import EventStream
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import EventsFilter, RunCancelled, get_current_context

from .states import Items, Numbers, chain
from .support import FILTERS, Log, collect, output_of

PATIENCE = 1.0  # seconds that a client's leaving may take to reach the agent


def endless(log: Log) -> Any:
    async def node(state: Any) -> None:
        log.add("begun")
        try:
            await asyncio.Event().wait()
            log.add("went on")
        finally:
            log.add("stopped")

    return node


def one(log: Log) -> Any:
    return StateGraph(Numbers).add_node("node", endless(log)).add_edge(START, "node").compile()


def in_subgraph(log: Log) -> Any:
    return StateGraph(Numbers).add_node("sub", one(log)).add_edge(START, "sub").compile()


def in_awaited_subgraph(log: Log) -> Any:
    inner = one(log)

    async def call(state: Numbers) -> Any:
        return await inner.ainvoke({"x": 1})

    return StateGraph(Numbers).add_node(call).add_edge(START, "call").compile()


def in_task(log: Log) -> Any:
    async def node(state: Numbers) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(endless(log)(state))

    return StateGraph(Numbers).add_node(node).add_edge(START, "node").compile()


def before_another(log: Log) -> Any:
    builder = chain(Numbers, "a").add_node("node", endless(log)).add_edge("a", "node")
    return builder.add_node("next", lambda _: log.add("next")).add_edge("node", "next").compile()


SHAPES = (one, in_subgraph, in_awaited_subgraph, in_task, before_another)

Stop = Callable[[EventStream[Any], Log], Awaitable[None]]


async def begun(stream: EventStream[Any], log: Log) -> None:
    await anext(stream)
    await log.reached("begun")


async def by_aclose(stream: EventStream[Any], log: Log) -> None:
    await begun(stream, log)
    await stream.aclose()


async def by_leaving_the_block(stream: EventStream[Any], log: Log) -> None:
    async with stream:
        await begun(stream, log)


async def by_an_error_in_the_block(stream: EventStream[Any], log: Log) -> None:
    with suppress(ZeroDivisionError):
        async with stream:
            await begun(stream, log)
            raise ZeroDivisionError


async def by_cancelling_the_reader(stream: EventStream[Any], log: Log) -> None:
    async def read() -> None:
        async for _ in stream:
            pass

    task = asyncio.create_task(read())
    await log.reached("begun")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_a_time_limit(stream: EventStream[Any], log: Log) -> None:
    async def limited() -> None:
        async with asyncio.timeout(None) as limit:
            await begun(stream, log)
            limit.reschedule(asyncio.get_running_loop().time())
            async for _ in stream:
                pass

    with pytest.raises(TimeoutError):
        await limited()


async def by_dropping_it(stream: EventStream[Any], log: Log) -> None:
    await begun(stream, log)
    # The caller's reference is gone already: it hands its stream over.


WAYS = (
    by_aclose, by_leaving_the_block, by_an_error_in_the_block, by_cancelling_the_reader, by_a_time_limit,
    by_dropping_it,
)  # fmt: skip


@pytest.mark.parametrize("stop", WAYS)
@pytest.mark.parametrize("shape", SHAPES)
async def test_nodes_stop(shape: Any, stop: Stop) -> None:
    log = Log()
    await stop(LangGraphAdapter(shape(log)).invoke_stream({"x": 1}), log)
    told = time.monotonic()
    await log.reached("stopped")
    assert time.monotonic() - told < PATIENCE
    assert log.done == ["begun", "stopped"]


@pytest.mark.parametrize("events", FILTERS, ids=str)
async def test_whatever_is_watched(events: Any) -> None:
    log = Log()
    stream = LangGraphAdapter(in_subgraph(log)).invoke_stream({"x": 1}, events_filter=EventsFilter(events))
    await by_aclose(stream, log)
    assert log.done == ["begun", "stopped"]


async def test_all_of_many_parallel_nodes_stop() -> None:
    log = Log()
    builder = StateGraph(Items)
    for place in range(20):
        builder.add_node(f"n{place}", endless(log)).add_edge(START, f"n{place}")
    await by_aclose(LangGraphAdapter(builder.compile()).invoke_stream({"items": []}), log)
    assert log.done.count("begun") == log.done.count("stopped") == 20


@pytest.mark.parametrize("shape", SHAPES)
async def test_cancelling_ainvoke(shape: Any) -> None:
    log = Log()
    task = asyncio.create_task(LangGraphAdapter(shape(log)).ainvoke({"x": 1}))
    await log.reached("begun")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.done == ["begun", "stopped"]


async def test_a_stream_that_was_closed_stays_closed() -> None:
    log = Log()
    stream = LangGraphAdapter(one(log)).invoke_stream({"x": 1})
    await by_aclose(stream, log)
    await stream.aclose()
    assert [event async for event in stream] == []


async def test_a_node_that_swallows_the_cancellation_ends_before_aclose_returns() -> None:
    log = Log()

    async def stubborn(state: Numbers) -> dict[str, Any]:
        log.add("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            for _ in range(5):
                await asyncio.sleep(0)
            log.add("ended")
        return {}

    graph = StateGraph(Numbers).add_node(stubborn).add_edge(START, "stubborn").compile()
    await by_aclose(LangGraphAdapter(graph).invoke_stream({"x": 1}), log)
    assert log.done == ["begun", "ended"]


# -- synchronous nodes: nobody can stop them, but their next emit does --------------------------------


class SyncNode:
    """Waits in its thread to be let go, then emits, and says what came of that."""

    def __init__(self) -> None:
        self.log = Log()
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.came_of_it: list[str] = []
        self._loop = asyncio.get_running_loop()

    def __call__(self, state: Numbers) -> dict[str, Any]:
        context = get_current_context()
        assert context is not None
        self._loop.call_soon_threadsafe(self.log.add, "begun")
        self.go_on.wait(20)
        try:
            self.came_of_it.append(f"cancelled={context.cancelled}")
            context.sync_emit("late")
            self.came_of_it.append("emitted")
        except RunCancelled:
            self.came_of_it.append("RunCancelled")
            raise
        finally:
            self.ended.set()
        return {"x": 2}

    def graph(self) -> Any:
        builder = StateGraph(Numbers).add_node("node", self.__call__).add_edge(START, "node")
        return builder.add_node("next", lambda _: self.log.add("next")).add_edge("node", "next").compile()

    async def let_go(self) -> None:
        self.go_on.set()
        assert await asyncio.to_thread(self.ended.wait, 20)


@pytest.mark.parametrize("stop", [by_aclose, by_leaving_the_block, by_cancelling_the_reader, by_a_time_limit])
async def test_the_next_emit_of_a_synchronous_node_raises(stop: Stop) -> None:
    node = SyncNode()
    await stop(LangGraphAdapter(node.graph()).invoke_stream({"x": 1}), node.log)
    await node.let_go()
    assert node.came_of_it == ["cancelled=True", "RunCancelled"]
    assert node.log.done == ["begun"]


async def test_what_a_failed_executions_sync_sibling_emits_late_is_discarded() -> None:
    node = SyncNode()

    async def fail(state: Numbers) -> None:
        await node.log.reached("begun")
        raise ValueError("no")

    graph = StateGraph(Numbers).add_node("node", node.__call__).add_node(fail)
    adapter = LangGraphAdapter(graph.add_edge(START, "node").add_edge(START, "fail").compile())
    with pytest.raises(ValueError, match="no"):
        await collect(adapter, {"x": 1})
    await node.let_go()
    assert node.came_of_it == ["cancelled=False", "emitted"]


async def test_what_a_stray_thread_emits_after_the_end_is_discarded() -> None:
    go_on = threading.Event()
    threads: list[threading.Thread] = []

    def node(state: Numbers) -> dict[str, Any]:
        context = get_current_context()
        assert context is not None

        def late() -> None:
            go_on.wait(20)
            for _ in range(10):
                context.sync_emit("late")

        threads.append(threading.Thread(target=context.wrap(late)))
        threads[0].start()
        return {"x": 2}

    received = await collect(
        StateGraph(Numbers).add_node(node).add_edge(START, "node").compile(), {"x": 1}, events=["custom"]
    )
    go_on.set()
    await asyncio.to_thread(threads[0].join, 20)
    assert [event.type for event in received] == ["started", "complete"]
    assert output_of(received) == {"x": 2, "trail": []}
