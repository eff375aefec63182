"""What a graph refuses is refused over HTTP before it begins, with the path of what is wrong."""

from __future__ import annotations

import operator
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated, Any

import pytest
from langchain_core.language_models import FakeListChatModel
from langchain_core.messages import AIMessage, AnyMessage
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.func import entrypoint
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.runtime import Runtime
from langgraph.types import interrupt
from pydantic import BaseModel
from typing_extensions import TypedDict

from .conftest import Live, Serve
from .test_websocket import BOTH, hear, say, socket

CALLS: list[Any] = []
SAID = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(autouse=True)
def nothing_called() -> None:
    CALLS.clear()


def answer(state: MessagesState) -> dict[str, Any]:
    CALLS.append(state)
    return {"messages": [AIMessage("yes")]}


def talking(**options: Any) -> Any:
    return StateGraph(MessagesState).add_node(answer).add_edge(START, "answer").compile(**options)


class Asking(TypedDict):
    text: str
    trail: Annotated[list[str], operator.add]


def asking(saver: Any) -> Any:
    def ask(state: Asking) -> dict[str, Any]:
        CALLS.append(state)
        return {"trail": [interrupt("sure?")]}

    return StateGraph(Asking).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=saver)


class Checked(BaseModel):
    question: str
    count: int = 1


def checked() -> Any:
    return StateGraph(Checked).add_node("a", lambda state: CALLS.append(state)).add_edge(START, "a").compile()


@entrypoint()
def asked(question: str) -> str:
    return question


REFUSED = [
    (talking, {"messages": [{"role": "bot", "content": "x"}]}, "messages.0"),
    (talking, {"command": {"resume": "yes"}}, "$"),
    (talking, {}, "$"),
    (checked, {"question": "?", "count": "many"}, "count"),
    (checked, {"count": 1}, "question"),
    (lambda: asked, {"question": "?"}, "$"),
    (lambda: asked, 7, "$"),
    (lambda: asked, 7.5, "$"),
    (lambda: asked, ["?"], "$"),
]


@pytest.mark.parametrize(("make", "payload", "path"), REFUSED)
def test_it_is_refused_on_every_route(serve: Serve, make: Any, payload: Any, path: str) -> None:
    live = serve(make(), framework="langgraph", streaming={"async_runs": True})
    for route in ("/invoke", "/invoke/stream", "/runs"):
        response = live.post(route, payload)
        assert response.status_code == 422, route
        problem = response.json()
        assert problem["code"] == "INVALID_INPUT"
        assert [error["path"] for error in problem["errors"]] == [path]
    assert live.get("/runs").json()["runs"] == []
    assert CALLS == []
    document = live.get("/docs/openapi.json").json()
    assert "422" in document["paths"]["/invoke"]["post"]["responses"]


@pytest.mark.parametrize("payload", [{}, {"command": {"resume": "yes"}}])
def test_a_pending_question_survives_what_says_nothing(serve: Serve, payload: Any) -> None:
    saver = InMemorySaver()
    graph = asking(saver)
    live = serve(graph, framework="langgraph")
    params = {"thread_id": "t"}
    assert "__interrupt__" in live.post("/invoke", {"text": "go"}, params=params).json()["output"]
    for route in ("/invoke", "/invoke/stream"):
        assert live.post(route, payload, params=params).status_code == 422
    assert len(CALLS) == 1
    snapshot = graph.get_state({"configurable": {"thread_id": "t"}})
    assert [one.value for one in snapshot.interrupts] == ["sure?"]


@pytest.mark.parametrize(("make", "payload", "path"), REFUSED)
async def test_it_is_refused_on_a_socket(serve: Serve, make: Any, payload: Any, path: str) -> None:
    live = serve(make(), framework="langgraph", **BOTH)
    async with socket(live) as connection:
        await say(connection, payload=payload, request_id="mine")
        frame = await hear(connection)
        assert (frame["type"], frame["request_id"]) == ("problem", "mine")
        assert frame["problem"]["code"] == "INVALID_INPUT"
        assert [error["path"] for error in frame["problem"]["errors"]] == [path]
    assert CALLS == []
    live.until(lambda: live.service.active == 0)


# -- context ------------------------------------------------------------------------------------------


@dataclass
class Context:
    model: str = "small"


@dataclass
class Needs:
    user: str


def with_context(schema: Any, read: Any) -> Any:
    def node(state: Asking, runtime: Runtime[Any]) -> dict[str, Any]:
        return {"text": str(read(runtime.context))}

    return StateGraph(Asking, schema).add_node("node", node).add_edge(START, "node").compile()


def test_a_graph_with_a_context_of_defaults_works(serve: Serve) -> None:
    live = serve(with_context(Context, lambda context: context.model), framework="langgraph")
    assert live.post("/invoke", {"text": "?"}).json()["output"]["text"] == "small"
    assert live.events({"text": "?"})[-1]["output"]["text"] == "small"


def test_a_field_of_the_context_that_nobody_gives_is_named(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    live = serve(with_context(Needs, lambda context: context.user), framework="langgraph")
    assert any("context_schema requires user" in record.getMessage() for record in caplog.records)
    response = live.post("/invoke", {"text": "?"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["path"] == "context.user"
    last = live.events({"text": "?"})[-1]
    assert (last["type"], last["code"]) == ("error", "INVALID_INPUT")
    assert last["details"]["errors"][0]["path"] == "context.user"


# -- chat ---------------------------------------------------------------------------------------------


class Hidden(TypedDict):
    messages: list[AnyMessage]
    number: int


class Number(TypedDict):
    number: int


@entrypoint()
def conversation(state: MessagesState) -> str:
    return "yes"


async def later() -> Any:
    return talking()


@asynccontextmanager
async def held() -> AsyncIterator[Any]:
    yield talking()


def for_each(config: RunnableConfig) -> Any:
    return talking()


CHATS: list[tuple[Any, Any]] = [
    (talking(), (SAID, ["messages", 0, "content"])),
    (talking, (SAID, ["messages", 0, "content"])),
    (later, (SAID, ["messages", 0, "content"])),
    (held, (SAID, ["messages", 0, "content"])),
    (for_each, (SAID, ["messages", 0, "content"])),
    (conversation, (SAID, ["messages", 0, "content"])),
    (asked, ("hi", [])),
    (checked(), ({"question": "hi"}, ["question"])),
    (StateGraph(Hidden, input_schema=Number).add_node("a", lambda _: {}).add_edge(START, "a"), None),
]


@pytest.mark.parametrize(("agent", "expected"), CHATS)
def test_a_chat_is_offered_where_the_input_takes_a_message(serve: Serve, agent: Any, expected: Any) -> None:
    chat = serve(agent, framework="langgraph").get_info()["chat"]
    if expected is None:
        assert chat is None
        return
    assert (with_hi(chat["payload"]), chat["path"]) == expected


def with_hi(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: with_hi(item) for key, item in value.items()}
    if isinstance(value, list):
        return [with_hi(item) for item in value]
    return "hi" if value == "Hello" else value


def test_a_chat_that_the_schema_refuses_is_not_offered(serve: Serve) -> None:
    schema = {"properties": {"messages": False, "question": {"type": "string"}}}
    chat = serve(talking(), framework="langgraph", io_schema={"input": schema}).get_info()["chat"]
    assert chat["path"] == ["question"]


def test_a_model_takes_the_message_itself(serve: Serve) -> None:
    live: Live = serve(FakeListChatModel(responses=["yes"]), framework="langchain")
    assert live.get_info()["chat"] == {"payload": "Hello", "path": [], "keeps_threads": False}
