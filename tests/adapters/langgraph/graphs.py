"""Graphs of every shape, each made anew by a function; what they do bare is what they must do wrapped."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

from langchain_core.messages import AIMessage, HumanMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.cache.memory import InMemoryCache
from langgraph.func import entrypoint, task
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition
from langgraph.types import CachePolicy, Command, RetryPolicy, Send

from .states import Both, Items, Model, Narrow, Numbers, Other, Record, Strict, chain, grow
from .support import Scripted, ScriptedAsync, Whole, chunks_of

Case: TypeAlias = "tuple[Any, Any]"  # a graph, and what to give it


def typed_dict() -> Case:
    return chain(Numbers, "a", "b", "c").compile(), {"x": 1}


def pydantic_state() -> Case:
    return chain(Model, "a", "b").compile(), Model(x=3)


def dataclass_state() -> Case:
    return chain(Record, "a", "b").compile(), {"x": 4}


def narrower_output() -> Case:
    return chain(Numbers, "a", "b", output_schema=Narrow).compile(), {"x": 1}


def other_output() -> Case:
    builder = chain(Both, "a", input_schema=Narrow, output_schema=Other)
    builder.add_node("say", lambda state: {"y": f"x is {state['x']}"})
    builder.add_edge("a", "say")
    return builder.compile(), {"x": 1}


def required_output_set_last() -> Case:
    builder = StateGraph(Both, output_schema=Strict)
    builder.add_node("a", grow("a"))
    builder.add_node("b", lambda state: {"label": "z"})
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    return builder.compile(), {"x": 1}


def single_channel() -> Case:
    builder: Any = StateGraph(Annotated[list[int], operator.add])
    builder.add_node("a", lambda state: [len(state)])
    builder.add_node("b", lambda state: [len(state)])
    builder.add_edge(START, "a")
    builder.add_edge("a", "b")
    return builder.compile(), [7]


def messages() -> Case:
    model = Scripted(chunks=chunks_of("hello there you"))
    builder = StateGraph(MessagesState)
    builder.add_node("talk", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_edge(START, "talk")
    return builder.compile(), {"messages": [HumanMessage("hi", id="h")]}


def async_messages() -> Case:
    model = ScriptedAsync(chunks=chunks_of("hello there you"))

    async def talk(state: MessagesState) -> dict[str, Any]:
        return {"messages": [await model.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(talk).add_edge(START, "talk").compile(), {"messages": "hi"}


@task
def double(x: int) -> int:
    return 2 * x


@task
async def triple(x: int) -> int:
    return 3 * x


def functional() -> Case:
    @entrypoint()
    def work(x: int) -> dict[str, int]:
        futures = [double(x + i) for i in range(3)]
        return {"sum": sum(future.result() for future in futures)}

    return work, 5


def functional_async() -> Case:
    @entrypoint()
    async def work(x: int) -> int:
        return await triple(x) + await double(x)

    return work, 5


@tool
def add(a: int, b: int) -> int:
    """Add two numbers."""
    return a + b


def react() -> Case:
    call = {"name": "add", "args": {"a": 2, "b": 3}, "id": "call-1", "type": "tool_call"}
    model = Whole(replies=[AIMessage("", tool_calls=[call]), AIMessage("it is 5", id="last")]).bind_tools(
        [add]
    )
    builder = StateGraph(MessagesState)
    builder.add_node("agent", lambda state: {"messages": [model.invoke(state["messages"])]})
    builder.add_node("tools", ToolNode([add]))
    builder.add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition)
    builder.add_edge("tools", "agent")
    return builder.compile(), {"messages": [("user", "2+3?")]}


def map_reduce() -> Case:
    builder = StateGraph(Items)
    builder.add_node("square", lambda item: {"squares": [item["n"] ** 2]})
    builder.add_node("reduce", lambda state: {"total": sum(state["squares"])})
    builder.add_conditional_edges(
        START, lambda state: [Send("square", {"n": n}) for n in state["items"]], ["square"]
    )
    builder.add_edge("square", "reduce")
    return builder.compile(), {"items": [1, 2, 3, 4]}


def parallel() -> Case:
    builder = StateGraph(Items)
    for place in range(4):
        builder.add_node(f"p{place}", lambda state, place=place: {"squares": [place]})
        builder.add_edge(START, f"p{place}")
    return builder.compile(), {"squares": [9]}


def deferred() -> Case:
    builder = chain(Numbers, "a", "b")
    builder.add_node("short", lambda state: {"trail": ["short"]})
    builder.add_node("join", lambda state: {"trail": ["join"]}, defer=True)
    builder.add_edge(START, "short")
    builder.add_edge("short", "join")
    builder.add_edge("b", "join")
    return builder.compile(), {"x": 0}


def subgraph_as_node() -> Case:
    inner = chain(Numbers, "in1", "in2").compile()
    builder = chain(Numbers, "a")
    builder.add_node("sub", inner)
    builder.add_edge("a", "sub")
    return builder.compile(), {"x": 1}


def subgraph_invoked() -> Case:
    inner = chain(Numbers, "in1", "in2").compile()
    builder = StateGraph(Numbers)
    builder.add_node("call", lambda state: {"x": inner.invoke({"x": state["x"]})["x"] * 10})
    builder.add_edge(START, "call")
    return builder.compile(), {"x": 1}


def subgraph_awaited() -> Case:
    inner = chain(Numbers, "in1", "in2").compile()

    async def call(state: Numbers) -> dict[str, Any]:
        once = await inner.ainvoke({"x": state["x"]})
        return {"x": (await inner.ainvoke({"x": once["x"]}))["x"]}

    return StateGraph(Numbers).add_node(call).add_edge(START, "call").compile(), {"x": 1}


def two_deep() -> Case:
    leaf = chain(Numbers, "leaf").compile()
    middle = StateGraph(Numbers).add_node("leafs", leaf).add_node("again", leaf)
    middle.add_edge(START, "leafs").add_edge("leafs", "again")
    outer = chain(Numbers, "a").add_node("middle", middle.compile()).add_edge("a", "middle")
    return outer.compile(), {"x": 1}


def goto() -> Case:
    def choose(state: Numbers) -> Command[str]:
        return Command(goto="far" if state["x"] > 1 else "near", update={"trail": ["chose"]})

    builder = StateGraph(Numbers).add_node(choose, destinations=("near", "far"))
    builder.add_node("near", grow("near")).add_node("far", grow("far")).add_edge(START, "choose")
    return builder.compile(), {"x": 2}


def parent_command() -> Case:
    def leave(state: Numbers) -> Command[str]:
        return Command(goto="after", update={"x": 50, "trail": ["left"]}, graph=Command.PARENT)

    inner = StateGraph(Numbers).add_node(leave).add_edge(START, "leave").compile()
    builder = StateGraph(Numbers).add_node("sub", inner, destinations=("after",))
    builder.add_node("after", grow("after")).add_edge(START, "sub")
    return builder.compile(), {"x": 2}


def retried() -> Case:
    failures = [ValueError("once"), ValueError("twice")]

    def flaky(state: Numbers) -> dict[str, Any]:
        if failures:
            raise failures.pop()
        return {"x": 9}

    policy = RetryPolicy(initial_interval=0.001, jitter=False, retry_on=ValueError)
    return StateGraph(Numbers).add_node(flaky, retry_policy=policy).add_edge(START, "flaky").compile(), {
        "x": 1
    }


def cached() -> Case:
    """The second of two nodes that are the same node: its result comes out of the cache."""
    builder = StateGraph(Items)
    builder.add_node("square", lambda item: {"squares": [item["n"] ** 2]}, cache_policy=CachePolicy())
    builder.add_conditional_edges(START, lambda _: [Send("square", {"n": 3})], ["square"])
    graph = builder.compile(cache=InMemoryCache())
    graph.invoke({"items": [3]})
    return graph, {"items": [3]}


def returns_none() -> Case:
    builder = chain(Numbers, "a").add_node("none", lambda state: None).add_edge("a", "none")
    return builder.compile(), {"x": 1}


def loop() -> Case:
    builder = chain(Numbers, "a")
    builder.add_conditional_edges("a", lambda state: "a" if state["x"] < 5 else END)
    return builder.compile(), {"x": 0}


def error_handler() -> Case:
    def fail(state: Numbers) -> dict[str, Any]:
        raise ValueError("no")

    def mend(state: Numbers) -> dict[str, Any]:
        return {"x": -1, "trail": ["mended"]}

    builder = StateGraph(Numbers).add_node(fail, error_handler=mend).add_edge(START, "fail")
    return builder.add_node("b", grow("b")).add_edge("fail", "b").compile(), {"x": 1}


def many_writers() -> Case:
    reply = ToolMessage("done", tool_call_id="t", id="tool")
    builder: Any = StateGraph(MessagesState).add_node(
        "human", lambda _: {"messages": HumanMessage("x", id="2")}
    )
    builder.add_node("tool", lambda _: {"messages": [reply]}).add_edge(START, "human").add_edge(
        "human", "tool"
    )
    return builder.compile(), {"messages": []}


SYNC_GRAPHS: dict[str, Callable[[], Case]] = {
    make.__name__: make
    for make in (
        typed_dict, pydantic_state, dataclass_state, narrower_output, other_output, single_channel,
        messages, functional, react, map_reduce, parallel, deferred, subgraph_as_node, subgraph_invoked,
        two_deep, goto, parent_command, retried, cached, returns_none, loop, error_handler, many_writers,
    )
}  # fmt: skip
GRAPHS = SYNC_GRAPHS | {
    make.__name__: make
    for make in (async_messages, functional_async, subgraph_awaited, required_output_set_last)
}
