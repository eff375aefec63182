"""One agent in each framework: it thinks aloud, calls two tools at once, answers, hands over, and may fail.

What a framework has no form for, its agent emits through the context; only a part of the agent that is a
graph of its own cannot be had by emitting.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from langchain_core.language_models.chat_models import generate_from_stream
from langchain_core.messages import AIMessageChunk, BaseMessage, HumanMessage, ToolMessage
from langchain_core.outputs import ChatGenerationChunk, ChatResult
from langchain_core.runnables import (
    Runnable,
    RunnableConfig,
    RunnableLambda,
    RunnablePassthrough,
)
from langchain_core.tools import BaseTool, tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from dockrion_events import StreamContext, get_current_context

from .langgraph.support import Scripted, chunks_of
from .langgraph.test_messages import call, usage
from .table import ANSWER, CALLS, THOUGHT, Act

HANDED_OVER: Final = "gladly done"
FAILURE: Final = "it went wrong"
SUMS: Final = {"1": "3", "2": "7"}


class Talking(Scripted):
    """Calls the tools, and answers where their results are there; as often as it is asked."""

    chunks: list[AIMessageChunk] = []  # noqa: RUF012 - a pydantic field, copied for each instance

    def bind_tools(self, tools: Any, **kwargs: Any) -> Talking:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return generate_from_stream(ChatGenerationChunk(message=chunk) for chunk in _turn(messages))

    async def _astream(
        self, messages: list[BaseMessage], *args: Any, **kwargs: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in _turn(messages):
            yield ChatGenerationChunk(message=chunk)


def _turn(messages: list[BaseMessage]) -> list[AIMessageChunk]:
    if any(isinstance(message, ToolMessage) for message in messages):
        answer = [AIMessageChunk(content=word, id="n") for word in ANSWER]
        return [*answer, AIMessageChunk(content="", id="n", usage_metadata=usage(9, 2))]
    thinking = [
        AIMessageChunk(content=[{"type": "reasoning", "reasoning": thought, "index": 0}], id="m")
        for thought in THOUGHT
    ]
    calling = []
    for place, (identifier, arguments) in enumerate(CALLS.items()):
        calling += [call(place, identifier, "add", ""), call(place, None, None, arguments)]
    return [*thinking, *calling, AIMessageChunk(content="", id="m", usage_metadata=usage(7, 3))]


def adding(act: Act) -> BaseTool:
    @tool
    async def add(a: int, b: int) -> int:
        """Add."""
        await act()
        return a + b

    return add


async def told() -> None:
    """What these agents do in each tool."""
    context = get_current_context()
    if context is not None:
        await context.emit("told", {"by": "a tool"})


def _fail_if(payload: Any) -> None:
    if payload.get("fail"):
        raise ValueError(FAILURE)


async def say(payload: dict[str, Any], context: StreamContext) -> AsyncIterator[str]:
    """Emit all of it, yield the answer."""
    await context.emit_step_started("add")
    await context.emit_message("m", "assistant", "start")
    for thought in THOUGHT:
        await context.emit_reasoning(thought, "m")
    for identifier, arguments in CALLS.items():
        await context.emit_tool_call(identifier, "add", arguments_delta=arguments, message_id="m")
    await context.emit_usage(7, 3, 10, message_id="m")
    await context.emit_message("m", "assistant", "end")
    for identifier, result in SUMS.items():
        await told()
        await context.emit_tool_result(identifier, "add", result)
    await context.emit_step("add")
    for word in ANSWER:
        yield word
    _fail_if(payload)


def handler() -> Callable[..., Any]:
    async def handle(payload: dict[str, Any], context: StreamContext) -> AsyncIterator[str]:
        async for word in say(payload, context):
            yield word

    return handle


def thing() -> Any:
    class Agent:
        async def astream(self, payload: dict[str, Any], context: StreamContext) -> AsyncIterator[str]:
            async for word in say(payload, context):
                yield word

    return Agent()


def handing_over() -> Any:
    """A graph of its own within the agent."""
    speaking = Scripted(chunks=chunks_of(HANDED_OVER, "o"))

    async def thank(state: MessagesState) -> Any:
        return {"messages": [await speaking.ainvoke(state["messages"])]}

    return StateGraph(MessagesState).add_node(thank).add_edge(START, "thank").compile()


def chain() -> Runnable[Any, Any]:
    talking, add = Talking(), adding(told)

    async def use(message: Any) -> Any:
        return [message, *[await add.ainvoke(one) for one in message.tool_calls]]

    async def hand_over(message: Any, config: RunnableConfig) -> Any:
        return (await handing_over().ainvoke({"messages": [message]}, config))["messages"][-1].text

    begin = RunnableLambda(lambda _: [HumanMessage("go")])
    talk = begin | talking | RunnableLambda(use) | talking | RunnableLambda(hand_over)

    async def act(payload: dict[str, Any], config: RunnableConfig) -> Any:
        said = await talk.ainvoke(payload, config)
        _fail_if(payload)
        return said

    return RunnablePassthrough() | RunnableLambda(act)


class State(MessagesState):
    fail: bool


def graph() -> Any:
    talking = Talking()

    async def agent(state: State) -> Any:
        return {"messages": [await talking.ainvoke(state["messages"])]}

    async def end(state: State) -> None:
        _fail_if(state)

    builder = StateGraph(State).add_node(agent).add_node("tools", ToolNode([adding(told)]))
    builder.add_node("over", handing_over()).add_node(end).add_edge(START, "agent")
    builder.add_conditional_edges("agent", tools_condition, {"tools": "tools", "__end__": "over"})
    return builder.add_edge("tools", "agent").add_edge("over", "end").compile()
