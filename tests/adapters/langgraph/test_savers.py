"""Checkpointers: synchronous, asynchronous and in memory; which is which is asked once."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig
from langchain_core.tools import tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import Command, interrupt

from dockrion_adapters import WorkerPool, abandoned_threads
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import RunCancelled, get_current_context

from .states import Numbers, chain
from .support import Log, Scripted, chunks_of, collect, customs, output_of, steps, tokens, until_failure
from .test_tokens import HI, WORDS, graph_of, sync_node

CONFIG: dict[str, Any] = {"configurable": {"thread_id": "t"}}


class Counting(SqliteSaver):
    """Synchronous only, and counts how often that was found out."""

    asked = 0

    async def aget_tuple(self, config: RunnableConfig) -> Any:
        self.asked += 1
        return await super().aget_tuple(config)


@pytest.fixture
def saver(tmp_path: Path) -> Iterator[Counting]:
    with Counting.from_conn_string(str(tmp_path / "db")) as made:
        counting = Counting(made.conn)
        yield counting


def asking() -> Any:
    def ask(state: Numbers) -> dict[str, Any]:
        context = get_current_context()
        if context is not None:  # None where the graph runs bare
            context.sync_emit("asking", on_the_loop=threading.current_thread() is threading.main_thread())
        return {"trail": [interrupt("?")]}

    return chain(Numbers, "a").add_node("ask", ask).add_edge("a", "ask")


async def test_bare_it_would_not_run(saver: Counting) -> None:
    with pytest.raises(NotImplementedError):
        await asking().compile(checkpointer=saver).ainvoke({"x": 0}, CONFIG)


async def test_a_synchronous_saver_works_and_is_asked_once(saver: Counting) -> None:
    adapter = LangGraphAdapter(asking().compile(checkpointer=saver))
    received = await collect(adapter, {"x": 0}, config=CONFIG)
    assert steps(received) == ["a"]
    assert customs(received) == [("asking", {"on_the_loop": False})]
    assert [one.value for one in output_of(received)["__interrupt__"]] == ["?"]
    received = await collect(adapter, Command(resume="yes"), config=CONFIG)
    assert output_of(received) == {"x": 1, "trail": ["a", "yes"]}
    assert saver.asked == 1


async def test_ainvoke_and_invoke_with_a_synchronous_saver(saver: Counting) -> None:
    graph = asking().compile(checkpointer=saver)
    adapter = LangGraphAdapter(graph)
    first = await adapter.ainvoke({"x": 0}, config=CONFIG)
    assert [one.value for one in first["__interrupt__"]] == ["?"]
    assert adapter.invoke(Command(resume="yes"), config=CONFIG) == {"x": 1, "trail": ["a", "yes"]}
    other = {"configurable": {"thread_id": "other"}}
    output = await adapter.ainvoke({"x": 5}, config=other, output_keys="x", interrupt_before=["ask"])
    assert output == graph.get_state(other).values["x"] == 6


async def test_tokens_with_a_synchronous_saver(saver: Counting) -> None:
    builder = StateGraph(graph_of(talk=sync_node(None)).builder.state_schema)
    builder.add_node("talk", sync_node(Scripted(chunks=chunks_of("one two three")))).add_edge(START, "talk")
    received = await collect(builder.compile(checkpointer=saver), HI, config=CONFIG)
    assert tokens(received) == WORDS


@pytest.mark.parametrize("kind", [InMemorySaver, None, "sqlite"])
async def test_a_nodes_own_not_implemented_error_is_the_nodes(kind: Any, saver: Counting) -> None:
    def fail(state: Numbers) -> None:
        raise NotImplementedError("mine")

    used = saver if kind == "sqlite" else kind and kind()
    graph = StateGraph(Numbers).add_node(fail).add_edge(START, "fail").compile(checkpointer=used)
    adapter = LangGraphAdapter(graph)
    for _ in range(2):
        received, error = await until_failure(adapter.invoke_stream({"x": 0}, config=CONFIG))
        assert type(error) is NotImplementedError
        assert str(error) == "mine"
        assert [event.type for event in received] == ["started", "step_started"]


async def test_an_asynchronous_saver(tmp_path: Path) -> None:
    async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as made:
        adapter = LangGraphAdapter(asking().compile(checkpointer=made))
        first = output_of(await collect(adapter, {"x": 0}, config=CONFIG))
        assert [one.value for one in first["__interrupt__"]] == ["?"]
        received = await collect(adapter, Command(resume="yes"), config=CONFIG)
        assert output_of(received) == {"x": 1, "trail": ["a", "yes"]}


async def test_an_asynchronous_saver_held_by_the_factory(tmp_path: Path) -> None:
    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        async with AsyncSqliteSaver.from_conn_string(str(tmp_path / "db")) as made:
            yield asking().compile(checkpointer=made)

    for payload, trail in (({"x": 0}, ["a"]), (Command(resume="yes"), ["a", "yes"])):
        async with LangGraphAdapter(make) as adapter:
            assert output_of(await collect(adapter, payload, config=CONFIG))["trail"] == trail
    assert LangGraphAdapter(make).invoke({"x": 7}, config=CONFIG)["x"] == 8


async def test_each_new_saver_is_asked_anew() -> None:
    """Savers of one execution each: a new one may get the address of one that is gone."""
    kinds: list[Any] = [InMemorySaver, NoAsync]
    made: list[str] = []

    def make(config: RunnableConfig) -> Any:
        kind = kinds[len(made) % 2]
        made.append(kind.__name__)
        gc.collect()
        return chain(Numbers, "a").compile(checkpointer=kind())

    adapter = LangGraphAdapter(make)
    for _ in range(20):
        assert output_of(await collect(adapter, {"x": 1}, config=CONFIG)) == {"x": 2, "trail": ["a"]}
    assert len(made) == 20


class NoAsync(InMemorySaver):
    """Synchronous only."""

    async def aget_tuple(self, config: RunnableConfig) -> Any:
        raise NotImplementedError


async def test_within_a_node_the_surrounding_saver_is_the_one_that_counts() -> None:
    """There LangGraph uses the outer graph's checkpointer, whatever the inner graph has."""

    async def inner_node(state: Numbers) -> dict[str, Any]:
        return {"x": 10}

    inner = StateGraph(Numbers).add_node(inner_node).add_edge(START, "inner_node")
    graph = inner.compile(checkpointer=NoAsync())
    adapter = LangGraphAdapter(graph)

    def around(call: Any) -> Any:
        async def node(state: Numbers) -> Any:
            return await call({"x": 1})

        builder = StateGraph(Numbers).add_node("node", node).add_edge(START, "node")
        return builder.compile(checkpointer=InMemorySaver())

    expected = await around(graph.ainvoke).ainvoke({"x": 0}, CONFIG)
    assert await around(adapter.ainvoke).ainvoke({"x": 0}, CONFIG) == expected


async def test_a_synchronous_saver_with_nodes_and_tools_that_are_asynchronous_only(saver: Counting) -> None:
    @tool
    async def look_up(word: str) -> str:
        """Look a word up."""
        return f"{word}!"

    async def agent(state: MessagesState) -> dict[str, Any]:
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": [AIMessage(state["messages"][-1].content)]}
        call = {"name": "look_up", "args": {"word": "hi"}, "id": "1", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    builder = StateGraph(MessagesState).add_node(agent).add_node("tools", ToolNode([look_up]))
    builder.add_edge(START, "agent").add_conditional_edges("agent", tools_condition).add_edge(
        "tools", "agent"
    )
    graph = builder.compile(checkpointer=saver)
    adapter = LangGraphAdapter(graph)
    received = await collect(adapter, {"messages": "hi"}, config=CONFIG)
    assert [message.text for message in output_of(received)["messages"]] == ["hi", "", "hi!", "hi!"]
    again = await adapter.ainvoke({"messages": "more"}, config=CONFIG)
    assert [message.text for message in again["messages"]][3:] == ["hi!", "more", "", "hi!", "hi!"]
    assert graph.checkpointer is saver
    assert len(graph.get_state(CONFIG).values["messages"]) == 8


async def test_without_a_thread_langgraph_says_what_is_missing(saver: Counting) -> None:
    graph = chain(Numbers, "a").compile(checkpointer=saver)
    with pytest.raises(ValueError, match="thread_id"):
        await LangGraphAdapter(graph).ainvoke({"x": 1})
    with pytest.raises(ValueError, match="thread_id"):
        await collect(LangGraphAdapter(graph), {"x": 1})


async def test_many_conversations_at_once_share_one_synchronous_saver(saver: Counting) -> None:
    async def node(state: Numbers) -> dict[str, Any]:
        await asyncio.sleep(0)
        return {"x": state["x"] + 1, "trail": ["node"]}

    graph = StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver)
    adapter = LangGraphAdapter(graph)

    async def talk(place: int) -> list[Any]:
        config = {"configurable": {"thread_id": str(place)}}
        return [await adapter.ainvoke({"x": place}, config=config) for _ in range(3)]

    turns = await asyncio.gather(*(talk(place) for place in range(20)))
    assert [turn[-1] for turn in turns] == [{"x": place + 1, "trail": ["node"] * 3} for place in range(20)]


async def test_a_node_reads_and_writes_its_own_thread(saver: Counting) -> None:
    seen: list[Any] = []

    async def look(state: Numbers, config: RunnableConfig) -> dict[str, Any]:
        root: Any = {"configurable": {**config["configurable"], "checkpoint_ns": "", "checkpoint_id": None}}
        seen.append((await graph.aget_state(root)).values["x"])
        seen.append([one.values["x"] async for one in graph.aget_state_history(root, limit=1)])
        return {}

    graph = chain(Numbers, "a").add_node("look", look).add_edge("a", "look").compile(checkpointer=saver)
    await LangGraphAdapter(graph).ainvoke({"x": 1}, config=CONFIG, durability="sync")
    assert seen == [2, [2]]


# -- cancellation: the graph stops after the node that is running -------------------------------------


@pytest.fixture
async def pool() -> AsyncIterator[WorkerPool]:
    """The pool of the loop's threads, as a server sets it: the synchronous nodes run there."""
    made = WorkerPool()
    asyncio.get_running_loop().set_default_executor(made)
    yield made
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())


async def ends(pool: WorkerPool) -> None:
    """Return when no thread of the pool is left."""
    with ThreadPoolExecutor(1) as other:
        await asyncio.get_running_loop().run_in_executor(other, pool.shutdown)


class Held:
    """A synchronous node that waits to be let go, and a next one that must not run then."""

    def __init__(self) -> None:
        self.log = Log()
        self.go_on = threading.Event()
        self.ended = threading.Event()
        self.loop = asyncio.get_running_loop()
        self.raised: list[str] = []

    def graph(self, saver: Any, *, emits: bool = False) -> Any:
        def wait(state: Numbers) -> dict[str, Any]:
            context = get_current_context()
            assert context is not None
            self.loop.call_soon_threadsafe(self.log.add, "waiting")
            self.go_on.wait(20)
            try:
                if emits:
                    context.sync_emit("late")
            except RunCancelled:
                self.raised.append("RunCancelled")
                raise
            finally:
                self.ended.set()
            return {"x": 1}

        builder = StateGraph(Numbers).add_node("wait", wait).add_edge(START, "wait")
        builder.add_node("next", lambda _: self.log.add("next")).add_edge("wait", "next")
        return builder.compile(checkpointer=saver)

    async def let_go(self) -> None:
        self.go_on.set()
        assert await asyncio.to_thread(self.ended.wait, 20)


@pytest.mark.parametrize("emits", [False, True])
async def test_closing_the_stream_stops_the_graph_after_its_node(
    saver: Counting, pool: WorkerPool, emits: bool
) -> None:
    held = Held()
    adapter = LangGraphAdapter(held.graph(saver, emits=emits))
    stream = adapter.invoke_stream({"x": 0}, config=CONFIG)
    await anext(stream)
    await held.log.reached("waiting")
    before = abandoned_threads()
    await stream.aclose()
    assert abandoned_threads() == before + 1
    await held.let_go()
    await ends(pool)
    assert abandoned_threads() == before
    assert held.log.done == ["waiting"]
    assert held.raised == (["RunCancelled"] if emits else [])


async def test_cancelling_ainvoke_stops_the_graph_after_its_node(saver: Counting, pool: WorkerPool) -> None:
    held = Held()
    adapter = LangGraphAdapter(held.graph(saver))
    task = asyncio.create_task(adapter.ainvoke({"x": 0}, config=CONFIG))
    await held.log.reached("waiting")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await held.let_go()
    await ends(pool)
    assert held.log.done == ["waiting"]
