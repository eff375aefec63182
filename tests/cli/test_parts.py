"""The command's parts that are worth a table of their own, and what it says about itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from dockrion_runtime.cli.announce import url
from dockrion_runtime.cli.environment import read_environment
from dockrion_runtime.cli.failure import Failure
from dockrion_runtime.cli.options import chosen_events, completed_events
from dockrion_runtime.cli.steps import StepTree


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("NAME=value", "value"),
        ("  NAME = a b  ", "a b"),
        ("export NAME=x", "x"),
        ("NAME=", ""),
        ("NAME=# nothing", ""),
        ("NAME=a#b # comment", "a#b"),
        ("NAME='a # $b \\n'  # comment", "a # $b \\n"),
        ('NAME="a \\"b\\"\\n\\\\n # c" # comment', 'a "b"\n\\n # c'),
        ("NAME=${OTHER}", "${OTHER}"),
        ("NAME=a=b=", "a=b="),
        ("NAME=grüß", "grüß"),
        ("# NAME=other\n\nNAME=x\r", "x"),
        ("NAME=first\nNAME=second", "second"),
        ("\ufeffNAME=x", "x"),
    ],
)
def test_a_line_of_an_env_file(tmp_path: Path, line: str, value: str) -> None:
    file = tmp_path / ".env"
    file.write_text(line, encoding="utf-8")
    assert read_environment(file) == {"NAME": value}


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"A=1\nhunter2", ".env:2 is no NAME=value line"),
        (b"A='hunter2", ".env:1 is no NAME=value line"),
        (b'A="hunter2" hunter2', ".env:1 is no NAME=value line"),
        (b"1A=hunter2", ".env:1 is no NAME=value line"),
        (b"A=hunter2\0", ".env:1 is no NAME=value line"),
        (b"A=hunter2\xff", ".env is not UTF-8 text"),
    ],
)
def test_a_wrong_env_file_is_told_without_its_values(tmp_path: Path, content: bytes, told: str) -> None:
    file = tmp_path / ".env"
    file.write_bytes(content)
    with pytest.raises(Failure) as failed:
        read_environment(file)
    assert told in failed.value.what
    assert "hunter2" not in failed.value.what + failed.value.mend


@pytest.mark.parametrize(
    ("text", "events"),
    [
        ("chat", "chat"),
        (" debug ", "debug"),
        ("token", ["token"]),
        ("custom:mine", ["custom:mine"]),
        ("token, step", ["token", "step"]),
    ],
)
def test_events_on_the_command_line(text: str, events: Any) -> None:
    assert chosen_events(text) == events


@pytest.mark.parametrize("text", ["", "chat,token", "token,", "custom:", "tokens"])
def test_events_that_do_not_exist(text: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"valid|invalid"):
        chosen_events(text)


@pytest.mark.parametrize(
    ("host", "shown"),
    [
        ("0.0.0.0", "http://localhost:80"),
        ("::", "http://localhost:80"),
        ("127.0.0.1", "http://127.0.0.1:80"),
        ("::1", "http://[::1]:80"),
    ],
)
def test_an_address_that_a_browser_takes(host: str, shown: str) -> None:
    assert url(host, 80) == shown


def test_parallel_subgraphs_keep_their_steps_together() -> None:
    tree = StepTree()
    tree.add("plan", 1.0, None)
    tree.add("weigh", 2.0, ["risk:1"])
    tree.add("look", 3.0, ["stock:2"])
    tree.add("deep", 4.0, ["risk:1", "inner:3"])
    tree.add("rate", 5.0, ["risk:1"])
    assert [(step.name, step.depth, step.done) for step in tree.steps] == [
        ("plan", 0, True),
        ("risk", 0, False),
        ("weigh", 1, True),
        ("inner", 1, False),
        ("deep", 2, True),
        ("rate", 1, True),
        ("stock", 0, False),
        ("look", 1, True),
    ]
    tree.add("inner", 6.0, ["risk:1"])
    tree.add("risk", 7.0, None)
    tree.add("risk", 8.0, None)
    assert [(step.name, step.duration_ms) for step in tree.steps if step.name in ("risk", "inner")] == [
        ("risk", 7.0),
        ("inner", 6.0),
        ("risk", 8.0),
    ]


@pytest.mark.parametrize(
    ("begun", "completed"),
    [
        ("mini", ["minimal"]),
        ("token,st", ["token,step", "token,step_started"]),
        ("step,step", ["step,step_started"]),
        ("custom", ["custom", "custom:"]),
        ("nothing", []),
    ],
)
def test_events_are_completed(begun: str, completed: list[str]) -> None:
    assert completed_events(begun) == completed


def test_help_needs_no_server() -> None:
    program = "import sys, dockrion_runtime.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    loaded = set(done.stdout.split())
    assert "dockrion_runtime.cli.commands.run" in loaded
    assert loaded.isdisjoint({"litestar", "uvicorn", "pydantic", "ruamel.yaml", "httpx", "redis"})


def test_the_command_describes_itself(dockrion: Any) -> None:
    assert dockrion("--version").stdout == "dockrion 0.1.0\n"
    shown = dockrion("--help").stdout
    for command in ("init", "validate", "test", "stream", "run", "worker", "doctor", "add", "runs"):
        assert f"\n  {command} " in shown
        assert f"Usage: dockrion {command}" in dockrion(command, "--help").stdout
    assert "No such command" in dockrion("serve", code=2).stderr
    assert "--payload" in dockrion("test", code=2).stderr
