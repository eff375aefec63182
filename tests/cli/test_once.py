"""`dockrion test` and `dockrion validate`: one execution, or none, and every way they end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

AGENT = """
import asyncio
import os
import subprocess
import sys
import time
from pathlib import Path

print("imported")

def echo(payload, context=None):
    print("printed")
    os.write(1, b"written\\n")
    subprocess.run(["echo", "from a child"], check=True)
    return {"got": payload, "watched": context is not None}

def fail(payload):
    raise ValueError(f"no luck with {os.environ.get('API_TOKEN', 'this')}\\nand more")

def leave(payload):
    sys.exit(3)

def cycle(payload):
    loop = []
    loop.append(loop)
    return loop

def stuck(payload, context=None):
    context.sync_emit_token("begin ")
    Path("started").touch()
    time.sleep(60)

async def stubborn(payload, context=None):
    await context.emit_token("begin ")
    Path("started").touch()
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
"""


def agent(dockrion: Any, handler: str, rest: str = "") -> None:
    dockrion.project(
        {"agent.py": AGENT, "Dockfile.yaml": f"agent: {{name: tested, handler: agent:{handler}}}\n{rest}"}
    )


class TestTest:
    def test_only_the_output_is_on_stdout(self, dockrion: Any) -> None:
        agent(dockrion, "echo")
        done = dockrion("test", "-p", '{"text": "grüß"}')
        assert json.loads(done.stdout) == {"got": {"text": "grüß"}, "watched": True}
        for noise in ("imported", "printed", "written", "from a child"):
            assert noise in done.stderr

    def test_a_payload_from_a_file_and_from_stdin(self, dockrion: Any) -> None:
        agent(dockrion, "echo")
        dockrion.project({"payload.json": '{"n": 1}'})
        assert json.loads(dockrion("test", "-p", "@payload.json").stdout)["got"] == {"n": 1}
        assert json.loads(dockrion("test", "-p", "-", stdin='{"n": 2}').stdout)["got"] == {"n": 2}

    @pytest.mark.parametrize(
        ("payload", "told"),
        [
            ('{"n": ', "the payload is no valid JSON"),
            ("[1]", "the payload has to be a JSON object, and it is an array"),
            ('{"n": "one"}', 'n: "one" is not of type "integer"'),
            ('{"list": [{}, {"deep": 1}]}', 'list.1.deep: 1 is not of type "string"'),
            ("{}", '$: "n" is a required property'),
            ("@nowhere.json", "cannot read nowhere.json: No such file or directory"),
        ],
    )
    def test_a_payload_that_does_not_fit(self, dockrion: Any, payload: str, told: str) -> None:
        deep = "{type: array, items: {type: object, properties: {deep: {type: string}}}}"
        schema = f"{{type: object, properties: {{n: {{type: integer}}, list: {deep}}}, required: [n]}}"
        if "list" in payload:
            schema = schema.replace(", required: [n]", "")
        agent(dockrion, "echo", f"io_schema: {{input: {schema}}}")
        for command in ("test", "stream"):
            refused = dockrion(command, "-p", payload, code=2)
            assert told in refused.stderr
            assert refused.stdout == ""

    @pytest.mark.parametrize(
        ("handler", "rest", "told"),
        [
            ("fail", "", "error: the agent failed: ValueError: no luck with this and more"),
            ("leave", "", "error: the agent failed: SystemExit: 3"),
            ("cycle", "", "error: the output cannot be written as JSON"),
            (
                "echo",
                "io_schema: {output: {type: object, required: [answer]}, strict: true}",
                'error: the output does not fit io_schema.output: $: "answer" is a required property',
            ),
        ],
    )
    def test_an_agent_that_fails(self, dockrion: Any, handler: str, rest: str, told: str) -> None:
        agent(dockrion, handler, rest)
        failed = dockrion("test", "-p", "{}", code=1)
        assert told in failed.stderr
        assert failed.stdout == ""
        errors = [line for line in failed.stderr.splitlines() if line.startswith("error:")]
        assert len(errors) == 1

    def test_verbose_shows_the_traceback_and_no_secret(self, dockrion: Any) -> None:
        agent(dockrion, "fail", "secrets: {required: [{name: API_TOKEN}]}")
        env = {"API_TOKEN": "s3cret-value"}
        for command in ("test", "stream"):
            short = dockrion(command, "-p", "{}", code=1, env=env)
            assert "--verbose shows the traceback" in short.stderr
            long = dockrion(command, "-p", "{}", "--verbose", code=1, env=env)
            assert "Traceback" in long.stderr
            assert "in fail" in long.stderr
            for done in (short, long):
                assert "s3cret-value" not in done.stdout + done.stderr
                assert "no luck with ***" in done.stderr

    @pytest.mark.parametrize("command", ["test", "stream"])
    @pytest.mark.parametrize("handler", ["stuck", "stubborn"])
    def test_ctrl_c_ends_it_whatever_the_agent_does(
        self, dockrion: Any, wait_until: Any, command: str, handler: str
    ) -> None:
        agent(dockrion, handler)
        with dockrion.started(command, "-p", "{}") as started:
            wait_until((dockrion.directory / "started").exists, "the agent")
            assert started.stop(signal.SIGINT) == 130
            assert "Traceback" not in started.err.read_text()


class TestValidate:
    def test_tells_what_it_found(self, dockrion: Any) -> None:
        agent(dockrion, "echo", "streaming: {events: {allowed: chat}}\ntelemetry: {port: 1}")
        done = dockrion("validate")
        assert done.stdout.splitlines() == [
            f"OK: {dockrion.directory / 'Dockfile.yaml'}",
            "  agent   tested (handler)",
            "  serves  POST /invoke, POST /invoke/stream, GET /info, GET /schema",
            "  on      127.0.0.1:8080",
            "  events  token, step, heartbeat",
            "  auth    off: whoever reaches the port may call",
        ]
        assert "warning: Dockfile.yaml:3: telemetry: unknown section, ignored" in done.stderr

    @pytest.mark.parametrize("path", [".", "Dockfile.yaml", "other/Dockfile.yaml", "other"])
    def test_takes_a_file_or_its_directory(self, dockrion: Any, path: str) -> None:
        agent(dockrion, "echo")
        dockrion.project(
            {"other/mine.py": AGENT, "other/Dockfile.yaml": "agent: {name: x, handler: mine:echo}"}
        )
        assert dockrion("validate", path).stdout.startswith("OK: ")

    def test_every_problem_at_once(self, dockrion: Any) -> None:
        wrong = ("agent: {name: x, handler: json:dumps}", "expose: {port: none}", "auth: {mode: keys}")
        dockrion.project({"Dockfile.yaml": "\n".join(wrong)})
        failed = dockrion("validate", code=1)
        assert failed.stdout == ""
        lines = failed.stderr.splitlines()
        assert [line.split(": ")[2] for line in lines] == ["agent.handler", "expose.port", "auth.mode"]
        assert all(line.startswith("error: Dockfile.yaml:") for line in lines)

    @pytest.mark.parametrize(
        ("module", "told"),
        [
            ("handle = 3", "is a int, and a handler has to be callable"),
            ("def handel(payload): ...", "did you mean 'handel'?"),
            ("import nothing_of_the_kind", "No module named 'nothing_of_the_kind'"),
            ("def handle(payload:", "SyntaxError"),
            ("raise RuntimeError('not today')", "RuntimeError: not today"),
            ("import sys; sys.exit(0)", "SystemExit: 0"),
            ("def handle(): ...", "has to take the payload first"),
        ],
    )
    def test_an_agent_that_does_not_load(self, dockrion: Any, module: str, told: str) -> None:
        dockrion.project({"mine.py": module, "Dockfile.yaml": "agent: {name: x, handler: mine:handle}"})
        failed = dockrion("validate", code=1)
        assert told in failed.stderr
        assert failed.stdout == ""

    @pytest.mark.parametrize("command", [["validate"], ["test", "-p", "{}"], ["run", "--port", "0"]], ids=str)
    def test_a_graph_that_does_not_start(self, dockrion: Any, command: list[str]) -> None:
        dockrion.project(
            {
                "mine.py": "async def build():\n    raise RuntimeError('no database')\n",
                "Dockfile.yaml": "agent: {name: x, entrypoint: mine:build, framework: langgraph}",
            }
        )
        failed = dockrion(*command, code=1)
        assert "the agent cannot start" in failed.stderr
        assert "no database" in failed.stderr
        assert failed.stdout == ""
        assert "no database" in dockrion(*command, "--verbose", code=1).stderr

    def test_missing_variables_are_named_and_their_values_never(self, dockrion: Any) -> None:
        agent(
            dockrion,
            "echo",
            "auth: {mode: api_key}\nsecrets: {required: [{name: DB_URL, description: Base}]}",
        )
        failed = dockrion("validate", code=1, env={"DOCKRION_API_KEY": "broken name:topsecret"})
        assert "environment variable DB_URL is not set (Base)" in failed.stderr
        failed = dockrion(
            "validate", code=1, env={"DOCKRION_API_KEY": "broken name:topsecret", "DB_URL": "x"}
        )
        assert "DOCKRION_API_KEY: an entry is neither key nor name:key" in failed.stderr
        assert "topsecret" not in failed.stderr


def test_a_reader_that_leaves_early(dockrion: Any) -> None:
    agent(dockrion, "echo")
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run(
        [sys.executable, "-m", "dockrion_runtime.cli", "stream", "--json", "-p", "{}"],
        cwd=dockrion.directory,
        env=dockrion.environment(),
        stdout=write,
        stderr=subprocess.PIPE,
        text=True,
        timeout=30,
        check=False,
    )
    os.close(write)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr


def test_no_store_is_needed_to_try_an_agent(dockrion: Any) -> None:
    away = 'streaming: {async_runs: true, backend: redis, redis: {url: "redis://127.0.0.1:1"}}\n'
    agent(dockrion, "echo", away)
    assert dockrion("validate").returncode == 0
    for command in ("test", "stream"):
        done = dockrion(command, "-p", '{"a": 1}')
        assert done.returncode == 0, done.stderr
        assert "watched" in done.stdout + done.stderr
