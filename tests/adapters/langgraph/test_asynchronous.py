"""Synchronous callers of graphs that have asynchronous parts."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableLambda, RunnableParallel
from langchain_core.tools import StructuredTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint, task
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_adapters.langgraph.asynchronous import needs_event_loop

from . import graphs
from .states import Numbers, chain, grow
from .support import plain


async def anode(state: Numbers) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"x": state["x"] + 1, "trail": ["anode"]}


def of(node: Any, **options: Any) -> Any:
    return StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(**options)


def a_node() -> Any:
    return of(anode)


def a_node_of_a_subgraph() -> Any:
    return of(of(anode))


def a_runnable() -> Any:
    return of(RunnableLambda(anode))


def a_part_of_a_chain() -> Any:
    return of(RunnableLambda(lambda state: state) | RunnableLambda(anode))


def one_of_several() -> Any:
    both = RunnableParallel(x=RunnableLambda(lambda state: state["x"]), trail=RunnableLambda(atrail))
    return of(both)


async def atrail(state: Numbers) -> list[str]:
    return ["anode"]


def a_branch() -> Any:
    async def choose(state: Numbers) -> str:
        return "b"

    return chain(Numbers, "a").add_node("b", grow("b")).add_conditional_edges("a", choose, ["b"]).compile()


def a_branch_from_the_start() -> Any:
    async def choose(state: Numbers) -> str:
        return "b"

    return StateGraph(Numbers).add_node("b", grow("b")).add_conditional_edges(START, choose, ["b"]).compile()


def a_deep_subgraph() -> Any:
    return of(of(of(anode)))


PARTS = (a_node, a_node_of_a_subgraph, a_runnable, a_part_of_a_chain, one_of_several, a_branch,
         a_branch_from_the_start, a_deep_subgraph)  # fmt: skip


@pytest.mark.parametrize("make", PARTS, ids=lambda make: make.__name__)
async def test_invoke_executes_what_is_asynchronous_only(make: Callable[[], Any]) -> None:
    graph = make()
    expected = await graph.ainvoke({"x": 1})
    with pytest.raises((TypeError, NotImplementedError)):
        graph.invoke({"x": 1})
    adapter = LangGraphAdapter(graph)
    assert adapter.invoke({"x": 1}) == expected
    assert await asyncio.to_thread(adapter.invoke, {"x": 1}) == expected
    assert adapter.invoke({"x": 1}, config={"recursion_limit": 50}) == expected


def agent_with(a_tool: Any) -> Any:
    def agent(state: MessagesState) -> dict[str, Any]:
        if isinstance(state["messages"][-1], ToolMessage):
            return {"messages": [AIMessage(state["messages"][-1].content)]}
        call = {"name": a_tool.name, "args": {"word": "hi"}, "id": "1", "type": "tool_call"}
        return {"messages": [AIMessage("", tool_calls=[call])]}

    builder = StateGraph(MessagesState).add_node(agent).add_node("tools", ToolNode([a_tool]))
    builder.add_edge(START, "agent").add_conditional_edges("agent", tools_condition)
    return builder.add_edge("tools", "agent").compile()


async def look_up(word: str) -> str:
    """Look a word up."""
    return f"{word}!"


@pytest.mark.parametrize(
    "a_tool", [tool(look_up), StructuredTool.from_function(coroutine=look_up)], ids=["decorated", "made"]
)
def test_invoke_executes_tools_that_are_asynchronous_only(a_tool: Any) -> None:
    output = LangGraphAdapter(agent_with(a_tool)).invoke({"messages": "go"})
    assert [message.text for message in output["messages"]] == ["go", "", "hi!", "hi!"]


@task
async def atriple(x: int) -> int:
    return 3 * x


def test_invoke_executes_asynchronous_tasks_of_a_synchronous_entrypoint() -> None:
    @task
    async def adouble(x: int) -> int:
        return 2 * x

    @entrypoint()
    def work(x: int) -> int:
        return adouble(x).result() + atriple(x).result()

    assert LangGraphAdapter(work).invoke(2) == 10


def test_invoke_of_an_asynchronous_entrypoint_with_a_checkpointer() -> None:
    @entrypoint(checkpointer=InMemorySaver())
    async def work(x: int, previous: int | None = None) -> int:
        return x + (previous or 0)

    adapter = LangGraphAdapter(work)
    config = {"configurable": {"thread_id": "t"}}
    assert [adapter.invoke(2, config=config) for _ in range(3)] == [2, 4, 6]


@pytest.mark.parametrize("name", graphs.SYNC_GRAPHS)
def test_a_graph_that_is_synchronous_stays_in_the_callers_thread(name: str) -> None:
    graph, payload = graphs.SYNC_GRAPHS[name]()
    assert not needs_event_loop(graph)
    bare, other = graph.invoke(payload), graphs.SYNC_GRAPHS[name]()
    assert plain(LangGraphAdapter(other[0]).invoke(other[1])) == plain(bare)


def test_a_synchronous_node_runs_in_the_callers_thread() -> None:
    threads: list[Any] = []
    graph = of(lambda state: threads.append(threading.current_thread()))
    LangGraphAdapter(graph).invoke({"x": 1})
    assert threads == [threading.current_thread()]


async def test_a_context_manager_held_on_this_loop_can_be_invoked_from_a_thread() -> None:
    from contextlib import asynccontextmanager

    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        yield a_node()

    async with LangGraphAdapter(make) as adapter:
        output = await asyncio.to_thread(adapter.invoke, {"x": 1})
    assert output == {"x": 2, "trail": ["anode"]}
