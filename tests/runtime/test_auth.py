"""Who may call, and whose conversation it is."""

from __future__ import annotations

from typing import Annotated, Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, StateGraph
from langgraph.graph.message import add_messages
from typing_extensions import TypedDict

from dockrion_sdk import DockfileError

from .conftest import Live, Serve

KEYS = {"DOCKRION_API_KEY": "alice:key-of-alice, bob:key-of-bob ,nameless-key-123"}
AUTH = {"mode": "api_key"}


async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def served(serve: Serve, agent: Any = echo, env: dict[str, str] | None = None, **sections: Any) -> Live:
    return serve(agent, env=KEYS if env is None else env, auth=AUTH, **sections)


@pytest.mark.parametrize(
    "headers",
    [
        {"X-API-Key": "key-of-alice"},
        {"x-api-key": "key-of-bob"},
        {"Authorization": "Bearer nameless-key-123"},
        {"Authorization": "bearer key-of-alice"},
    ],
)
def test_a_valid_key_opens_every_route(serve: Serve, headers: dict[str, str]) -> None:
    live = served(serve)
    assert live.post("/invoke", {"a": 1}, headers=headers).json()["output"] == {"a": 1}
    assert live.events({"a": 1}, headers=headers)[-1]["type"] == "complete"
    for path in ("/info", "/schema", "/docs", "/docs/openapi.json"):
        assert live.get(path, headers=headers).status_code == 200, path


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-API-Key": ""},
        {"X-API-Key": "key-of-alic"},
        {"X-API-Key": "alice:key-of-alice"},
        {"X-API-Key": "alice"},
        {"X-API-Key": "key-of-alice, key-of-bob"},
        {"Authorization": "Basic key-of-alice"},
        {"Authorization": "key-of-alice"},
        {"Authorization": "Bearer"},
        {"X-API-Key": "wrong", "Authorization": "Bearer key-of-alice"},
        {"X-API-Key": "schlüssel"},
    ],
)
def test_no_key_or_a_wrong_one_is_401_everywhere(serve: Serve, headers: dict[str, str]) -> None:
    live = served(serve)
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for method, path in [
        ("POST", "/invoke"),
        ("POST", "/invoke/stream"),
        ("GET", "/info"),
        ("GET", "/schema"),
        ("GET", "/docs"),
        ("GET", "/docs/openapi.json"),
    ]:
        with live.client() as client:
            answer = client.request(method, path, headers=encoded)
        assert answer.status_code == 401, path
        assert answer.json()["code"] == "UNAUTHORIZED"
        assert "www-authenticate" in answer.headers
        assert "X-API-Key" in answer.json()["detail"]
        assert "key-of" not in answer.text
    assert live.get("/health").status_code == 200
    assert live.get("/ready").status_code == 200


@pytest.mark.parametrize("name", ["api_key", "key", "x-api-key", "access_token", "API_KEY"])
def test_a_key_in_the_query_is_401_even_beside_a_valid_header(serve: Serve, name: str) -> None:
    live = served(serve)
    for headers in ({}, {"X-API-Key": "key-of-alice"}):
        answer = live.post("/invoke", params={name: "key-of-alice"}, headers=headers)
        assert answer.status_code == 401
        assert "query string" in answer.json()["detail"]


def test_header_and_bearer_are_as_the_dockfile_says(serve: Serve) -> None:
    live = serve(
        echo,
        env={"MY_KEYS": "one-key"},
        auth={
            "mode": "api_key",
            "api_keys": {"env_var": "MY_KEYS", "header": "X-Token", "allow_bearer": False},
        },
    )
    assert live.post("/invoke", headers={"X-Token": "one-key"}).status_code == 200
    assert live.post("/invoke", headers={"X-API-Key": "one-key"}).status_code == 401
    assert live.post("/invoke", headers={"Authorization": "Bearer one-key"}).status_code == 401


@pytest.mark.parametrize("keys", ["", " , ", "na me:key", "name:"])
def test_keys_that_make_no_sense_keep_the_server_from_starting(serve: Serve, keys: str) -> None:
    with pytest.raises(DockfileError, match="DOCKRION_API_KEY") as refused:
        served(serve, env={"DOCKRION_API_KEY": keys})
    assert "na me" not in str(refused.value)


class Chat(TypedDict):
    messages: Annotated[list[Any], add_messages]


def remembering_graph() -> Any:
    def answer(state: Chat) -> dict[str, Any]:
        return {"messages": [AIMessage(f"message {len(state['messages'])}")]}

    graph = StateGraph(Chat).add_node("answer", answer).add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


def test_conversations_go_on_and_belong_to_their_owner(serve: Serve) -> None:
    live = served(serve, remembering_graph(), framework="langgraph")

    def say(key: str, thread: str | None) -> int:
        answer = live.post(
            "/invoke",
            {"messages": [{"role": "user", "content": "hi"}]},
            headers={"X-API-Key": key},
            params={"thread_id": thread} if thread else None,
        )
        assert answer.status_code == 200
        return len(answer.json()["output"]["messages"])

    assert say("key-of-alice", "t") == 2
    assert say("key-of-alice", "t") == 4
    assert say("key-of-bob", "t") == 2  # the same name, another's conversation
    assert say("nameless-key-123", "t") == 2
    assert say("key-of-alice", "t") == 6
    assert say("key-of-alice", None) == 2  # without a thread_id each request is its own
    assert say("key-of-alice", None) == 2
    streamed = live.events(
        {"messages": [{"role": "user", "content": "hi"}]},
        headers={"X-API-Key": "key-of-alice"},
        params={"thread_id": "t"},
    )
    assert len(streamed[-1]["output"]["messages"]) == 8
