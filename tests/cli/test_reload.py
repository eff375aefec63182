"""`dockrion run --reload`: a changed file is served without a restart by hand."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import httpx
import pytest

DOCKFILE = "agent: {name: first, handler: agent:handle}\n"


def agent(answer: str) -> str:
    return f"""
import os
from part import PART
def handle(payload):
    return {{"answer": {answer!r}, "part": PART, "set": os.environ["SET"]}}
"""


def test_changes_are_served(dockrion: Any, wait_until: Any) -> None:
    dockrion.project(
        {
            "p/agent.py": agent("one"),
            "p/part.py": "PART = 1\n",
            "p/Dockfile.yaml": DOCKFILE,
            "p/.env": "SET=a\n",
        }
    )

    with dockrion.run("--reload", "p") as served:

        def output() -> Any:
            try:  # a worker that is being replaced may drop a connection
                return served.post("/invoke", {}).json().get("output")
            except httpx.TransportError:
                return None

        assert output() == {"answer": "one", "part": 1, "set": "a"}
        dockrion.project({"p/agent.py": agent("two")})
        wait_until(lambda: output() == {"answer": "two", "part": 1, "set": "a"}, "the changed agent")

        dockrion.project({"p/part.py": "PART = 2\n"})
        wait_until(lambda: output() == {"answer": "two", "part": 2, "set": "a"}, "the changed module")

        dockrion.project({"p/part.py": "PART = (\n"})
        wait_until(lambda: "waiting for a change" in served.err.read_text(), "the broken module's error")
        assert "importing agent failed: SyntaxError" in served.err.read_text()
        assert "Traceback" not in served.err.read_text()
        assert served.process.poll() is None
        answer = served.post("/invoke", {})
        assert (answer.status_code, answer.json()["code"]) == (503, "NOT_LOADED")
        assert answer.headers["content-type"] == "application/problem+json"
        assert answer.headers["retry-after"] == "1"
        assert "SyntaxError" not in answer.text

        dockrion.project({"p/part.py": "PART = 3\n"})
        wait_until(lambda: output() == {"answer": "two", "part": 3, "set": "a"}, "the mended module")

        dockrion.project({"p/.env": "SET=b\n"})
        wait_until(lambda: output() == {"answer": "two", "part": 3, "set": "b"}, "the changed environment")

        dockrion.project({"p/Dockfile.yaml": DOCKFILE.replace("first", "second")})
        wait_until(lambda: "second (handler) is served" in served.out.read_text(), "the changed Dockfile")
        assert served.stop() == 0


@pytest.mark.parametrize("sig", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_both_processes(dockrion: Any, wait_until: Any, sig: int) -> None:
    dockrion.project(
        {
            "agent.py": "import os\nopen('pid', 'w').write(str(os.getpid()))\ndef handle(payload): ...\n",
            "Dockfile.yaml": DOCKFILE,
        }
    )
    with dockrion.run("--reload") as served:
        worker = int((dockrion.directory / "pid").read_text())
        assert worker != served.process.pid
        assert served.stop(sig) == 0
        wait_until(lambda: not Path(f"/proc/{worker}").exists() or not alive(worker), "the worker's end")
        assert "Traceback" not in served.err.read_text()


def test_a_broken_agent_at_the_start_waits_for_its_mending(dockrion: Any, wait_until: Any) -> None:
    dockrion.project({"agent.py": "def handle(:", "Dockfile.yaml": DOCKFILE})
    with dockrion.started("run", "--reload", "--port", "0") as started:
        wait_until(lambda: "waiting for a change" in started.err.read_text(), "the error")
        dockrion.project({"agent.py": "def handle(payload): return 1\n"})
        wait_until(lambda: "is served at" in started.out.read_text(), "the mended agent")
        assert started.stop() == 0


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
