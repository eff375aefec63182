"""Conversations over HTTP: what they are called, whose they are, and what is left of unnamed ones."""

from __future__ import annotations

import json
import logging
import operator
import re
from pathlib import Path
from typing import Annotated, Any

import httpx
import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt
from typing_extensions import TypedDict

from dockrion_runtime.service import NOTHING_KEPT

from .conftest import Live, Serve, Store

KEYS: dict[str, Any] = {
    "auth": {"mode": "api_key", "api_keys": {"env_var": "KEYS"}},
    "env": {"KEYS": "ada:key-of-ada,bob:key-of-bob"},
}
ADA, BOB = {"X-API-Key": "key-of-ada"}, {"X-API-Key": "key-of-bob"}


class State(TypedDict, total=False):
    text: str
    said: Annotated[list[str], operator.add]


def talking(saver: Any = None, seen: list[Any] | None = None) -> Any:
    """Return a graph that remembers what was said, and asks back if that is a question."""

    def listen(state: State, config: RunnableConfig) -> dict[str, Any]:
        thread = config["configurable"].get("thread_id")
        # As projects do that keep files of their own for each conversation.
        assert thread is None or re.fullmatch("[A-Za-z0-9_-]{1,64}", thread), f"Invalid thread_id: {thread}"
        if seen is not None:
            seen.append((thread, config["configurable"].get("langgraph_auth_user_id")))
        return {"said": [state["text"]]}

    def ask(state: State) -> dict[str, Any]:
        return {"said": [interrupt("what?")]} if state["text"].endswith("?") else {}

    builder = StateGraph(State).add_node("listen", listen).add_node("ask", ask)
    return builder.add_edge(START, "listen").add_edge("listen", "ask").compile(checkpointer=saver)


def say(live: Live, text: str, thread: str | None = None, **options: Any) -> httpx.Response:
    params = {} if thread is None else {"thread_id": thread}
    response = live.post("/invoke", {"text": text}, params=params, **options)
    assert response.status_code == 200, response.text
    return response


def names(saver: Any) -> set[str]:
    return {one.config["configurable"]["thread_id"] for one in saver.list(None)}


@pytest.mark.parametrize("kind", ["memory", "sqlite"])
def test_agents_see_the_name_that_the_request_gave(serve: Serve, kind: str, tmp_path: Path) -> None:
    seen: list[Any] = []
    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as sqlite:
        saver: Any = sqlite if kind == "sqlite" else InMemorySaver()
        live = serve(talking(saver, seen), framework="langgraph", **KEYS)
        for headers, heard in ((ADA, ["one"]), (ADA, ["one", "two"]), (BOB, ["three"])):
            response = say(live, heard[-1], "t", headers=headers)
            assert response.json()["output"]["said"] == heard
            assert response.headers["X-Thread-ID"] == "t"
            assert response.json()["metadata"]["thread_id"] == "t"
        live.events({"text": "four"}, params={"thread_id": "t"}, headers=BOB)
        assert seen == [("t", "ada"), ("t", "ada"), ("t", "bob"), ("t", "bob")]
        assert names(saver) == {"ada/t", "bob/t"}


def test_runs_of_two_owners_see_the_name_and_not_each_other(serve: Serve, store: Store) -> None:
    seen: list[Any] = []
    saver = InMemorySaver()
    streaming = {"async_runs": True, "allow_client_ids": True, **store.streaming()}
    live = serve(talking(saver, seen), framework="langgraph", streaming=streaming, **KEYS)
    for number, (headers, heard) in enumerate(((ADA, ["a"]), (BOB, ["b"]), (ADA, ["a", "c"]))):
        params = {"thread_id": "t", "run_id": f"r{number}"}
        response = live.post("/runs", {"text": heard[-1]}, params=params, headers=headers)
        assert response.headers["X-Thread-ID"] == "t"
        events = followed(live, f"r{number}", headers)
        assert events[-1]["output"]["said"] == heard
    assert seen == [("t", "ada"), ("t", "bob"), ("t", "ada")]
    assert names(saver) == {"ada/t", "bob/t"}


def followed(live: Live, run_id: str, headers: dict[str, str] | None = None) -> list[dict[str, Any]]:
    text = live.get(f"/runs/{run_id}/events", headers=headers or {}).text
    return [json.loads(line[5:]) for line in text.splitlines() if line.startswith("data:")]


# -- requests that name no thread ---------------------------------------------------------------------


def test_what_a_request_without_a_thread_stored_is_deleted(serve: Serve) -> None:
    saver = InMemorySaver()
    live = serve(talking(saver), framework="langgraph")
    with live.client() as client:
        for _ in range(100):
            response = client.post("/invoke", json={"text": "hi"})
            assert response.headers["X-Thread-ID"] == response.json()["metadata"]["thread_id"]
    complete = live.events({"text": "hi"})[-1]
    assert complete["metadata"]["thread_id"]
    assert names(saver) == set()
    assert len(saver.blobs) == len(saver.writes) == 0


def test_a_question_can_be_found_under_the_name_that_the_answer_says(serve: Serve) -> None:
    saver = InMemorySaver()
    live = serve(talking(saver), framework="langgraph")
    response = say(live, "why?")
    thread = response.headers["X-Thread-ID"]
    with live.stream({"text": "how?"}) as events:
        streamed = list(events)[-1]["metadata"]["thread_id"]
    assert names(saver) == {thread, streamed}
    for name in (thread, streamed):
        assert say(live, "again", name).json()["output"]["said"][-1] == "again"
        assert len(say(live, "more", name).json()["output"]["said"]) == 3


def test_a_streams_header_names_the_thread(serve: Serve) -> None:
    live = serve(talking(InMemorySaver()), framework="langgraph")
    with live.client() as client:
        response = client.post("/invoke/stream", json={"text": "hi"}, params={"thread_id": "mine"})
        assert response.headers["X-Thread-ID"] == "mine"
        response = client.post("/invoke/stream", json={"text": "hi"})
        (complete,) = [line for line in response.text.splitlines() if '"complete"' in line]
        assert response.headers["X-Thread-ID"] == json.loads(complete[5:])["metadata"]["thread_id"]


def test_what_a_run_without_a_thread_stored_is_deleted_after_its_end(serve: Serve, store: Store) -> None:
    saver = InMemorySaver()
    streaming = {"async_runs": True, "allow_client_ids": True, **store.streaming()}
    live = serve(talking(saver), framework="langgraph", streaming=streaming)
    for number, text in enumerate(("hi", "there", "why?")):
        response = live.post("/runs", {"text": text}, params={"run_id": f"r{number}"})
        assert response.headers["X-Thread-ID"] == f"r{number}"
        assert followed(live, f"r{number}")[-1]["metadata"]["thread_id"] == f"r{number}"
    live.eventually(lambda: names(saver) == {"r2"})


# -- agents that keep nothing -------------------------------------------------------------------------


def handler(payload: dict[str, Any]) -> str:
    return "done"


class Remembers:
    def invoke(self, payload: Any, config: Any = None) -> Any:
        return config


@pytest.mark.parametrize("kind", ["graph", "handler"])
def test_an_agent_that_keeps_nothing_says_so(
    serve: Serve, kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    agent, framework = (talking(), "langgraph") if kind == "graph" else (handler, None)
    live = serve(agent, framework=framework, streaming={"async_runs": True})
    expected = f'299 dockrion "{NOTHING_KEPT}"'
    with caplog.at_level(logging.WARNING, "dockrion"), live.client() as client:
        for path in ("/invoke", "/invoke/stream", "/runs"):
            named = client.post(path, json={"text": "hi"}, params={"thread_id": "t"})
            assert named.is_success
            assert named.headers["Warning"] == expected
            assert "X-Thread-ID" not in named.headers
            assert "Warning" not in client.post(path, json={"text": "hi"}).headers
    told = [record.getMessage() for record in caplog.records if NOTHING_KEPT in record.getMessage()]
    assert len(told) == 1


def test_a_factory_has_a_thread_as_on_langgraphs_server_even_if_its_graph_keeps_nothing(serve: Serve) -> None:
    factories: list[Any] = []
    nodes: list[Any] = []

    def made(config: RunnableConfig) -> Any:
        configurable = config["configurable"]
        if configurable["__is_for_execution__"]:
            factories.append(configurable.get("thread_id"))
        return talking(seen=nodes)

    live = serve(made, framework="langgraph")
    assert live.get_info()["chat"]["keeps_threads"] is False
    response = say(live, "a")
    assert "X-Thread-ID" not in response.headers
    assert "Warning" not in response.headers
    say(live, "b")
    live.events({"text": "c"})
    assert [thread for thread, _ in nodes] == factories
    assert len(set(factories)) == 3
    assert None not in factories


def test_an_object_that_gets_the_config_may_keep_what_it_likes(serve: Serve) -> None:
    live = serve(Remembers(), framework="object", **KEYS)
    response = live.post("/invoke", {}, params={"thread_id": "t"}, headers=ADA)
    assert "Warning" not in response.headers
    # Nothing but the name keeps the owners of such an agent's conversations apart.
    assert response.json()["output"] == {"configurable": {"thread_id": "ada/t"}}
