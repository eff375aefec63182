"""What tools in a chain tell: their own events, artifacts, and control flow that is no error."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langchain_core.tools import BaseTool, tool
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import GraphInterrupt, NodeInterrupt, ParentCommand
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import Command, interrupt

from dockrion_events import ToolCallEvent, ToolResultEvent

from ..langgraph.support import Whole, customs, output_of
from ..langgraph.test_messages import of
from .test_chains import collect

# -- events of the agent's own ---------------------------------------------------------------------


@tool
def look(a: int) -> str:
    """Look."""
    dispatch_custom_event("seen", a)
    return "ok"


@tool
async def alook(a: int) -> str:
    """Look."""
    await adispatch_custom_event("seen", a)
    return "ok"


def say(value: Any) -> Any:
    dispatch_custom_event("seen", value["a"])
    return value


async def asay(value: Any) -> Any:
    await adispatch_custom_event("seen", value["a"])
    return value


async def thread(value: Any, config: RunnableConfig) -> Any:
    await asyncio.to_thread(dispatch_custom_event, "seen", value["a"], config=config)
    return value


PLACES: dict[str, Any] = {
    "tool": look,
    "async tool": alook,
    "lambda": RunnableLambda(say),
    "async lambda": RunnableLambda(asay),
    "thread": RunnableLambda(thread),
    "chain": RunnableLambda(lambda value: value) | RunnableLambda(asay),
}


@pytest.mark.parametrize("events", [None, "all", ["custom"], ["custom:seen"], ["custom:seen", "usage"]])
@pytest.mark.parametrize("place", PLACES)
async def test_dispatched_events_are_told_once(place: str, events: Any) -> None:
    assert customs(await collect(PLACES[place], {"a": 1}, events)) == [("seen", 1)]


@pytest.mark.parametrize("events", ["minimal", "chat", ["custom:other"], ["token"]])
async def test_the_filter_holds_for_dispatched_events(events: Any) -> None:
    assert customs(await collect(RunnableLambda(say), {"a": 1}, events)) == []


async def test_an_odd_name_does_not_disturb_the_agent() -> None:
    def odd(value: Any) -> Any:
        dispatch_custom_event("what is this?", 1)
        return value

    received = await collect(RunnableLambda(odd), {"a": 1})
    assert customs(received) == [("what_is_this_", 1)]
    assert output_of(received) == {"a": 1}


# -- control flow ----------------------------------------------------------------------------------


def raising(make: Any) -> BaseTool:
    @tool
    async def steer(a: int) -> str:
        """Steer."""
        raise make()

    return steer


CONTROL = {
    "interrupt": lambda: GraphInterrupt(()),
    "own interrupt": lambda: type("Pause", (GraphInterrupt,), {})(()),
    "handoff": lambda: ParentCommand(Command(goto="x")),
    "cancellation": asyncio.CancelledError,
}


@pytest.mark.parametrize("kind", CONTROL)
async def test_control_flow_is_no_failed_tool(kind: str) -> None:
    async def act(value: Any) -> str:
        try:
            await raising(CONTROL[kind]).ainvoke(value)
        except BaseException as error:  # noqa: BLE001 - what steers, whatever it is
            return type(error).__name__
        raise AssertionError

    received = await collect(RunnableLambda(act), {"a": 1}, ["tool_call", "tool_result"])
    assert len(of(received, ToolCallEvent)) == 1
    assert of(received, ToolResultEvent) == []


@pytest.mark.parametrize("error", [ValueError("no"), RuntimeError("GraphInterrupt")])
async def test_a_failure_is_still_one(error: Exception) -> None:
    async def act(value: Any) -> None:
        with pytest.raises(type(error)):
            await raising(lambda: error).ainvoke(value)

    received = await collect(RunnableLambda(act), {"a": 1})
    (result,) = of(received, ToolResultEvent)
    assert (result.content, result.error) == (str(error), True)


@tool
def ask(a: int) -> str:
    """Ask somebody."""
    return str(interrupt({"really": a}))


async def test_a_tool_that_interrupts_a_graph_in_a_chain() -> None:
    """The call stays open until the graph is resumed, and then has its result."""

    def call(state: MessagesState) -> dict[str, Any]:
        asked = AIMessage("", tool_calls=[{"id": "1", "name": "ask", "args": {"a": 1}}])
        return {"messages": [Whole(replies=[asked]).invoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(call).add_node("tools", ToolNode([ask]))
    builder.add_edge(START, "call").add_edge("call", "tools")
    graph = builder.compile(checkpointer=InMemorySaver())

    async def run(payload: Any) -> Any:
        return await graph.ainvoke(payload, {"configurable": {"thread_id": "t"}})

    chain = RunnableLambda(run)
    received = await collect(chain, {"messages": []}, ["tool_call", "tool_result"])
    assert [event.id for event in of(received, ToolCallEvent)] == ["1"]
    assert of(received, ToolResultEvent) == []
    resumed = await collect(chain, Command(resume="yes"), ["tool_result"])
    assert [(event.id, event.content, event.error) for event in of(resumed, ToolResultEvent)] == [
        ("1", "yes", False)
    ]


def test_what_langgraph_steers_with() -> None:
    for kind in (GraphInterrupt, NodeInterrupt, ParentCommand):
        assert "GraphBubbleUp" in [base.__name__ for base in kind.__mro__]


# -- artifacts -------------------------------------------------------------------------------------


@tool(response_format="content_and_artifact")
def search(a: int) -> tuple[str, Any]:
    """Search."""
    return "two rows", {"rows": [a, a]}


@tool
def move(a: int) -> Command[Any]:
    """Move on."""
    return Command(update={"messages": [ToolMessage("moved", tool_call_id="1", status="error")]})


@pytest.mark.parametrize(
    ("called", "expected"),
    [(search, ("two rows", {"rows": [1, 1]}, False)), (move, ("moved", None, True))],
)
async def test_results_of_a_models_calls(called: BaseTool, expected: Any) -> None:
    message = {"id": "1", "name": called.name, "args": {"a": 1}, "type": "tool_call"}
    (result,) = of(await collect(called, message), ToolResultEvent)
    assert (result.content, result.artifact, result.error) == expected
