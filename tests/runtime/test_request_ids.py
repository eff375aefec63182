"""The id of a request: its client's or a fresh one, in the answer, in events and in errors."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, StateGraph
from websockets.sync.client import connect

from .conftest import Serve, Store

GIVEN = {"X-Request-ID": "order:7"}


def echo(payload: dict[str, Any]) -> dict[str, Any]:
    if payload.get("fail"):
        raise ValueError("no")
    return payload


def test_a_direct_stream_has_that_of_its_client(serve: Serve) -> None:
    answer = serve(echo).post("/invoke/stream", headers=GIVEN)
    assert answer.headers["x-request-id"] == "order:7"
    assert answer.text.count('"request_id":"order:7"') == answer.text.count("data: ") == 2


def test_every_request_that_makes_work_tells_its_id(serve: Serve, store: Store) -> None:
    live = serve(echo, streaming={**store.streaming(), "async_runs": True})
    for path in ("/invoke", "/runs?run_id=one"):
        assert live.post(path, headers=GIVEN).headers["x-request-id"] == "order:7"
        fresh = {live.post(path).headers["x-request-id"] for _ in range(2)}
        assert len(fresh) == 2
        refused = live.post(path, [1], headers=GIVEN)
        assert refused.status_code == 400
        assert refused.headers["x-request-id"] == refused.json()["request_id"] == "order:7"


def test_what_fails_tells_it_too(serve: Serve) -> None:
    problem = serve(echo).post("/invoke", {"fail": True}, headers=GIVEN)
    assert problem.headers["x-request-id"] == problem.json()["request_id"] == "order:7"


@pytest.mark.parametrize("given", ["", "a b", "x" * 129, "<script>"])
@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream", "/runs"])
def test_one_that_is_no_id_is_refused(serve: Serve, path: str, given: str) -> None:
    live = serve(echo, streaming={"async_runs": True})
    refused = live.post(path, headers={"X-Request-ID": given})
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_REQUEST_ID")
    assert "1 to 128 letters" in refused.json()["detail"]
    assert "x-request-id" not in refused.headers


def test_one_request_does_not_inherit_that_of_another(serve: Serve) -> None:
    live = serve(echo)
    with live.client() as client:  # one connection
        client.post("/invoke", json={}, headers=GIVEN)
        refused = client.get("/nowhere")
    assert "x-request-id" not in refused.headers
    assert "request_id" not in refused.json()


def test_the_same_id_twice_is_not_the_same_conversation(serve: Serve) -> None:
    builder = StateGraph(dict)
    builder.add_node("count", lambda state: {"turns": state.get("turns", 0) + 1})
    builder.add_edge(START, "count")
    builder.add_edge("count", END)
    live = serve(builder.compile(checkpointer=InMemorySaver()), framework="langgraph")
    for _ in range(2):
        assert live.post("/invoke", {"a": 1}, headers=GIVEN).json()["output"]["turns"] == 1


def test_over_a_websocket_each_execution_has_its_own(serve: Serve) -> None:
    live = serve(echo, expose={"streaming": "websocket"})
    with connect(f"ws://127.0.0.1:{live.port}/invoke/ws") as socket:
        socket.send(json.dumps({"payload": {}, "request_id": "order:8"}))
        assert json.loads(socket.recv())["request_id"] == "order:8"
