"""`dockrion init`: what it writes validates, tests, streams and runs at once."""

from __future__ import annotations

import ast
import json
import stat
from pathlib import Path
from typing import Any

import pytest

from dockrion_sdk import load_dockfile

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
        (["new", "--async-runs"], 2, "No such option"),
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
