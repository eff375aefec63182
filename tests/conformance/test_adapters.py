"""Every adapter against the suite that comes with the contract."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any

from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph

from dockrion_adapters import Adapter, HandlerAdapter, LangChainAdapter, LangGraphAdapter, ObjectAdapter
from dockrion_adapters.testing import AdapterSuite
from dockrion_events import CompleteEvent, EventsFilter, StreamContext, context_scope

from ..adapters.langgraph.support import Scripted, ScriptedAsync, chunks_of

Act = Callable[[Any], Any]


class TestHandler(AdapterSuite):
    def make(self, act: Act) -> Adapter:
        return HandlerAdapter(act)

    def speaking(self, words: Sequence[str]) -> Adapter:
        async def say(payload: Any) -> AsyncIterator[str]:
            for word in words:
                yield word

        return HandlerAdapter(say)


class TestGraph(AdapterSuite):
    payload = {"messages": [("user", "hello")]}  # noqa: RUF012

    def make(self, act: Act) -> Adapter:
        if inspect.iscoroutinefunction(act):

            @entrypoint()
            async def agent(payload: Any) -> Any:
                return await act(payload)
        else:

            @entrypoint()
            def agent(payload: Any) -> Any:
                return act(payload)

        return LangGraphAdapter(agent)

    def speaking(self, words: Sequence[str]) -> Adapter:
        model = ScriptedAsync(chunks=chunks_of("".join(words)))

        async def talk(state: MessagesState) -> Any:
            return {"messages": [await model.ainvoke(state["messages"])]}

        return LangGraphAdapter(StateGraph(MessagesState).add_node(talk).add_edge(START, "talk"))


class TestChain(AdapterSuite):
    def make(self, act: Act) -> Adapter:
        return LangChainAdapter(RunnableLambda(act) | RunnableLambda(lambda output: output))

    def speaking(self, words: Sequence[str]) -> Adapter:
        prompt = ChatPromptTemplate.from_messages([("user", "{query}")])
        return LangChainAdapter(prompt | Scripted(chunks=chunks_of("".join(words))))


class TestObject(AdapterSuite):
    def make(self, act: Act) -> Adapter:
        name = "ainvoke" if inspect.iscoroutinefunction(act) else "invoke"
        return ObjectAdapter(type("Agent", (), {name: staticmethod(act)})())

    def speaking(self, words: Sequence[str]) -> Adapter:
        class Agent:
            def stream(self, payload: Any) -> Iterator[str]:
                yield from words

        return ObjectAdapter(Agent())


class Bare:
    """As little as an adapter can be: synchronous, without a stream."""

    framework = "bare"
    agent_name = "bare"

    def __init__(self, act: Act) -> None:
        self.act = act

    def load(self, target: Any) -> None:
        HandlerAdapter(target)

    def invoke(self, payload: Any, *, config: Any = None, context: Any = None, **options: Any) -> Any:
        with context_scope(context or StreamContext("bare", events_filter=EventsFilter("minimal"))):
            return self.act(payload)


class TestBare(AdapterSuite):
    asynchronous = False

    def make(self, act: Act) -> Adapter:
        return Bare(act)


class Streams(Bare):
    """One whose stream is a bare generator of events and strings."""

    def __init__(self, act: Act, words: Sequence[str] = ()) -> None:
        super().__init__(act)
        self.words = words

    async def invoke_stream(self, payload: Any, **options: Any) -> AsyncIterator[Any]:
        for word in self.words:
            yield word
        output = self.act(payload)
        yield CompleteEvent(await output if inspect.isawaitable(output) else output, 0.0, {})


class TestBareStream(AdapterSuite):
    def make(self, act: Act) -> Adapter:
        return Streams(act)

    def speaking(self, words: Sequence[str]) -> Adapter:
        return Streams(len, words)
