"""`dockrion run`: it says where it serves, serves, and ends when told to."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
from typing import Any

import httpx
import pytest

from .conftest import until

AGENT = """
import os
import sys
from pathlib import Path

def handle(payload):
    print("handling", file=sys.stdout)
    return {"greeting": os.environ.get("GREETING"), "home": os.environ.get("HOME")}

async def stubborn(payload, context):
    import asyncio
    Path("started").touch()
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            pass
"""


def agent(dockrion: Any, rest: str = "", handler: str = "handle") -> None:
    dockrion.project(
        {"agent.py": AGENT, "Dockfile.yaml": f"agent: {{name: tested, handler: agent:{handler}}}\n{rest}"}
    )


def test_says_where_it_serves_once_it_does(dockrion: Any) -> None:
    agent(dockrion)
    with dockrion.run() as served:
        assert httpx.get(f"{served.url}/ready").status_code == 200
        assert httpx.get(f"{served.url}/docs").status_code == 200
        port = served.url.rpartition(":")[2]
        assert served.out.read_text().splitlines() == [
            f"tested (handler) is served at http://127.0.0.1:{port}",
            "  POST   /invoke         Execute the agent and return its output",
            "  POST   /invoke/stream  Stream one execution of the agent",
            "  GET    /info           What the agent is and what it streams",
            "  GET    /schema         JSON Schemas of the input, the output and the events",
            f"  playground http://127.0.0.1:{port}/",
            f"  docs http://127.0.0.1:{port}/docs",
            f"  listens on 127.0.0.1:{port}: this machine only",
            "  auth off: whoever reaches the port may call",
            "Ctrl-C stops it",
        ]
        served.post("/invoke", {})
        assert served.out.read_text().endswith("handling\n")  # what an agent prints appears at once
        assert served.err.read_text() == ""


def test_says_where_sockets_are(dockrion: Any) -> None:
    agent(dockrion, "expose: {streaming: websocket}\nstreaming: {async_runs: true}")
    with dockrion.run() as served:
        lines = served.out.read_text().splitlines()
    assert "  WS     /invoke/ws             Execute, several at once, over one WebSocket" in lines
    assert "  WS     /runs/{run_id}/ws      Follow a run's events over a WebSocket" in lines


def test_no_playground_goes_before_the_dockfile(dockrion: Any) -> None:
    agent(dockrion)
    with dockrion.run("--no-playground") as served:
        assert httpx.get(served.url).status_code == 404
        assert "playground" not in served.out.read_text()
    agent(dockrion, "expose: {playground: false}")
    with dockrion.run("--playground") as served:
        assert httpx.get(served.url).status_code == 200
        assert f"  playground {served.url}/" in served.out.read_text()


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_0(dockrion: Any, sig: int) -> None:
    agent(dockrion)
    with dockrion.run() as served:
        assert served.stop(sig) == 0
        assert served.err.read_text() == ""


def test_host_and_port_go_before_the_dockfiles(dockrion: Any) -> None:
    agent(dockrion, "expose: {port: 1, host: 203.0.113.1}")
    with dockrion.run("--host", "127.0.0.1") as served:
        assert served.url.startswith("http://127.0.0.1:")
        assert served.post("/invoke", {}).status_code == 200


def test_the_dockfiles_port_from_the_environment(dockrion: Any) -> None:
    agent(dockrion, 'expose: {port: "${PORT}", host: 127.0.0.1}')
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        failed = dockrion("run", code=1, env={"PORT": str(port)})
    assert failed.stderr.splitlines() == [
        f"error: cannot listen on 127.0.0.1:{port}: Address already in use",
        "  choose another with --port or --host",
    ]
    assert failed.stdout == ""


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["nowhere"], 1, "there is no such file"),
        (["--port", "70000"], 2, "--port"),
        (["--port", "http"], 2, "--port"),
        (["--host", "203.0.113.1"], 1, "cannot listen on 203.0.113.1:8080"),
        (["--host", "no such host"], 1, "cannot listen on no such host:8080"),
        (["--env-file", "nowhere"], 2, "cannot read nowhere: No such file or directory"),
        (["--threads", "2"], 2, "No such option"),
        (["--reload", "nowhere"], 1, "there is no such file"),
        (["--reload", "--host", "203.0.113.1"], 1, "cannot listen on 203.0.113.1:8080"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_keeps_it_from_serving(dockrion: Any, arguments: list[str], code: int, told: str) -> None:
    agent(dockrion)
    failed = dockrion("run", *arguments, code=code)
    assert told in failed.stderr
    assert failed.stdout == ""


def test_an_env_file_fills_in_what_is_not_set(dockrion: Any) -> None:
    agent(dockrion)
    dockrion.project({".env": "GREETING=from .env\nHOME=/nowhere\n", "other.env": 'GREETING="from other"\n'})
    home = os.environ["HOME"]
    with dockrion.run() as served:
        assert served.post("/invoke", {}).json()["output"] == {"greeting": "from .env", "home": home}
    with dockrion.run("--env-file", "other.env") as served:
        assert served.post("/invoke", {}).json()["output"]["greeting"] == "from other"
    with dockrion.run(env={"GREETING": "from outside"}) as served:
        assert served.post("/invoke", {}).json()["output"]["greeting"] == "from outside"


def test_an_env_file_is_read_beside_the_dockfile(dockrion: Any) -> None:
    secrets = "secrets: {required: [{name: GREETING}]}"
    dockrion.project(
        {
            "agent.py": AGENT,
            "Dockfile.yaml": f"agent: {{name: x, handler: agent:handle}}\n{secrets}",
            ".env": "GREETING=hello\n",
        },
        name="project",
    )
    assert '"greeting": "hello"' in dockrion("test", "-p", "{}", "project/Dockfile.yaml").stdout
    assert "OK" in dockrion("validate", "project").stdout
    dockrion.project({"bad.env": "NAME=value\nsecret value\n"})
    failed = dockrion("validate", "project", "--env-file", "bad.env", code=2)
    assert "bad.env:2 is no NAME=value line" in failed.stderr
    assert "secret value" not in failed.stderr


def test_warnings_of_the_dockfile_are_told(dockrion: Any) -> None:
    agent(dockrion, "telemetry: {}")
    with dockrion.run() as served:
        assert "warning: Dockfile.yaml:2: telemetry: unknown section, ignored" in served.err.read_text()


def test_it_ends_in_time_whatever_the_agent_does(dockrion: Any, wait_until: Any) -> None:
    agent(dockrion, "expose: {shutdown_grace: 0.2}", handler="stubborn")
    with (
        dockrion.run() as served,
        httpx.stream("POST", f"{served.url}/invoke/stream", json={}, timeout=30) as response,
    ):
        wait_until((dockrion.directory / "started").exists, "the agent")
        served.process.send_signal(signal.SIGTERM)
        assert "event: cancelled" in response.read().decode()
        assert served.process.wait(10) == 0
        assert "with the process" in served.err.read_text()  # the server says so, or the thread that ends it


def serving_pids(served: Any) -> set[int]:
    """Ask until two processes have answered; their pids."""

    def asked() -> set[int]:
        pids = set()
        for _ in range(20):
            with contextlib.suppress(httpx.TransportError):
                pids.add(httpx.post(f"{served.url}/invoke", json={}, timeout=10).json()["output"])
        return pids

    found: set[int] = until(lambda: len(pids := asked()) == 2 and pids, "two answering workers")
    return found


def test_workers_share_a_port_and_are_replaced(dockrion: Any) -> None:
    dockrion.project(
        {
            "agent.py": "import os\ndef handle(payload):\n    return os.getpid()\n",
            "Dockfile.yaml": "agent: {name: tested, handler: agent:handle}\n",
        }
    )
    with dockrion.run("--workers", "2") as served:
        assert served.out.read_text().splitlines()[-2:] == ["  by 2 processes", "Ctrl-C stops it"]
        pids = serving_pids(served)
        os.kill(min(pids), signal.SIGKILL)
        later = serving_pids(served)
        assert min(pids) not in later
        assert max(pids) in later
        assert f"worker {min(pids)} ended (signal SIGKILL); starting another" in served.err.read_text()
        assert served.stop() == 0
    for pid in pids | later:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)


def test_workers_end_with_the_process_that_looks_after_them(dockrion: Any) -> None:
    dockrion.project(
        {
            "agent.py": "import os\ndef handle(payload):\n    return os.getpid()\n",
            "Dockfile.yaml": "agent: {name: tested, handler: agent:handle}\n",
        }
    )
    with dockrion.run("--workers", "2") as served:
        pids = serving_pids(served)
        served.stop(signal.SIGKILL)
        until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in pids), "the workers' end")


def test_a_worker_that_cannot_start_ends_them_all(dockrion: Any) -> None:
    dockrion.project(
        {"agent.py": "import nowhere\n", "Dockfile.yaml": "agent: {name: tested, handler: agent:handle}\n"}
    )
    failed = dockrion("run", "--port", "0", "--workers", "2", code=1)
    assert "nowhere" in failed.stderr
    assert "serving" not in failed.stdout


@pytest.mark.parametrize(
    ("arguments", "rest", "told"),
    [
        (("--workers", "2", "--reload"), "", "leave --workers out"),
        (("--workers", "2"), "streaming: {async_runs: true}", "set streaming.backend: redis"),
        (("--no-executor",), "streaming: {async_runs: true}", "set streaming.backend: redis"),
        (("--no-executor",), "", "set streaming.async_runs: true"),
    ],
)
def test_what_does_not_go_together_is_refused(
    dockrion: Any, arguments: tuple[str, ...], rest: str, told: str
) -> None:
    agent(dockrion, rest)
    code = 2 if "--reload" in arguments else 1
    assert told in dockrion("run", "--port", "0", *arguments, code=code).stderr


@pytest.mark.parametrize("rest", ["", "streaming: {async_runs: true}"])
def test_a_worker_needs_a_store_that_others_share(dockrion: Any, rest: str) -> None:
    agent(dockrion, rest)
    assert "a worker executes the runs of other processes" in dockrion("worker", code=1).stderr
