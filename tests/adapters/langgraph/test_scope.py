"""Threads of several owners, and threads that only one execution knows: what is stored, and what stays."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.store.base import BaseStore
from langgraph.store.memory import InMemoryStore
from langgraph.types import Command, interrupt

from dockrion_adapters.base import OWNER, TEMPORARY
from dockrion_adapters.langgraph import LangGraphAdapter

from .states import Numbers, chain
from .support import collect, output_of

KINDS = ("memory", "sqlite", "aiosqlite")


@pytest.fixture(params=KINDS)
async def saver(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Any]:
    path = str(tmp_path / "db")
    if request.param == "memory":
        yield InMemorySaver()
    elif request.param == "sqlite":
        with SqliteSaver.from_conn_string(path) as made:
            yield made
    else:
        async with AsyncSqliteSaver.from_conn_string(path) as opened:
            yield opened


def of(owner: str, thread: str = "t", **more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, OWNER: owner, **more}}


def temporary(thread: str = "t", owner: str = "") -> dict[str, Any]:
    return {"configurable": {"thread_id": thread, TEMPORARY: True, **({OWNER: owner} if owner else {})}}


async def threads(saver: Any) -> set[str]:
    """Return the names that anything is stored under."""
    found = (
        [one.config["configurable"]["thread_id"] async for one in saver.alist(None)]
        if _async(saver)
        else [one.config["configurable"]["thread_id"] for one in saver.list(None)]
    )
    return set(found)


def _async(saver: Any) -> bool:
    return not isinstance(saver, SqliteSaver)


class Seen:
    """A graph that notes what a node is told of its thread."""

    def __init__(self) -> None:
        self.names: list[Any] = []
        self.keys: list[set[str]] = []

    def node(self, state: Numbers, config: RunnableConfig) -> dict[str, Any]:
        self.names.append((config["configurable"]["thread_id"], config["metadata"].get("thread_id")))
        self.keys.append({key for key in config["configurable"] if key.startswith("dockrion")})
        return {"x": state.get("x", 0) + 1}

    def builder(self) -> Any:
        return StateGraph(Numbers).add_node("node", self.node).add_edge(START, "node")


async def test_user_code_sees_the_name_that_the_thread_was_given(saver: Any) -> None:
    seen = Seen()
    graph = seen.builder().compile(checkpointer=saver)
    adapter = LangGraphAdapter(graph)
    await adapter.ainvoke({"x": 1}, config=of("ada"))
    await collect(adapter, {"x": 1}, config=of("ada"))
    assert seen.names == [("t", "t")] * 2
    assert seen.keys == [set()] * 2
    assert await threads(saver) == {"ada/t"}
    assert graph.checkpointer is saver


async def test_two_owners_threads_of_one_name_are_two_threads(saver: Any) -> None:
    adapter = LangGraphAdapter(chain(Numbers, "a").compile(checkpointer=saver))
    for owner, turns in (("ada", 3), ("bob", 1)):
        for _ in range(turns):
            output = await adapter.ainvoke({"x": 1}, config=of(owner))
        assert output["trail"] == ["a"] * turns
    assert (await adapter.ainvoke({"x": 1}, config={"configurable": {"thread_id": "t"}}))["trail"] == ["a"]


async def test_what_was_stored_as_owner_and_name_is_found(saver: Any) -> None:
    graph = chain(Numbers, "a").compile(checkpointer=saver)
    before = LangGraphAdapter(graph)
    await before.ainvoke({"x": 1}, config={"configurable": {"thread_id": "ada/t"}})
    assert (await before.ainvoke({"x": 1}, config=of("ada")))["trail"] == ["a", "a"]


async def test_interrupts_subgraphs_and_time_travel_of_an_owner(saver: Any) -> None:
    inner = StateGraph(Numbers)
    inner.add_node("ask", lambda state: {"trail": [interrupt("sure?")]}).add_edge(START, "ask")
    counting = (
        StateGraph(Numbers).add_node("count", lambda state: {"x": state["x"] + 1}).add_edge(START, "count")
    )
    builder = StateGraph(Numbers).add_node("own", counting.compile(checkpointer=True))
    builder.add_node("sub", inner.compile()).add_edge(START, "own").add_edge("own", "sub")
    adapter = LangGraphAdapter(builder.compile(checkpointer=saver))
    first = output_of(await collect(adapter, {"x": 0}, config=of("ada")))
    assert [one.value for one in first["__interrupt__"]] == ["sure?"]
    assert "__interrupt__" in await adapter.ainvoke({"x": 0}, config=of("bob"))
    done = output_of(await collect(adapter, Command(resume="yes"), config=of("ada")))
    assert done["trail"] == ["yes"]
    again = await adapter.ainvoke(Command(resume="no"), config=of("bob"))
    assert again["trail"] == ["no"]
    assert await threads(saver) == {"ada/t", "bob/t"}


async def test_a_node_finds_its_owners_threads_and_no_others(saver: Any) -> None:
    listed: list[set[str]] = []

    async def look(state: Numbers, config: RunnableConfig) -> dict[str, Any]:
        lent = config["configurable"]["__pregel_checkpointer"]
        found = [one.config["configurable"]["thread_id"] async for one in lent.alist(None)]
        listed.append(set(found))
        root: Any = {"configurable": {**config["configurable"], "checkpoint_ns": "", "checkpoint_id": None}}
        snapshot = await graph.aget_state(root)
        assert snapshot.config["configurable"]["thread_id"] == "t"
        return {}

    graph = chain(Numbers, "a").add_node("look", look).add_edge("a", "look").compile(checkpointer=saver)
    adapter = LangGraphAdapter(graph)
    for owner in ("ada", "ada2", "ada"):
        await adapter.ainvoke({"x": 0}, config=of(owner), durability="sync")
    assert listed == [{"t"}] * 3


async def test_a_store_is_shared_as_it_is_bare() -> None:
    memory = InMemoryStore()

    def node(state: Numbers, *, store: BaseStore) -> dict[str, Any]:
        store.put(("notes",), "n", {"x": state["x"]})
        return {}

    builder = StateGraph(Numbers).add_node("node", node).add_edge(START, "node")
    adapter = LangGraphAdapter(builder.compile(checkpointer=InMemorySaver(), store=memory))
    await adapter.ainvoke({"x": 7}, config=of("ada"))
    item = memory.get(("notes",), "n")
    assert item is not None
    assert item.value == {"x": 7}


async def test_a_run_of_an_owner_goes_on_from_its_checkpoint(saver: Any) -> None:
    done: list[str] = []
    failing = [True]

    async def b(state: Numbers) -> dict[str, Any]:
        done.append("b")
        if failing.pop() if failing else False:
            raise OSError("the process is gone")
        return {"trail": ["b"]}

    builder = StateGraph(Numbers).add_node("a", lambda state: done.append("a"))
    builder.add_node("b", b).add_edge(START, "a").add_edge("a", "b")
    adapter = LangGraphAdapter(builder.compile(checkpointer=saver))
    with pytest.raises(OSError, match="gone"):
        async for _ in adapter.run_stream({"x": 0}, run="r", config=of("ada"), durability="sync"):
            pass
    async with adapter.run_stream({"x": 0}, run="r", resume=True, config=of("ada")) as stream:
        received = [event async for event in stream]
    assert output_of(received) == {"x": 0, "trail": ["b"]}
    assert done == ["a", "b", "b"]


# -- threads that nobody else knows -------------------------------------------------------------------


@pytest.mark.parametrize("owner", ["", "ada"])
async def test_what_a_temporary_execution_stored_is_deleted(saver: Any, owner: str) -> None:
    adapter = LangGraphAdapter(chain(Numbers, "a", "b").compile(checkpointer=saver))
    await adapter.ainvoke({"x": 0}, config=temporary(owner=owner))
    assert await threads(saver) == set()
    await collect(adapter, {"x": 0}, config=temporary(owner=owner))
    assert await threads(saver) == set()


async def test_what_waits_for_an_answer_is_kept(saver: Any) -> None:
    builder = StateGraph(Numbers).add_node("ask", lambda state: {"trail": [interrupt("sure?")]})
    adapter = LangGraphAdapter(builder.add_edge(START, "ask").compile(checkpointer=saver))
    await adapter.ainvoke({"x": 0}, config=temporary("one"))
    await collect(adapter, {"x": 0}, config=temporary("two"))
    assert await threads(saver) == {"one", "two"}
    for thread in ("one", "two"):
        config = {"configurable": {"thread_id": thread}}
        assert (await adapter.ainvoke(Command(resume="yes"), config=config))["trail"] == ["yes"]


async def test_what_stopped_before_a_node_is_kept(saver: Any) -> None:
    graph = chain(Numbers, "a", "b").compile(checkpointer=saver, interrupt_before=["b"])
    await LangGraphAdapter(graph).ainvoke({"x": 0}, config=temporary("one"))
    assert await threads(saver) == {"one"}
    output = await LangGraphAdapter(graph).ainvoke(None, config=temporary("one"))
    assert output["trail"] == ["a", "b"]
    assert await threads(saver) == set()


async def test_what_fails_or_is_stopped_leaves_nothing(saver: Any) -> None:
    def fail(state: Numbers) -> None:
        raise OSError("no")

    builder = chain(Numbers, "a").add_node("fail", fail).add_edge("a", "fail")
    adapter = LangGraphAdapter(builder.compile(checkpointer=saver))
    with pytest.raises(OSError, match="no"):
        await adapter.ainvoke({"x": 0}, config=temporary(), durability="sync")
    with pytest.raises(OSError, match="no"):
        await collect(adapter, {"x": 0}, config=temporary(), durability="sync")
    assert await threads(saver) == set()
    async with adapter.invoke_stream({"x": 0}, config=temporary(), durability="sync") as stream:
        await anext(stream)
    assert await threads(saver) == set()


async def test_a_temporary_run_is_kept_until_it_is_discarded(saver: Any) -> None:
    adapter = LangGraphAdapter(chain(Numbers, "a").compile(checkpointer=saver))
    for resume in (False, True):
        async with adapter.run_stream({"x": 0}, run="r", resume=resume, config=temporary()) as stream:
            received = [event async for event in stream]
        assert output_of(received) == {"x": 1, "trail": ["a"]}
        assert await threads(saver) == {"t"}
    assert stream.discard is not None
    await stream.discard()
    assert await threads(saver) == set()


async def test_a_saver_that_cannot_delete_does_not_fail_the_execution(
    caplog: pytest.LogCaptureFixture,
) -> None:
    class Keeps(InMemorySaver):
        async def adelete_thread(self, thread_id: str) -> None:
            raise NotImplementedError

    class Breaks(InMemorySaver):
        async def adelete_thread(self, thread_id: str) -> None:
            raise sqlite3.OperationalError("database is locked")

    for kind in (Keeps, Breaks):
        adapter = LangGraphAdapter(chain(Numbers, "a").compile(checkpointer=kind()))
        assert await adapter.ainvoke({"x": 0}, config=temporary()) == {"x": 1, "trail": ["a"]}
    assert [record.getMessage() for record in caplog.records] == [
        "the checkpoints of thread t could not be deleted: database is locked"
    ]


async def test_a_factory_of_one_saver_for_each_execution(tmp_path: Path) -> None:
    path = str(tmp_path / "db")

    @asynccontextmanager
    async def make(config: RunnableConfig) -> AsyncIterator[Any]:
        async with AsyncSqliteSaver.from_conn_string(path) as made:
            yield chain(Numbers, "a").compile(checkpointer=made)

    adapter = LangGraphAdapter(make)
    await adapter.ainvoke({"x": 0}, config=temporary(owner="ada"))
    await collect(adapter, {"x": 0}, config=temporary(owner="ada"))
    async with AsyncSqliteSaver.from_conn_string(path) as left:
        assert await threads(left) == set()


async def test_a_thousand_temporary_executions_leave_nothing_in_memory() -> None:
    saver = InMemorySaver()
    adapter = LangGraphAdapter(chain(Numbers, "a").compile(checkpointer=saver))
    for place in range(1000):
        await adapter.ainvoke({"x": place}, config=temporary(str(place)))
    assert set(saver.storage) <= {""}  # where it was asked whether it is synchronous only
    assert len(saver.writes) == len(saver.blobs) == 0
