"""Graphs without any waiting: a chat model that says scripted tokens, and a chain of twenty nodes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Annotated, Any, TypedDict

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages

TEXT = "lorem "
NODES = 20


class ScriptedModel(BaseChatModel):
    """Streams ``tokens`` tokens; gives way to the event loop before each, as reading a socket would."""

    tokens: int
    gives_way: bool = True

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=TEXT * self.tokens))])

    async def _astream(
        self, messages: list[BaseMessage], *_: Any, **__: Any
    ) -> AsyncIterator[ChatGenerationChunk]:
        for _number in range(self.tokens):
            if self.gives_way:
                await asyncio.sleep(0)
            yield ChatGenerationChunk(message=AIMessageChunk(content=TEXT))


class ChatState(TypedDict):
    messages: Annotated[list[BaseMessage], add_messages]
    tokens: int
    gives_way: bool


async def say(state: ChatState) -> dict[str, Any]:
    model = ScriptedModel(tokens=state["tokens"], gives_way=state["gives_way"])
    return {"messages": [await model.ainvoke(state["messages"])]}


def chat_payload(tokens: int, *, gives_way: bool) -> dict[str, Any]:
    """Return the input of `chat`, as plain JSON values."""
    question = {"role": "user", "content": "Say something."}
    return {"messages": [question], "tokens": tokens, "gives_way": gives_way}


chat = StateGraph(ChatState).add_node("say", say).add_edge(START, "say").add_edge("say", END).compile()


class CountState(TypedDict):
    count: int
    text: str


async def count(state: CountState) -> dict[str, Any]:
    return {"count": state["count"] + 1}


def _chain() -> Any:
    graph = StateGraph(CountState)
    names = [f"node_{number}" for number in range(1, NODES + 1)]
    for name in names:
        graph.add_node(name, count)
    for before, after in zip([START, *names], [*names, END], strict=True):
        graph.add_edge(before, after)
    return graph.compile()


chain = _chain()
