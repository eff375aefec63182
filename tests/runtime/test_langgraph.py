"""An unchanged LangGraph graph behind HTTP."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Annotated, Any

from langchain_core.callbacks import CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from .conftest import DEADLINE, Serve


class Scripted(BaseChatModel):
    """Says its words one by one; waits for ``gate`` after the first."""

    words: list[str]
    gate: Any = None

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage("".join(self.words)))])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        for index, word in enumerate(self.words):
            if index == 1 and self.gate is not None:
                assert self.gate.wait(DEADLINE)
            yield ChatGenerationChunk(message=AIMessageChunk(word))

    async def _astream(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> AsyncIterator[Any]:
        for index, word in enumerate(self.words):
            if index == 1 and self.gate is not None:
                assert await asyncio.to_thread(self.gate.wait, DEADLINE)
            yield ChatGenerationChunk(message=AIMessageChunk(word))


class State(TypedDict, total=False):
    messages: Annotated[list[Any], add_messages]
    counted: int


def graph_of(root: Scripted, sub: Scripted) -> Any:
    async def asynchronous(state: State) -> dict[str, Any]:
        return {"messages": [await root.ainvoke("go")]}

    def synchronous(state: State) -> dict[str, Any]:
        return {"messages": [sub.invoke("go")], "counted": 1}

    inner = StateGraph(State).add_node("synchronous", synchronous).add_edge(START, "synchronous").compile()
    outer = StateGraph(State).add_node("asynchronous", asynchronous).add_node("inner", inner)
    return outer.add_edge(START, "asynchronous").add_edge("asynchronous", "inner").compile()


def test_the_same_output_bare_invoked_and_streamed(serve: Serve) -> None:
    graph = graph_of(Scripted(words=["a", "b", "c"]), Scripted(words=["d", "e"]))
    live = serve(graph, framework="langgraph")
    payload = {"messages": [{"role": "user", "content": "hi", "id": "1"}]}

    def essence(output: dict[str, Any]) -> Any:
        return [(m["type"], m["content"]) for m in output["messages"]], output["counted"], set(output)

    bare = asyncio.run(graph.ainvoke(payload))
    expected = essence({**bare, "messages": [m.model_dump() for m in bare["messages"]]})
    assert essence(live.post("/invoke", payload).json()["output"]) == expected
    events = live.events(payload)
    assert essence(events[-1]["output"]) == expected
    tokens = [
        (e["content"], e["node_name"], bool(e.get("namespace"))) for e in events if e["type"] == "token"
    ]
    assert tokens == [(word, "asynchronous", False) for word in "abc"] + [
        (word, "synchronous", True) for word in "de"
    ]
    steps = [e for e in events if e["type"] == "step"]
    assert [step["node_name"] for step in steps] == ["asynchronous", "synchronous", "inner"]
    assert steps[0]["output_keys"] == ["messages"]
    assert steps[2]["duration_ms"] >= steps[1]["duration_ms"] >= 0
    assert [e["sequence"] for e in events] == list(range(1, len(events) + 1))


def test_tokens_arrive_as_they_are_produced(serve: Serve) -> None:
    for where in ("asynchronous", "synchronous"):
        gate = threading.Event()
        root = Scripted(words=["one", "two"], gate=gate if where == "asynchronous" else None)
        sub = Scripted(words=["three", "four"], gate=gate if where == "synchronous" else None)
        live = serve(graph_of(root, sub), framework="langgraph", streaming={"events": {"allowed": "chat"}})
        with live.stream({"messages": []}) as events:
            wanted = "one" if where == "asynchronous" else "three"
            assert any(event.get("content") == wanted for event in events)
            gate.set()  # only now may the model go on
            rest = [event["content"] for event in events if event["type"] == "token"]
        assert rest == (["two", "three", "four"] if where == "asynchronous" else ["four"])


def test_a_reader_that_leaves_stops_subgraphs_too(serve: Serve) -> None:
    began, stopped = threading.Event(), threading.Event()
    ticks = 0

    async def ticking(state: State) -> dict[str, Any]:
        nonlocal ticks
        try:
            while True:
                ticks += 1
                began.set()
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    inner = StateGraph(State).add_node("ticking", ticking).add_edge(START, "ticking").compile()
    graph = StateGraph(State).add_node("inner", inner).add_edge(START, "inner").compile()
    live = serve(graph, framework="langgraph")
    with live.stream() as events:
        next(events)
        assert began.wait(DEADLINE)
    assert stopped.wait(1.0)
    live.until(lambda: live.service.active == 0)
    after = ticks
    assert live.get("/health").status_code == 200
    assert ticks == after


def test_a_graph_that_loops_for_ever_ends_in_an_error(serve: Serve) -> None:
    module_graph = (
        StateGraph(State)
        .add_node("again", lambda state: {"counted": 1})
        .add_edge(START, "again")
        .add_edge("again", "again")
        .compile()
    )
    live = serve(module_graph, framework="langgraph", recursion_limit=7)
    events = live.events()
    assert events[-1]["type"] == "error"
    assert events[-1]["details"] == {"exception": "GraphRecursionError"}
    assert sum(event["type"] == "step" for event in events) == 7


def test_synchronous_nodes_of_many_requests_run_side_by_side(serve: Serve) -> None:
    together = threading.Barrier(24)

    def meet(state: State) -> dict[str, Any]:
        together.wait(DEADLINE)
        return {"counted": 24}

    graph = StateGraph(State).add_node("meet", meet).add_edge(START, "meet").compile()
    live = serve(graph, framework="langgraph")
    outputs: list[int] = []
    callers = [
        threading.Thread(target=lambda: outputs.append(live.post("/invoke").json()["output"]["counted"]))
        for _ in range(24)
    ]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(DEADLINE)
    assert outputs == [24] * 24
