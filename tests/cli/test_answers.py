"""What every command promises to programs: `--json`, exit codes, and silence where nobody is attended."""

from __future__ import annotations

import json
import signal
from typing import Any

import pytest

from .conftest import Terminal

AGENT = """
import time
from pathlib import Path

print("imported")

def handle(payload):
    print("printed")
    if payload.get("fail"):
        raise ValueError("no luck")
    return {"got": payload}

def waits(payload):
    Path("started").touch()
    time.sleep(60)
"""
DOCKFILE = "agent: {name: tested, handler: agent:handle}\n"


@pytest.fixture(autouse=True)
def _project(dockrion: Any) -> None:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE})


class TestJSON:
    def test_validate(self, dockrion: Any) -> None:
        shown = json.loads(dockrion("validate", "--json").stdout)
        assert list(shown) == ["file", "agent", "routes", "host", "port", "events", "auth", "warnings"]
        assert shown["file"] == str(dockrion.directory / "Dockfile.yaml")
        assert shown["agent"] == {"name": "tested", "framework": "handler"}
        assert {
            "method": "POST",
            "path": "/invoke",
            "summary": "Execute the agent and return its output",
        } in (shown["routes"])
        assert (shown["host"], shown["port"], shown["auth"]) == ("127.0.0.1", 8080, "none")
        assert shown["warnings"] == []

    def test_validate_tells_every_problem(self, dockrion: Any) -> None:
        dockrion.project({"Dockfile.yaml": DOCKFILE + "expose: {prot: 1, port: x}\nauth: {mode: api_key}\n"})
        error = json.loads(dockrion("validate", "--json", code=1).stdout)["error"]
        assert error["file"] == "Dockfile.yaml"
        assert [(problem["path"], problem["line"]) for problem in error["problems"]] == [
            ("expose.prot", 2),
            ("expose.port", 2),
            ("auth.api_keys.env_var", 3),
        ]
        assert error["problems"][2]["variable"] == "DOCKRION_API_KEY"

    def test_test_is_what_the_server_answers(self, dockrion: Any) -> None:
        shown = json.loads(dockrion("test", "-p", '{"n": 1}', "--json").stdout)
        with dockrion.run() as served:
            answered = served.post("/invoke", {"n": 1}).json()
        for answer in (shown, answered):
            assert answer["metadata"].pop("latency_seconds") >= 0
        assert shown == answered

    def test_a_failure_is_a_document_too(self, dockrion: Any) -> None:
        failed = dockrion("test", "-p", '{"fail": 1}', "--json", code=1)
        assert json.loads(failed.stdout) == {
            "error": {
                "message": "the agent failed: ValueError: no luck",
                "hint": "--verbose shows the traceback",
            }
        }
        assert "error: the agent failed: ValueError: no luck" in failed.stderr

    def test_no_secret_is_in_it(self, dockrion: Any) -> None:
        agent = "import os\ndef handle(payload):\n    raise ValueError(os.environ['API_TOKEN'])\n"
        text = DOCKFILE + "secrets: {required: [{name: API_TOKEN}]}\n"
        dockrion.project({"agent.py": agent, "Dockfile.yaml": text})
        failed = dockrion("test", "-p", "{}", "--json", code=1, env={"API_TOKEN": 's3cret"-value'})
        assert json.loads(failed.stdout)["error"]["message"] == "the agent failed: ValueError: ***"
        assert "s3cret" not in failed.stdout + failed.stderr


class TestExitCodes:
    @pytest.mark.parametrize(
        "arguments",
        [
            ["validate"],
            ["test", "-p", "{}"],
            ["stream", "-p", "{}"],
            ["doctor"],
            ["init", "other"],
            ["--help"],
        ],
        ids=" ".join,
    )
    def test_done(self, dockrion: Any, arguments: list[str]) -> None:
        if arguments == ["doctor"]:
            dockrion.project({"Dockfile.yaml": DOCKFILE + "expose: {port: 0}\n"})
        dockrion(*arguments)

    @pytest.mark.parametrize(
        "arguments",
        [
            ["validate", "nowhere"],
            ["test", "-p", '{"fail": 1}'],
            ["stream", "-p", '{"fail": 1}'],
            ["run", "nowhere"],
            ["worker"],
            ["doctor", "nowhere"],
            ["add", "streaming", "nowhere"],
            ["runs", "list", "--url", "http://127.0.0.1:1"],
        ],
        ids=" ".join,
    )
    def test_failed(self, dockrion: Any, arguments: list[str]) -> None:
        assert dockrion(*arguments, code=1).stderr or arguments[0] == "doctor"

    @pytest.mark.parametrize(
        "arguments",
        [
            ["serve"],
            ["validate", "--nothing"],
            ["test"],
            ["test", "-p", "{"],
            ["stream", "-p", "[]"],
            ["run", "--port", "70000"],
            ["validate", "--env-file", "nowhere"],
            ["runs"],
            ["runs", "show"],
            ["runs", "list", "--url", "ftp://x"],
            ["add", "streaming", "--heartbeat", "0"],
            ["init", "1st"],
        ],
        ids=" ".join,
    )
    def test_wrong_usage(self, dockrion: Any, arguments: list[str]) -> None:
        refused = dockrion(*arguments, code=2)
        assert refused.stderr or arguments == ["runs"]  # which shows its help
        assert refused.stdout == "" or arguments == ["runs"]

    @pytest.mark.parametrize("command", ["test", "stream"])
    def test_interrupted(self, dockrion: Any, wait_until: Any, command: str) -> None:
        dockrion.project({"Dockfile.yaml": DOCKFILE.replace("handle}", "waits}")})
        with dockrion.started(command, "-p", "{}") as started:
            wait_until((dockrion.directory / "started").exists, "the agent")
            assert started.stop(signal.SIGINT) == 130
            assert "Traceback" not in started.err.read_text()

    def test_servers_end_by_ctrl_c_in_order(self, dockrion: Any) -> None:
        with dockrion.run() as served:
            assert served.stop(signal.SIGINT) == 0


class TestWaiting:
    SLOW = "import time\ntime.sleep(1.6)\ndef handle(payload):\n    return 1\n"

    def test_a_terminal_is_told_what_takes_long(self, dockrion: Any) -> None:
        dockrion.project({"agent.py": self.SLOW})
        terminal = Terminal(dockrion, "validate")
        assert terminal.end() == 0
        assert "loading the agent" in terminal.text
        last = terminal.text.rpartition("loading the agent")[2]
        assert "\x1b[2K" in last  # and it is gone when the answer comes
        assert "OK: " in last

    def test_nothing_of_it_is_in_a_pipe(self, dockrion: Any) -> None:
        dockrion.project({"agent.py": self.SLOW})
        assert dockrion("validate").stderr == ""

    def test_nor_where_it_is_quick(self, dockrion: Any) -> None:
        terminal = Terminal(dockrion, "validate")
        assert terminal.end() == 0
        assert "loading" not in terminal.text
