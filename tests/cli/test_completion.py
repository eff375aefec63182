"""Completion in real shells, as a person sees it: type, press TAB, look."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .conftest import Terminal

BIN = Path(sys.executable).parent
SHELLS = {"bash": ["bash", "-i"], "zsh": ["zsh", "-i"], "fish": ["fish", "-i"]}
NAKED = {**SHELLS, "zsh": ["zsh", "-f", "-i"]}
CLEAR_LINE = "\x15"


pytestmark = pytest.mark.timeout(120)


@pytest.fixture(params=SHELLS)
def shell(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not installed")
    return name


def plain(text: str) -> str:
    return re.sub(r"\x1b(\[[0-9;?<>=]*[A-Za-z]|\][^\x07\x1b]*(\x07|\x1b\\)|[=>]|\(B)", "", text)


@contextmanager
def opened(dockrion: Any, command: list[str], url: str = "") -> Iterator[Terminal]:
    """A shell that has said that it listens."""
    home = str(dockrion.directory)
    env = {"HOME": home, "ZDOTDIR": home, "XDG_CONFIG_HOME": "", "DOCKRION_URL": url}
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    terminal = Terminal(dockrion, command=command, env={**env, "PATH": path})
    try:
        terminal.write("echo lis''tening\n")
        terminal.read(lambda text: "listening" in text)
        yield terminal
        terminal.write(f"{CLEAR_LINE}exit\n")
        terminal.end()
    finally:
        terminal.process.kill()


def completed(terminal: Terminal, typed: str, wanted: str) -> None:
    """Type, press TAB, wait for what is wanted, and clear the line."""
    terminal.text = ""
    terminal.write(f"{typed}\t")
    terminal.read(lambda text: wanted in plain(text))
    terminal.write(CLEAR_LINE)


def test_completion(dockrion: Any, shell: str) -> None:
    with opened(dockrion, NAKED[shell]) as terminal:
        terminal.write("dockrion --install-completion\n")  # it finds out which shell it is typed in
        terminal.read(lambda text: f"{shell} completion installed in" in text)
    agent = "def handle(payload):\n    return payload\n"
    dockfile = "agent: {name: tested, handler: agent:handle}\nstreaming: {async_runs: true}\n"
    dockrion.project({"agent.py": agent, "Dockfile.yaml": dockfile})
    with dockrion.run() as served:
        assert served.post("/runs", {}, params={"run_id": "the-first-run"}).status_code == 202
        with opened(dockrion, SHELLS[shell], served.url) as terminal:
            if shell == "zsh":  # the first TAB loads the function
                completed(terminal, "dockrion ", "\x07")
            completed(terminal, "dockrion vali", "dockrion validate")
            completed(terminal, "dockrion runs wa", "runs watch")
            completed(terminal, "dockrion add streaming --max", "--max-duration")
            completed(terminal, "dockrion init x --streaming-backend re", "redis")
            completed(terminal, "dockrion init x --streaming-events token,prog", "token,progress")
            completed(terminal, "dockrion stream --events mini", "minimal")
            completed(terminal, "dockrion runs list --key-env HOM", "--key-env HOME")
            completed(terminal, "dockrion runs show the-f", "the-first-run")
            completed(terminal, "dockrion validate agen", "agent.py")


def test_a_script_for_each_shell(dockrion: Any, shell: str) -> None:
    command = [shell, "-c", "dockrion --show-completion; true"]  # the shell stays, to be found
    path = f"{BIN}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(command, env={**os.environ, "PATH": path}, capture_output=True, check=True)
    assert b"_DOCKRION_COMPLETE=complete_" + shell.encode() in done.stdout
    subprocess.run([shell, "-n", "/dev/stdin"], input=done.stdout, check=True)


def test_a_server_that_is_away_completes_nothing(dockrion: Any) -> None:
    asked = {
        "_DOCKRION_COMPLETE": "complete_bash",
        "COMP_WORDS": "dockrion\nruns\nshow\n--url\nhttp://127.0.0.1:1\n",
        "COMP_CWORD": "5",
    }
    answered = dockrion(env=asked)
    assert (answered.stdout.strip(), answered.stderr) == ("", "")
