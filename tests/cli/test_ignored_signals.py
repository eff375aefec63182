"""Commands that were started where Ctrl-C is ignored: by a script, in the background."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

AGENT = {
    "Dockfile.yaml": "agent: {name: agent, handler: agent:handle}\n",
    "agent.py": "import os\n\ndef handle(payload):\n    return {'pid': os.getpid()}\n",
}


def ignored(pid: int | str) -> set[signal.Signals]:
    """Return the signals that a process ignores."""
    status = Path(f"/proc/{pid}/status").read_text()
    mask = int(next(line.split()[1] for line in status.splitlines() if line.startswith("SigIgn")), 16)
    return {sig for sig in signal.Signals if mask >> (sig - 1) & 1}


def servers(pid: int) -> set[int]:
    """Return the processes below ``pid``, but for the tracker of multiprocessing, which ignores signals."""
    found: set[int] = set()
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in map(int, children.read_text().split()):
            if b"resource_tracker" not in Path(f"/proc/{child}/cmdline").read_bytes():
                found.add(child)
            found |= servers(child)
    return found


@pytest.fixture
def _interrupts_are_ignored() -> Any:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_test_starts_processes_that_ignore_nothing() -> None:
    inner = "import signal; print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    done = subprocess.run([sys.executable, "-c", inner], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


@pytest.mark.usefixtures("_interrupts_are_ignored")
@pytest.mark.parametrize("option", [["--workers", "2"], ["--reload"]], ids=["workers", "reload"])
def test_what_dockrion_starts_can_be_interrupted(dockrion: Any, option: list[str], wait_until: Any) -> None:
    dockrion.project(AGENT)
    with dockrion.run(*option) as served:
        started = wait_until(lambda: servers(served.process.pid), "child processes")
        assert [pid for pid in started if ignored(pid) & {signal.SIGINT, signal.SIGTERM}] == []
        served.process.send_signal(signal.SIGINT)
        assert served.process.wait(20) == 0
