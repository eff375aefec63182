"""`dockrion init`: what it writes validates, tests, streams and runs at once."""

from __future__ import annotations

import ast
import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from dockrion_sdk import load_dockfile

from ..servers import RedisServer

PAYLOAD = {"query": "2 + 3 * (4 - 1)"}
OUTPUT = {"answer": "2 + 3 * (4 - 1) = 11", "steps": ["4 - 1 = 3", "3 * 3 = 9", "2 + 9 = 11"]}


@pytest.mark.parametrize("kind", [(), ("--handler",), ("--framework", "langgraph")], ids=" ".join)
def test_what_it_writes_runs_at_once(dockrion: Any, kind: tuple[str, ...]) -> None:
    made = dockrion("init", "my-agent", *kind)
    assert "cd my-agent\n  dockrion run\n  curl -N -X POST localhost:8080/invoke/stream" in made.stdout

    assert dockrion("validate", "my-agent").stdout.startswith("OK: ")
    payload = json.dumps(PAYLOAD)
    assert json.loads(dockrion("test", "-p", payload, "my-agent").stdout) == OUTPUT
    assert dockrion("stream", "-p", payload, "my-agent").stdout == f"{OUTPUT['answer']}\n"
    with dockrion.run("my-agent") as served:
        answer = served.post("/invoke", PAYLOAD)
        assert (answer.status_code, answer.json()["output"]) == (200, OUTPUT)
        events = served.events(PAYLOAD)
        assert served.stop() == 0
    assert "".join(event["content"] for event in events if event["type"] == "token") == OUTPUT["answer"]
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert events[0]["type"] == "started"
    assert (events[-1]["type"], events[-1]["output"]) == ("complete", OUTPUT)
    told = {event["type"] for event in events[1:-1]} - {"token"}
    assert told == (
        {"step", "step_started", "message", "custom:langgraph"} if "langgraph" in kind else {"progress"}
    )


@pytest.mark.parametrize("kind", [(), ("--framework", "langgraph")], ids=" ".join)
def test_the_agent_imports_nothing_of_dockrion(dockrion: Any, kind: tuple[str, ...]) -> None:
    dockrion("init", "mine", *kind)
    tree = ast.parse((dockrion.directory / "mine" / "agent.py").read_text())
    imported = [
        name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for name in [getattr(node, "module", None) or "", *(alias.name for alias in node.names)]
    ]
    assert imported
    assert not [name for name in imported if name.startswith("dockrion")]


@pytest.mark.parametrize(
    ("options", "streaming", "allowed"),
    [
        (["--streaming", "sse"], ("sse",), "all"),
        (["--streaming", "none"], (), "all"),
        (["--streaming-events", "chat"], ("sse",), "chat"),
        (["--streaming-events", "token"], ("sse",), ("token",)),
        (["--streaming-events", "token,step,custom:fraud"], ("sse",), ("token", "step", "custom:fraud")),
        (["--async-runs", "--streaming-events", "chat"], ("sse",), "chat"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_show_in_the_dockfile(
    dockrion: Any, options: list[str], streaming: tuple[str, ...], allowed: Any
) -> None:
    dockrion("init", "my-agent", *options)
    dockfile = load_dockfile(dockrion.directory / "my-agent", {})
    assert dockfile.warnings == ()
    assert dockfile.agent.name == "my-agent"
    assert dockfile.expose.streaming == streaming
    assert dockfile.streaming.events.allowed == allowed
    assert dockfile.streaming.async_runs is ("--async-runs" in options)


def test_listed_events_are_the_ones_that_are_streamed(dockrion: Any) -> None:
    dockrion("init", "my-agent", "--streaming-events", "token,step,custom:fraud")
    streamed = dockrion("stream", "--json", "-p", json.dumps(PAYLOAD), "my-agent").stdout
    types = {json.loads(line)["type"] for line in streamed.splitlines()}
    assert types == {"started", "token", "complete"}


def test_without_streaming_it_shows_the_other_call(dockrion: Any) -> None:
    made = dockrion("init", "quiet", "--streaming", "none").stdout
    assert "curl -X POST localhost:8080/invoke -H" in made
    with dockrion.run("quiet") as served:
        assert served.post("/invoke", PAYLOAD).json()["output"] == OUTPUT
        assert served.post("/invoke/stream", PAYLOAD).status_code == 404


def test_auth_makes_a_key_of_its_own(dockrion: Any) -> None:
    made = dockrion("init", "locked", "--auth", "api_key")
    env_file = dockrion.directory / "locked" / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    name, _, key = env_file.read_text().strip().partition("=")
    assert (name, len(key) >= 32) == ("DOCKRION_API_KEY", True)
    assert ".env" in (dockrion.directory / "locked" / ".gitignore").read_text().splitlines()
    assert "locked/.env" in made.stdout
    assert key not in made.stdout + made.stderr

    validated = dockrion("validate", "locked")
    with dockrion.run("locked") as served:
        assert served.post("/invoke", PAYLOAD).status_code == 401
        assert served.post("/invoke", PAYLOAD, headers={"X-API-Key": key}).json()["output"] == OUTPUT
        assert served.events(PAYLOAD, headers={"X-API-Key": key})[-1]["type"] == "complete"
        assert served.stop() == 0
        written = served.out.read_text() + served.err.read_text()
    assert "X-API-Key" in written
    assert key not in written + validated.stdout + validated.stderr

    dockrion("init", "other", "--auth", "api_key")
    assert key not in (dockrion.directory / "other" / ".env").read_text()


def test_runs_are_served_at_once(dockrion: Any) -> None:
    made = dockrion("init", "my-agent", "--async-runs", "--streaming-events", "chat").stdout
    assert "curl -X POST localhost:8080/runs -H" in made
    with dockrion.run("my-agent") as served:
        assert finished_run(served)["output"] == OUTPUT


def test_on_redis_once_its_url_is_given(dockrion: Any, redis_server: RedisServer) -> None:
    made = dockrion("init", "my-agent", "--async-runs", "--streaming-backend", "redis").stdout
    steps = made.splitlines()
    given = next(line for line in steps if "export REDIS_URL=redis://localhost:6379" in line)
    assert steps.index(given) < steps.index("  dockrion run")
    dockfile = load_dockfile(dockrion.directory / "my-agent", {"REDIS_URL": redis_server.url})
    assert (dockfile.streaming.backend, dockfile.streaming.redis.url) == ("redis", redis_server.url)
    assert [secret.name for secret in dockfile.secrets.required] == ["REDIS_URL"]

    refused = dockrion("run", "my-agent", code=1).stderr
    assert "environment variable REDIS_URL is not set (Redis connection URL)" in refused
    with dockrion.run("my-agent", env={"REDIS_URL": redis_server.url}) as served:
        run_id = finished_run(served)["run_id"]
    with dockrion.run("my-agent", env={"REDIS_URL": redis_server.url}) as served:
        assert httpx.get(f"{served.url}/runs/{run_id}").json()["output"] == OUTPUT


def test_the_printed_commands_work_as_they_are_printed(dockrion: Any) -> None:
    made = dockrion("init", "my-agent", "--auth", "api_key", "--async-runs").stdout
    commands = [line.strip() for line in made.partition("Next:\n")[2].splitlines()]
    with dockrion.run("my-agent") as served:
        calls = [line.replace("localhost:8080", served.url.removeprefix("http://")) for line in commands]
        place = dockrion.directory / "my-agent"
        streamed, began = (
            subprocess.run(call, shell=True, cwd=place, capture_output=True, text=True) for call in calls[2:4]
        )
        assert "event: complete" in streamed.stdout
        assert json.loads(began.stdout)["status"] == "accepted"
        assert commands[4] == "dockrion runs list --env-file .env"
        listed = dockrion(*commands[4].split()[1:-1], "my-agent/.env", "--url", served.url, "--json").stdout
        assert json.loads(listed)["run_id"] == json.loads(began.stdout)["run_id"]


def test_a_store_without_runs_is_remarked_on(dockrion: Any) -> None:
    made = dockrion("init", "my-agent", "--streaming-backend", "redis")
    assert "--async-runs turns them on" in made.stderr


def test_json_says_what_was_made(dockrion: Any) -> None:
    made = json.loads(dockrion("init", "my-agent", "--json").stdout)
    assert made["name"] == "my-agent"
    assert made["directory"] == str(dockrion.directory / "my-agent")
    assert made["files"] == [".gitignore", "Dockfile.yaml", "agent.py"]
    assert made["next"][:2] == ["cd my-agent", "dockrion run"]
    refused = json.loads(dockrion("init", "my-agent", "--json", code=1).stdout)
    assert refused == {
        "error": {
            "message": "my-agent/ exists and is not empty",
            "hint": "choose another name, or empty it first",
        }
    }


def finished_run(served: Any) -> dict[str, Any]:
    """Begin a run, follow it to its end, and return it."""
    began = served.post("/runs", PAYLOAD)
    assert began.status_code == 202
    httpx.get(f"{served.url}{began.json()['events_url']}", timeout=30)
    shown: dict[str, Any] = httpx.get(f"{served.url}/runs/{began.json()['run_id']}").json()
    return shown


def test_an_empty_directory_is_filled(dockrion: Any) -> None:
    (dockrion.directory / "mine").mkdir()
    dockrion("init", "mine")
    assert sorted(path.name for path in (dockrion.directory / "mine").iterdir()) == [
        ".gitignore",
        "Dockfile.yaml",
        "agent.py",
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["taken"], 1, "taken/ exists and is not empty"),
        (["file"], 1, "file exists and is no directory"),
        (["a/b"], 2, "'a/b' is no valid name: 1 to 64 letters, digits, '-' and '_', a letter first"),
        (["1st"], 2, "a letter first"),
        (["."], 2, "no valid name"),
        (["x" * 65], 2, "1 to 64 letters"),
        ([""], 2, "no valid name"),
        ([], 2, "Missing argument 'NAME'"),
        (["new", "--streaming-events", "chatt"], 2, "unknown preset 'chatt'; did you mean 'chat'"),
        (["new", "--streaming-events", "token,tokn"], 2, "unknown event 'tokn'; did you mean 'token'"),
        (["new", "--streaming-events", "chat,token"], 2, "'chat' is a preset and stands alone"),
        (["new", "--streaming-events", "custom:"], 2, "invalid custom event"),
        (["new", "--streaming", "websocket"], 2, "'sse', 'none'"),
        (["new", "--framework", "crewai"], 2, "langgraph"),
        (["new", "--handler", "--framework", "langgraph"], 2, "exclude each other"),
        (["new", "--streaming-backend", "kafka"], 2, "'memory', 'redis'"),
        (["new", "--auth", "oauth"], 2, "api_key"),
    ],
    ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "",
)
def test_refusals_leave_nothing_behind(dockrion: Any, arguments: list[str], code: int, told: str) -> None:
    dockrion.project({"taken/notes.txt": "mine", "file": "mine"})
    before = sorted(path.relative_to(dockrion.directory) for path in dockrion.directory.rglob("*"))
    refused = dockrion("init", *arguments, code=code)
    assert told in refused.stderr
    assert refused.stdout == ""
    assert sorted(path.relative_to(dockrion.directory) for path in dockrion.directory.rglob("*")) == before


def test_a_directory_one_may_not_write_to(dockrion: Any) -> None:
    (dockrion.directory / ".mine.blocker").write_text("")
    link: Path = dockrion.directory / "mine"
    link.symlink_to("nowhere")
    assert "mine exists and is no directory" in dockrion("init", "mine", code=1).stderr
