"""What an agent's adapter says of its input, where the Dockfile says nothing, on each way in."""

from __future__ import annotations

import json
import logging
from typing import Any, ClassVar

import pytest
from websockets.asyncio.client import connect

from .a2a_client import EXPOSE, client_of, saying, sent
from .conftest import Serve

QUESTION = {"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]}


class Described:
    """An adapter of an agent that returns what it is given, and whose input has a schema."""

    framework = "described"
    agent_name = "described"
    keeps_threads = False
    schema: ClassVar[dict[str, Any] | None] = None

    def load(self, target: Any) -> None:
        """Take anything."""

    def invoke(self, payload: Any, **_: Any) -> Any:
        return {"got": payload}

    def input_schema(self) -> dict[str, Any] | None:
        return self.schema


class TakesText(Described):
    schema: ClassVar[dict[str, Any]] = {"type": "string"}


class TakesQuestion(Described):
    schema: ClassVar[dict[str, Any]] = QUESTION


class SaysNothing(Described):
    pass


class LeadsOutside(Described):
    schema: ClassVar[dict[str, Any]] = {"properties": {"a": {"$ref": "http://127.0.0.1:9/x"}}}


class LooksAhead(Described):
    schema: ClassVar[dict[str, Any]] = {
        "type": "object",
        "properties": {
            "price": {"anyOf": [{"type": "number"}, {"type": "string", "pattern": "^(?!^[-+.]*$)x"}]}
        },
    }


def named(adapter: type[Described]) -> str:
    return f"{__name__}:{adapter.__name__}"


@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream", "/runs"])
def test_a_text_is_a_payload_where_the_agent_takes_one(serve: Serve, path: str) -> None:
    live = serve(named(TakesText), streaming={"async_runs": True})
    assert live.post(path, "hello").status_code in (200, 202)
    for payload, code in (({"query": "hello"}, "INVALID_INPUT"), (5, "INVALID_INPUT")):
        refused = live.post(path, payload)
        assert (refused.status_code, refused.json()["code"]) == (422, code)
    assert live.post("/invoke", "hello").json()["output"] == {"got": "hello"}
    assert live.events("hello")[-1]["output"] == {"got": "hello"}


def test_what_the_adapter_says_is_shown(serve: Serve) -> None:
    live = serve(named(TakesQuestion))
    assert live.get("/schema").json()["input"] == QUESTION
    assert live.get_info()["chat"]["path"] == ["question"]
    document = live.get("/docs/openapi.json").json()
    assert document["components"]["schemas"]["Payload"] == QUESTION
    assert "422" in document["paths"]["/invoke"]["post"]["responses"]
    refused = live.post("/invoke", {"question": 5})
    assert [fault["path"] for fault in refused.json()["errors"]] == ["question"]
    text = serve(named(TakesText))
    assert text.get_info()["chat"] == {"payload": "Hello", "path": [], "keeps_threads": False}
    assert text.get("/docs/openapi.json").json()["components"]["schemas"]["Payload"] == {"type": "string"}


def test_the_dockfile_has_the_last_word(serve: Serve) -> None:
    live = serve(named(TakesText), io_schema={"input": QUESTION})
    assert live.get("/schema").json()["input"] == QUESTION
    assert live.post("/invoke", {"question": "x"}).status_code == 200
    assert live.post("/invoke", "x").json()["code"] == "NOT_AN_OBJECT"


def test_an_agent_of_which_nothing_is_known_takes_objects(serve: Serve) -> None:
    live = serve(named(SaysNothing))
    assert live.get("/schema").json()["input"] == {"type": "object"}
    assert live.post("/invoke", "x").json()["code"] == "NOT_AN_OBJECT"
    assert live.post("/invoke", {"any": "thing"}).status_code == 200


def test_a_schema_that_cannot_be_used_is_logged_and_not_fetched(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="dockrion"):
        live = serve(named(LeadsOutside))
    assert "properties.a.$ref: leads outside the schema, and nothing is fetched" in caplog.text
    assert live.post("/invoke", {"a": 1}).status_code == 200


def test_a_pattern_of_the_agents_own_that_is_not_supported_is_left_to_the_agent(serve: Serve) -> None:
    live = serve(named(LooksAhead))
    assert live.post("/invoke", {"price": "1.5"}).status_code == 200
    assert live.post("/invoke", {"price": []}).status_code == 422
    assert live.get("/schema").json()["input"] == LooksAhead.schema


async def test_a_text_over_a_socket(serve: Serve) -> None:
    live = serve(named(TakesText), expose={"streaming": "websocket"})
    async with connect(f"ws://127.0.0.1:{live.port}/invoke/ws") as socket:
        await socket.send(json.dumps({"payload": "hello"}))
        events = [json.loads(await socket.recv()) for _ in range(2)]
        assert events[-1]["output"] == {"got": "hello"}
        await socket.send(json.dumps({"payload": {"query": "hello"}}))
        assert json.loads(await socket.recv())["problem"]["code"] == "INVALID_INPUT"


async def test_a_text_over_a2a(serve: Serve) -> None:
    live = serve(named(TakesText), expose=EXPOSE, streaming={"async_runs": True})
    async with client_of(live, streaming=False) as client:
        task = await sent(client, saying("hello"))
        assert task.artifacts[0].parts[0].data.struct_value.fields["got"].string_value == "hello"
