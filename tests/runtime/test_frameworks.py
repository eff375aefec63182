"""Agents of the other frameworks behind HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate

from .conftest import Serve
from .test_langgraph import Scripted


def shape(events: list[dict[str, Any]]) -> list[str]:
    return [event["type"] for event in events if not event["type"].startswith(("step", "message"))]


def test_a_chain(serve: Serve) -> None:
    prompt = ChatPromptTemplate.from_messages([("user", "{question}")])
    model = Scripted(words=["it ", "was ", "me"])
    live = serve(prompt | model | StrOutputParser(), framework="langchain")
    payload = {"question": "who?"}
    assert live.post("/invoke", payload).json()["output"] == "it was me"
    events = live.events(payload)
    assert shape(events) == ["started", *["token"] * 3, "complete"]
    assert events[-1]["output"] == "it was me"
    assert [event["node_name"] for event in events if event["type"] == "step"] == [
        "ChatPromptTemplate",
        "Scripted",
        "StrOutputParser",
    ]


def test_a_model_alone_gives_its_message_as_json(serve: Serve) -> None:
    live = serve(ChatPromptTemplate.from_template("{q}") | Scripted(words=["so"]), framework="langchain")
    assert live.events({"q": "?"})[-1]["output"]["content"] == "so"


def test_an_object(serve: Serve) -> None:
    class Agent:
        def invoke(self, payload: dict[str, Any]) -> dict[str, Any]:
            return {"said": payload["text"]}

        async def astream(self, payload: dict[str, Any]) -> AsyncIterator[Any]:
            for word in payload["text"].split():
                yield word
            yield {"said": payload["text"]}

    live = serve(Agent(), framework="object")
    payload = {"text": "good morning"}
    assert live.post("/invoke", payload).json()["output"] == {"said": "good morning"}
    events = live.events(payload)
    assert shape(events) == ["started", "token", "token", "custom:partial", "complete"]
    assert events[-1]["output"] == {"said": "good morning"}
