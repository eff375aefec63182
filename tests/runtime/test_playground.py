"""What the page is served with, and what it asks of the server."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import pytest
from langgraph.graph import END, START, MessagesState, StateGraph
from typing_extensions import TypedDict

from .conftest import Serve

ROOT = Path(__file__).parents[2]
STATIC = sorted(entry.name for entry in files("dockrion_runtime.playground").joinpath("static").iterdir())
KEYS = {"env": {"DOCKRION_API_KEY": "alice:key-of-alice"}, "auth": {"mode": "api_key"}}


def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def test_every_file_is_served_to_all_and_lets_nothing_foreign_in(serve: Serve) -> None:
    live = serve(echo, **KEYS)
    for path in ("/", *(f"/playground/{name}" for name in STATIC)):
        answer = live.get(path)
        assert answer.status_code == 200, path
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("default-src 'self'; script-src 'self'; style-src 'self'")
        assert "unsafe" not in policy
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-cache"
        again = live.get(path, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
    assert live.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert live.get("/playground/main.js").headers["content-type"] == "text/javascript; charset=utf-8"


@pytest.mark.parametrize("name", STATIC)
def test_nothing_is_asked_from_elsewhere(name: str) -> None:
    text = files("dockrion_runtime.playground").joinpath("static", name).read_text()
    assert set(re.findall(r"https?://[^\s\"']+", text)) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"localStorage|sessionStorage|indexedDB|document\.cookie|innerHTML", text)
    assert len(text.splitlines()) < 300


@pytest.mark.parametrize("name", ["nothing.js", "..%2froutes.py", "%2e%2e%2froutes.py", "static/main.js"])
def test_nothing_else_is_served(serve: Serve, name: str) -> None:
    answer = serve(echo).get(f"/playground/{name}")
    assert (answer.status_code, answer.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("expose", [{"playground": False}, {"rest": False}])
def test_switched_off_there_is_no_page(serve: Serve, expose: dict[str, Any]) -> None:
    live = serve(echo, expose=expose)
    assert live.get("/").status_code == live.get("/playground/main.js").status_code == 404


def test_a_wheel_has_the_page(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    [wheel] = tmp_path.glob("*.whl")
    packed = zipfile.ZipFile(wheel).namelist()
    assert {f"dockrion_runtime/playground/static/{name}" for name in STATIC} <= set(packed)


# -- what the page asks -------------------------------------------------------------------------


class Question(TypedDict):
    query: str
    seen: Annotated[list[str], lambda old, new: old + new]


def test_the_graph_has_its_subgraphs_nodes(serve: Serve) -> None:
    def node(_: Question) -> dict[str, Any]:
        return {"seen": ["x"]}

    inner = StateGraph(Question).add_node("dig", node).add_node("sift", node)
    inner.add_edge(START, "dig").add_edge("dig", "sift")
    graph = StateGraph(Question).add_node("plan", node).add_node("search", inner.compile())
    graph.add_edge(START, "plan").add_conditional_edges("plan", lambda _: "search", ["search", END])
    live = serve(graph.compile(), framework="langgraph")
    drawn = live.get("/graph").json()
    assert [(node["id"], node["name"], node["kind"]) for node in drawn["nodes"]] == [
        ("__start__", "__start__", "start"),
        ("plan", "plan", "node"),
        ("__end__", "__end__", "end"),
        ("search:dig", "dig", "node"),
        ("search:sift", "sift", "node"),
    ]
    ways = {(edge["source"], edge["target"]): edge["conditional"] for edge in drawn["edges"]}
    assert ways == {
        ("__start__", "plan"): False,
        ("plan", "search:dig"): True,
        ("plan", "__end__"): True,
        ("search:dig", "search:sift"): False,
        ("search:sift", "__end__"): False,
    }
    assert live.get_info()["graph"] is True
    known = {node["id"] for node in drawn["nodes"]}
    for event in live.events({"query": "x", "seen": []}):
        if event["type"] == "step" and event["node_name"] != "search":
            path = [part.split(":")[0] for part in event.get("namespace", ())]
            assert ":".join([*path, event["node_name"]]) in known


def test_a_graph_that_is_made_for_each_execution_cannot_be_drawn(serve: Serve) -> None:
    def factory(config: Any) -> Any:
        return StateGraph(Question).add_node("plan", lambda _: {}).add_edge(START, "plan").compile()

    answer = serve(factory, framework="langgraph").get("/graph")
    assert (answer.status_code, answer.json()["code"]) == (404, "NO_GRAPH")


def test_a_function_is_no_graph(serve: Serve) -> None:
    live = serve(echo)
    assert live.get("/graph").status_code == 404
    assert live.get_info()["graph"] is False


def test_the_graph_needs_a_key(serve: Serve) -> None:
    graph = StateGraph(Question).add_node("plan", lambda _: {}).add_edge(START, "plan").compile()
    live = serve(graph, framework="langgraph", **KEYS)
    assert live.get("/graph").status_code == 401
    assert live.get("/graph", headers={"X-API-Key": "key-of-alice"}).status_code == 200


def test_a_refusal_names_the_header(serve: Serve) -> None:
    auth = {"mode": "api_key", "api_keys": {"header": "X-Token", "allow_bearer": False}}
    refused = serve(echo, env=KEYS["env"], auth=auth).get("/info").json()
    assert refused["header"] == "X-Token"


def chat_of(serve: Serve, properties: dict[str, Any] | None, **rest: Any) -> Any:
    schema = None if properties is None else {"type": "object", "properties": properties, **rest}
    return serve(echo, io_schema={"input": schema}).get_info()["chat"]


def test_how_to_say_a_message_to_a_function(serve: Serve) -> None:
    text = {"type": "string"}
    chat = {"payload": {"question": "Hello"}, "path": ["question"], "keeps_threads": False}
    assert chat_of(serve, {"question": text}) == chat
    assert chat_of(serve, {"question": text, "style": text}, required=["question"]) == chat
    assert chat_of(serve, {"question": text, "n": {"type": "integer"}}, required=["n"]) is None
    assert chat_of(serve, {"one": text, "other": text}) is None
    assert chat_of(serve, None) is None


def test_how_to_say_a_message_to_a_graph(serve: Serve) -> None:
    graph = StateGraph(MessagesState).add_node("answer", lambda _: {}).add_edge(START, "answer").compile()
    live = serve(graph, framework="langgraph")
    assert live.get_info()["chat"] == {
        "payload": {"messages": [{"role": "user", "content": "Hello"}]},
        "path": ["messages", 0, "content"],
        "keeps_threads": False,
    }
