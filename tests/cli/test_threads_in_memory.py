"""Conversations that are kept in the memory of one process: said where there are several, and by `doctor`."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from ..servers.redis import RedisServer
from .conftest import until

GRAPH = """
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import END, START, MessagesState, StateGraph

def answer(state):
    return {"messages": [("ai", "hello")]}

builder = StateGraph(MessagesState)
builder.add_node("answer", answer)
builder.add_edge(START, "answer")
builder.add_edge("answer", END)
kept = builder.compile(checkpointer=InMemorySaver())
bare = builder.compile()
"""
TOLD = "tested keeps conversations in the memory of each process"


def graph(dockrion: Any, name: str, rest: str = "") -> None:
    head = f"agent: {{name: tested, framework: langgraph, entrypoint: 'graph:{name}'}}\n"
    dockrion.project({"graph.py": GRAPH, "Dockfile.yaml": head + rest})


@pytest.mark.parametrize(
    ("name", "workers", "told"), [("kept", "2", True), ("kept", "1", False), ("bare", "2", False)]
)
def test_it_is_said_at_the_start(dockrion: Any, name: str, workers: str, told: bool) -> None:
    graph(dockrion, name)
    with dockrion.run("--workers", workers) as served:
        assert served.out.read_text().count(TOLD) == told


def test_a_worker_says_it(dockrion: Any, shared_redis: RedisServer) -> None:
    graph(
        dockrion,
        "kept",
        f"streaming: {{async_runs: true, backend: redis, redis: {{url: '{shared_redis.url}'}}}}",
    )
    with dockrion.started("worker") as worker:
        until(lambda: "Ctrl-C stops it" in worker.out.read_text())
        assert re.search(f"^  warning {TOLD}", worker.out.read_text(), re.M)


@pytest.mark.parametrize(("name", "status"), [("kept", "warning"), ("bare", "ok")])
def test_doctor_says_it(dockrion: Any, name: str, status: str) -> None:
    graph(dockrion, name, "expose: {port: 0}")
    checks = json.loads(dockrion("doctor", "--json").stdout)["checks"]
    [check] = [check for check in checks if check["name"] == "agent"]
    assert check["status"] == status
    if status == "warning":
        assert TOLD in check["message"]
        assert "checkpointer that they share" in check["fix"]
