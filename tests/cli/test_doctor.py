"""`dockrion doctor`: what is not well, and how to mend it."""

from __future__ import annotations

import json
import socket
from typing import Any

import pytest

from ..servers import RedisServer

AGENT = "print('printed')\ndef handle(payload):\n    return payload\n"
DOCKFILE = "agent: {name: tested, handler: agent:handle}\nexpose: {port: 0}\n"
STORE = "streaming: {async_runs: true, backend: redis, redis: {url: '${REDIS_URL}'}}\n"


def checks(dockrion: Any, *arguments: str, code: int = 0, **options: Any) -> dict[str, dict[str, str]]:
    """Return what `doctor --json` says, by the names of its checks."""
    document = json.loads(dockrion("doctor", *arguments, "--json", code=code, **options).stdout)
    assert document["ok"] is (code == 0)
    return {check["name"]: check for check in document["checks"]}


def project(dockrion: Any, more: str = "", agent: str = AGENT) -> None:
    dockrion.project({"agent.py": agent, "Dockfile.yaml": DOCKFILE + more})


def test_all_is_well(dockrion: Any) -> None:
    project(dockrion)
    done = dockrion("doctor")
    names = [line.split()[1] for line in done.stdout.splitlines()]
    assert names == ["python", "packages", "conflict", "dockfile", "secrets", "agent", "store", "port"]
    assert "printed" not in done.stdout
    assert {check["status"] for check in checks(dockrion).values()} == {"ok", "skipped"}


def test_an_installation_alone(dockrion: Any) -> None:
    assert checks(dockrion)["dockfile"]["status"] == "skipped"
    assert checks(dockrion, "nowhere", code=1)["dockfile"]["fix"] == "`dockrion init NAME` makes one"


def test_a_distribution_that_brings_the_same_packages(dockrion: Any) -> None:
    dockrion.project(
        {"dockrion-0.9.dist-info/METADATA": "Metadata-Version: 2.1\nName: dockrion\nVersion: 0.9\n"}, "other"
    )
    found = checks(dockrion, code=1, env={"PYTHONPATH": str(dockrion.directory / "other")})["conflict"]
    assert (
        found["message"] == "the distribution dockrion 0.9 brings packages of the same names as dockrion-sdk"
    )
    assert found["fix"].startswith("pip uninstall dockrion;")


def test_a_package_that_is_too_old(dockrion: Any) -> None:
    dockrion.project(
        {"rich-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: rich\nVersion: 1.0\n"}, "other"
    )
    found = checks(dockrion, code=1, env={"PYTHONPATH": str(dockrion.directory / "other")})["packages"]
    assert found["message"].startswith("rich is 1.0, and dockrion-sdk needs >=")
    assert found["fix"].startswith('pip install "rich>=')


@pytest.mark.parametrize(
    ("more", "agent", "name", "message", "fix"),
    [
        ("steaming: {}\nexpos: 1\nexpose: {}\n", AGENT, "dockfile", "duplicate key", "keep one of them"),
        (
            "auth: {mode: api_key}\n",
            AGENT,
            "secrets",
            "DOCKRION_API_KEY is not set",
            "export DOCKRION_API_KEY=",
        ),
        (
            "secrets: {required: [{name: API_TOKEN, description: for the model}]}\n",
            AGENT,
            "secrets",
            "API_TOKEN is not set (for the model)",
            "put it into .env beside the Dockfile",
        ),
        ("", "import nowhere\n", "agent", "No module named 'nowhere'", "dockrion validate --verbose"),
        ("", "raise RuntimeError('no')\n", "agent", "RuntimeError: no", "dockrion validate --verbose"),
    ],
)
def test_what_is_wrong_with_a_project(
    dockrion: Any, more: str, agent: str, name: str, message: str, fix: str
) -> None:
    project(dockrion, more, agent)
    found = checks(dockrion, code=1)[name]
    assert found["status"] == "failed"
    assert message in found["message"]
    assert fix in found["fix"]
    lines = dockrion("doctor", code=1).stdout.splitlines()
    at = next(number for number, line in enumerate(lines) if line.startswith(f"✗ {name} "))
    assert lines[at + 1].strip() == found["fix"]


def test_a_secret_is_not_shown(dockrion: Any) -> None:
    project(
        dockrion,
        "secrets: {required: [{name: API_TOKEN}]}\n",
        "import os\nraise RuntimeError(os.environ['API_TOKEN'])\n",
    )
    shown = dockrion("doctor", code=1, env={"API_TOKEN": "s3cret-value"})
    assert "RuntimeError: ***" in shown.stdout
    assert "s3cret-value" not in shown.stdout + shown.stderr


def test_an_env_file_that_others_may_read(dockrion: Any) -> None:
    project(dockrion)
    dockrion.project({".env": "A=1\n"})
    (dockrion.directory / ".env").chmod(0o644)
    assert checks(dockrion)["environment"]["fix"] == "chmod 600 .env"
    (dockrion.directory / ".env").chmod(0o600)
    assert checks(dockrion)["environment"]["status"] == "ok"


def test_a_port_that_is_taken(dockrion: Any) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        text = DOCKFILE.replace("port: 0", f"port: {port}, host: 127.0.0.1")
        dockrion.project({"agent.py": AGENT, "Dockfile.yaml": text})
        found = checks(dockrion, code=1)["port"]
    assert str(port) in found["message"]
    assert found["fix"]


def test_a_redis_that_is_away(dockrion: Any) -> None:
    project(dockrion, STORE)
    found = checks(dockrion, code=1, env={"REDIS_URL": "redis://:hunter22@127.0.0.1:1/0"})["store"]
    assert (found["status"], found["fix"]) == ("failed", "start it, or mend streaming.redis.url")
    assert "hunter22" not in str(found)


def test_a_redis_that_is_safe(dockrion: Any, redis_server: RedisServer) -> None:
    project(dockrion, STORE)
    assert checks(dockrion, env={"REDIS_URL": redis_server.url})["store"]["status"] == "ok"


def test_a_redis_that_loses_things(dockrion: Any, tmp_path: Any) -> None:
    project(dockrion, STORE)
    with RedisServer(tmp_path / "redis", appendonly="no", maxmemory_policy="allkeys-lru") as server:
        document = json.loads(dockrion("doctor", "--json", env={"REDIS_URL": server.url}).stdout)
    warned = [check for check in document["checks"] if check["name"] == "store"]
    assert document["ok"] is True
    assert [(check["status"], check["fix"]) for check in warned] == [
        ("warning", "set noeviction"),
        ("warning", "set appendonly yes"),
    ]


def test_a_server_that_anybody_may_call(dockrion: Any) -> None:
    open_to_all = DOCKFILE.replace("port: 0", "port: 0, host: 0.0.0.0")
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": open_to_all})
    found = checks(dockrion, code=1)
    assert found["exposure"]["status"] == "failed"
    assert "0.0.0.0" in found["exposure"]["message"]
    assert "auth.mode: api_key" in found["exposure"]["fix"]
    assert "every interface" in found["port"]["message"]
    dockrion.project({"Dockfile.yaml": f"{open_to_all}auth: {{mode: api_key}}\n"})
    found = checks(dockrion, env={"DOCKRION_API_KEY": "k"})
    assert "exposure" not in found
    assert found["keys"]["status"] == "warning"
    assert "fewer than 8 characters" in found["keys"]["message"]


GRAPH = """
from dataclasses import dataclass
from langgraph.graph import START, MessagesState, StateGraph

@dataclass
class Context:
    user: str

graph = StateGraph(MessagesState, Context).add_node("a", lambda state: None).add_edge(START, "a").compile()
"""


def test_a_graph_that_asks_for_a_context(dockrion: Any) -> None:
    agent = "agent: {name: tested, entrypoint: 'agent:graph', framework: langgraph}\n"
    dockrion.project({"agent.py": GRAPH, "Dockfile.yaml": agent + "expose: {port: 0}\n"})
    found = checks(dockrion)["agent"]
    assert found["status"] == "warning"
    assert "the graph's context_schema requires user;" in found["message"]
    assert "context_schema requires user" in dockrion("validate").stderr
