"""`dockrion runs` and `dockrion stream --url`: a server from the terminal."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from ..servers import RedisServer
from ..servers.redis import free_port
from .conftest import COMMAND, DEADLINE, Terminal, drawn_last

AGENT = """
import time
from pathlib import Path

def handle(payload, context):
    context.sync_emit_token("begin ")
    if payload.get("fail"):
        raise ValueError("no luck\\x1b[31m")
    number = 0
    while payload.get("wait") and not Path(payload["wait"]).exists():
        time.sleep(0.01)
        number += 1
        context.sync_emit_progress("waiting", 0.5, str(number))
    context.sync_emit_token("end")
    return {"text": "begin end"}
"""
DOCKFILE = (
    "agent: {name: tested, handler: agent:handle}\nstreaming: {async_runs: true}\nexpose: {errors: full}\n"
)
KEY = "first-key-of-two"


@pytest.fixture
def served(dockrion: Any) -> Iterator[Any]:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE})
    with dockrion.run() as running:
        yield running


def begin(served: Any, payload: dict[str, Any] | None = None, **options: Any) -> str:
    answer = served.post("/runs", payload or {}, **options)
    assert answer.status_code == 202
    run_id: str = answer.json()["run_id"]
    return run_id


def ended(served: Any, run_id: str, **options: Any) -> dict[str, Any]:
    """Wait for a run's end and return what the server shows of it."""
    httpx.get(f"{served.url}/runs/{run_id}/events", timeout=DEADLINE, **options)
    shown: dict[str, Any] = httpx.get(f"{served.url}/runs/{run_id}", **options).json()
    return shown


class TestRuns:
    def test_list(self, dockrion: Any, served: Any) -> None:
        nothing = dockrion("runs", "list", "--url", served.url)
        assert (nothing.stdout, nothing.stderr) == ("", "there are no runs\n")
        names = [begin(served) for _ in range(3)]
        shown = [ended(served, name) for name in names]
        lines = dockrion("runs", "list", "--url", served.url).stdout.splitlines()
        assert lines[0].split() == ["RUN", "STATUS", "CREATED", "TOOK", "EVENTS"]
        assert [line.split()[:2] for line in lines[1:]] == [[name, "completed"] for name in reversed(names)]
        assert all(line.endswith("  4") for line in lines[1:])
        listed = dockrion("runs", "list", "--limit", "2", "--json", "--url", served.url).stdout.splitlines()
        without_output = [{**run, "output": None} for run in (shown[2], shown[1])]
        assert [{**json.loads(line), "output": None} for line in listed] == without_output
        assert not any("output" in json.loads(line) for line in listed)
        by_variable = dockrion("runs", "list", "--limit", "2", "--json", env={"DOCKRION_URL": served.url})
        assert by_variable.stdout.splitlines() == listed

    def test_show(self, dockrion: Any, served: Any) -> None:
        run_id = begin(served)
        shown = ended(served, run_id)
        assert json.loads(dockrion("runs", "show", run_id, "--json", "--url", served.url).stdout) == shown
        text = dockrion("runs", "show", run_id, "--url", served.url).stdout
        assert f"run      {run_id}\nstatus   completed\ncreated  2" in text
        assert "events   1 to 4\n" in text
        assert text.endswith('{\n  "text": "begin end"\n}\n')
        failed = begin(served, {"fail": True})
        ended(served, failed)
        text = dockrion("runs", "show", failed, "--url", served.url).stdout
        assert "error    AGENT_ERROR: ValueError: no luck�[31m\n" in text

    def test_watch_to_the_end(self, dockrion: Any, served: Any) -> None:
        run_id = begin(served)
        watched = dockrion("runs", "watch", run_id, "--url", served.url)
        assert watched.stdout == "begin end\n"
        assert watched.stderr.splitlines()[0] == "started tested (handler)"
        sent = httpx.get(f"{served.url}/runs/{run_id}/events", timeout=DEADLINE).text
        data = [line.removeprefix("data: ") for line in sent.splitlines() if line.startswith("data: ")]
        shown = dockrion("runs", "watch", run_id, "--json", "--url", served.url).stdout.splitlines()
        assert shown == data
        rest = dockrion("runs", "watch", run_id, "--json", "--from-sequence", "3", "--url", served.url).stdout
        assert rest.splitlines() == data[2:]

    def test_watch_says_by_its_code_how_it_ended(self, dockrion: Any, served: Any) -> None:
        assert (
            "error AGENT_ERROR"
            in dockrion("runs", "watch", begin(served, {"fail": True}), "--url", served.url, code=1).stderr
        )
        waiting = begin(served, {"wait": "never"})
        cancelled = dockrion("runs", "cancel", waiting, "--reason", "enough", "--url", served.url)
        assert cancelled.stdout == f"{waiting} is cancelled\n"
        watched = dockrion("runs", "watch", waiting, "--json", "--url", served.url, code=1).stdout
        last = json.loads(watched.splitlines()[-1])
        assert (last["type"], last["reason"]) == ("cancelled", "enough")
        assert "reason   enough\n" in dockrion("runs", "show", waiting, "--url", served.url).stdout

    def test_watch_in_a_terminal_is_drawn_as_a_stream_is(self, dockrion: Any, served: Any) -> None:
        terminal = Terminal(dockrion, "runs", "watch", begin(served), "--url", served.url)
        assert terminal.end() == 0
        assert "tested is done after" in drawn_last(terminal.text)

    def test_ctrl_c_ends_the_watching_and_not_the_run(
        self, dockrion: Any, served: Any, wait_until: Any
    ) -> None:
        run_id = begin(served, {"wait": "go"})
        with dockrion.started("runs", "watch", run_id, "--json", "--url", served.url) as watching:
            wait_until(lambda: len(watching.out.read_text().splitlines()) > 3, "events")
            assert watching.stop(signal.SIGINT) == 130
            seen = [json.loads(line)["sequence"] for line in watching.out.read_text().splitlines()]
            told = watching.err.read_text()
        command = f"dockrion runs watch {run_id} --from-sequence {seen[-1] + 1}"
        assert told == f"the run goes on: {command}\n"
        dockrion.project({"go": ""})
        rest = dockrion(*command.split()[1:], "--json", "--url", served.url).stdout.splitlines()
        seen += [json.loads(line)["sequence"] for line in rest]
        assert seen == list(range(1, len(seen) + 1))

    def test_cancel(self, dockrion: Any, served: Any) -> None:
        run_id = begin(served, {"wait": "never"})
        done = dockrion("runs", "cancel", run_id, "--json", "--url", served.url)
        assert json.loads(done.stdout) == {"run_id": run_id, "status": "cancelled"}
        finished = begin(served)
        ended(served, finished)
        refused = dockrion("runs", "cancel", finished, "--json", "--url", served.url, code=1)
        assert "409 RUN_ENDED" in json.loads(refused.stdout)["error"]["message"]

    def test_a_reader_that_goes_away(self, dockrion: Any, served: Any) -> None:
        run_id = begin(served, {"wait": "never"})
        command = [*COMMAND, "runs", "watch", run_id, "--json", "--url", served.url]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as watching:
            assert watching.stdout is not None
            assert watching.stderr is not None
            assert json.loads(watching.stdout.readline())["type"] == "started"
            watching.stdout.close()
            assert watching.wait(DEADLINE) == 1
            assert watching.stderr.read() == ""


def test_watch_survives_the_server(dockrion: Any, redis_server: RedisServer, wait_until: Any) -> None:
    store = f"backend: redis, redis: {{url: '{redis_server.url}'}}"
    runs = "runs: {on_executor_lost: restart, lease_seconds: 0.5}"
    text = DOCKFILE.replace("async_runs: true", f"async_runs: true, {store}, {runs}")
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": text})
    port = str(free_port())

    def lines() -> list[dict[str, Any]]:
        return [json.loads(line) for line in watching.out.read_text().splitlines()]

    with dockrion.run("--port", port) as first:
        run_id = begin(first, {"wait": "go"})
        with dockrion.started("runs", "watch", run_id, "--json", "--url", first.url) as watching:
            wait_until(lambda: len(lines()) > 10, "events of the first server")
            first.stop(signal.SIGKILL)
            with dockrion.run("--port", port):
                wait_until(lambda: any(e["type"] == "restarted" for e in lines()), "the second server")
                dockrion.project({"go": ""})
                assert watching.process.wait(DEADLINE) == 0
    assert [event["sequence"] for event in lines()] == list(range(1, len(lines()) + 1))
    assert lines()[-1]["type"] == "complete"


class TestKeys:
    @pytest.fixture
    def locked(self, dockrion: Any) -> Iterator[Any]:
        text = f"{DOCKFILE}auth: {{mode: api_key}}\n"
        dockrion.project({"agent.py": AGENT, "Dockfile.yaml": text, "keys": f"MY_KEY={KEY}\n"})
        with dockrion.run(env={"DOCKRION_API_KEY": f"mine:{KEY}, other"}) as running:
            yield running

    def test_a_key_comes_from_the_environment_or_a_file(self, dockrion: Any, locked: Any) -> None:
        run_id = begin(locked, headers={"X-API-Key": KEY})
        ended(locked, run_id, headers={"X-API-Key": KEY})
        show = ["runs", "show", run_id, "--json", "--url", locked.url]
        for more, env in [
            ([], {"DOCKRION_API_KEY": KEY}),
            ([], {"DOCKRION_API_KEY": f"mine:{KEY}, other"}),  # what the server's may hold
            (["--key-env", "MY_KEY"], {"MY_KEY": KEY}),
            (["--key-env", "MY_KEY", "--env-file", "keys"], {}),
        ]:
            assert json.loads(dockrion(*show, *more, env=env).stdout)["status"] == "completed"
        stream = ["stream", "-p", "{}", "--url", locked.url]
        assert dockrion(*stream, env={"DOCKRION_API_KEY": KEY}).stdout == "begin end\n"

    def test_a_refusal_says_where_a_key_comes_from(self, dockrion: Any, locked: Any) -> None:
        refused = dockrion("runs", "list", "--url", locked.url, code=1).stderr.splitlines()
        assert "401 UNAUTHORIZED" in refused[0]
        assert refused[1].startswith(
            "  put the key into DOCKRION_API_KEY, or name where it is with --key-env"
        )
        wrong = dockrion("runs", "list", "--url", locked.url, code=1, env={"DOCKRION_API_KEY": "wr0ng-key"})
        assert "401" in wrong.stderr
        assert "wr0ng-key" not in wrong.stderr


class TestStream:
    def test_it_is_what_clients_get(self, dockrion: Any, served: Any) -> None:
        done = dockrion("stream", "-p", "{}", "--url", served.url)
        assert done.stdout == "begin end\n"
        events = dockrion("stream", "-p", "{}", "--json", "--url", served.url).stdout.splitlines()
        assert [json.loads(line)["type"] for line in events] == ["started", "token", "token", "complete"]
        assert (
            "error AGENT_ERROR"
            in dockrion("stream", "-p", '{"fail": true}', "--url", served.url, code=1).stderr
        )

    def test_ctrl_c_stops_the_agent(self, dockrion: Any, served: Any, wait_until: Any) -> None:
        arguments = ["stream", "-p", '{"wait": "never"}', "--json", "--url", served.url]
        with dockrion.started(*arguments) as streaming:
            wait_until(lambda: "begin" in streaming.out.read_text(), "the first token")
            assert streaming.stop(signal.SIGINT) == 130
            assert streaming.err.read_text() == "interrupted; the server stops its agent\n"
        assert served.stop() == 0  # nothing is left to wait for

    @pytest.mark.parametrize("more", [["."], ["--events", "chat"]])
    def test_what_the_server_decides_is_refused(self, dockrion: Any, more: list[str]) -> None:
        refused = dockrion("stream", "-p", "{}", "--url", "http://localhost:1", *more, code=2)
        assert "leave PATH and --events out" in refused.stderr


@pytest.mark.parametrize(
    ("url", "code", "told"),
    [
        ("http://127.0.0.1:1", 1, "start one with `dockrion run`, or name another with --url"),
        ("ftp://somewhere", 2, "'ftp://somewhere' is no address of a server"),
        ("localhost:8080", 2, "for example --url http://localhost:8080"),
    ],
)
def test_no_server_there(dockrion: Any, url: str, code: int, told: str) -> None:
    for command in (["runs", "list"], ["stream", "-p", "{}"]):
        failed = dockrion(*command, "--url", url, code=code)
        assert told in failed.stderr
        assert failed.stdout == ""


def test_a_server_without_runs(dockrion: Any) -> None:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE.partition("\n")[0]})
    with dockrion.run() as served:
        told = dockrion("runs", "list", "--url", served.url, code=1).stderr
        assert "streaming.async_runs: true" in told
