"""docs/adapters.md says what each adapter gives; Agentor's column is compared in its own environment."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import Any

import pytest
from langchain_core.runnables import RunnableLambda
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

from dockrion_adapters import HandlerAdapter, LangChainAdapter, LangGraphAdapter, ObjectAdapter

from .langgraph.support import plain
from .scripted import Talking, adding
from .table import ANSWER, CALLS, Act, promised, seen


async def say(act: Act) -> AsyncIterator[str]:
    for _ in CALLS:
        await act()
    for word in ANSWER:
        yield word


def handler(act: Act) -> HandlerAdapter:
    async def answer(payload: Any) -> AsyncIterator[str]:
        async for word in say(act):
            yield word

    return HandlerAdapter(answer)


def thing(act: Act) -> ObjectAdapter:
    class Agent:
        async def ainvoke(self, payload: Any) -> str:
            return "".join([word async for word in say(act)])

        async def astream(self, payload: Any) -> AsyncIterator[str]:
            async for word in say(act):
                yield word

    return ObjectAdapter(Agent())


def chain(act: Act) -> LangChainAdapter:
    talking, add = Talking(), adding(act)

    async def use(message: Any) -> Any:
        return [message, *[await add.ainvoke(one) for one in message.tool_calls]]

    return LangChainAdapter(talking | RunnableLambda(use) | talking)


def graph(act: Act) -> LangGraphAdapter:
    talking = Talking()

    async def agent(state: MessagesState) -> Any:
        return {"messages": [await talking.ainvoke(state["messages"])]}

    builder = StateGraph(MessagesState).add_node(agent).add_node("tools", ToolNode([adding(act)]))
    builder.add_edge(START, "agent").add_conditional_edges("agent", tools_condition).add_edge(
        "tools", "agent"
    )
    return LangGraphAdapter(builder)


@pytest.mark.parametrize(
    ("framework", "make", "payload"),
    [
        ("handler", handler, "go"),
        ("object", thing, "go"),
        ("langchain", chain, "go"),
        ("langgraph", graph, {"messages": [("user", "go")]}),
    ],
)
async def test_what_is_seen_is_what_the_page_says(
    framework: str, make: Callable[[Act], Any], payload: Any
) -> None:
    assert await seen(make, payload, plain) == promised(framework)
