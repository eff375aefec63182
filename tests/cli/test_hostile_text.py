"""What an agent or a client says never steers a terminal, and passes for no line of the log."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx
import pytest

from dockrion_runtime.cli.printable import escaped_json, escaped_line, printable, printable_line

from .conftest import DEADLINE, Terminal

CLIPBOARD = "\x1b]52;c;QUFB\x07"
STEERING = f"a{CLIPBOARD}b\x9b2Jc\u202ed\x7fe"
FORGED = "12:00:00 [info] forged"
HOSTILE = f"{STEERING}\r\n{FORGED}"

AGENT = f"""
import logging

HOSTILE = {HOSTILE!r}

def handle(payload, context):
    logging.getLogger("agent").warning("said %s", HOSTILE, extra={{"also": HOSTILE, "list": [HOSTILE]}})
    context.sync_emit_token(HOSTILE)
    context.sync_emit_step(HOSTILE)
    context.sync_emit_progress(HOSTILE, 0.5, HOSTILE)
    context.sync_checkpoint("parsed", {{HOSTILE: HOSTILE}})
    if payload.get("fail"):
        raise ValueError(HOSTILE)
    return {{HOSTILE: [HOSTILE]}}
"""


@pytest.fixture
def project(dockrion: Any) -> Any:
    text = (
        "agent: {name: tested, handler: agent:handle}\n"
        "streaming: {async_runs: true}\nexpose: {errors: full}\n"
    )
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": text})
    return dockrion


def holds(text: str, *, forged: bool = True) -> None:
    assert "forged" in text, "what was said is there"
    for char in ("\x1b]", "\x07", "\x9b", "\x7f", "\u202e"):
        assert char not in text, f"{char!r} in {text!r}"
    if forged:
        assert not any(line.startswith("12:00:00") for line in re.split(r"[\r\n]", text)), text


def test_the_forms() -> None:
    assert printable(f"x\n\t{STEERING}") == "x\n\ta�]52;c;QUFB�b�2Jc�d�e"
    assert printable("a\r\nb\rc") == "a\nb�c"
    assert printable_line("a\nb") == "a�b"
    assert escaped_line("a\nb\x1b\u2028") == r"a\nb\x1b\u2028"
    family = "\U0001f468\u200d\U0001f469\u200d\U0001f467 ё 日本"
    assert printable(family) == printable_line(family) == escaped_line(family) == family
    document = json.dumps({"a": STEERING}, ensure_ascii=False, indent=2)
    assert json.loads(escaped_json(document)) == {"a": STEERING}
    holds(escaped_json(document) + "forged")


@pytest.mark.parametrize("fail", [False, True])
def test_in_a_terminal(project: Any, fail: bool) -> None:
    payload = json.dumps({"fail": fail})
    for command in ("stream", "test"):
        terminal = Terminal(project, command, "-p", payload)
        assert terminal.end() == (1 if fail else 0)
        # A token is text of several lines; nobody takes what an agent says there for the log.
        holds(terminal.text, forged=command == "test")


def test_in_a_pipe(project: Any) -> None:
    for payload, code in (("{}", 0), ('{"fail": true}', 1)):
        holds(project("stream", "-p", payload, code=code).stderr)
        holds(project("stream", "--json", "-p", payload, code=code).stdout)
        holds(project("test", "-p", payload, code=code).stderr)
    holds(project("test", "-p", "{}").stdout)
    holds(project("test", "--json", "-p", "{}").stdout)
    holds(project("test", "--json", "-p", '{"fail": true}', code=1).stdout)


@pytest.mark.parametrize("style", ["console", "json"])
def test_in_the_log_and_from_a_server(project: Any, style: str) -> None:
    text = f"agent: {{name: tested, handler: agent:handle}}\nobservability: {{logs: {style}}}\n"
    project.project({"Dockfile.yaml": f"{text}streaming: {{async_runs: true}}\nexpose: {{errors: full}}\n"})
    with project.run() as served:
        for payload in ({}, {"fail": True}):
            run_id = served.post("/runs", payload).json()["run_id"]
            httpx.get(f"{served.url}/runs/{run_id}/events", timeout=DEADLINE)
            code = 1 if payload else 0
            for command in ("watch", "show"):
                code_of_command = code if command == "watch" else 0
                shown = project("runs", command, run_id, "--url", served.url, code=code_of_command)
                holds(shown.stderr if command == "watch" else shown.stdout)
                as_json = project(
                    "runs", command, run_id, "--json", "--url", served.url, code=code_of_command
                )
                holds(as_json.stdout)
            terminal = Terminal(project, "runs", "watch", run_id, "--url", served.url)
            assert terminal.end() == code
            holds(terminal.text, forged=False)
        served.stop()
        log = served.err.read_text()
    holds(log)
    if style == "json":
        records = [json.loads(line) for line in log.splitlines()]
        assert {record["event"] for record in records if record["logger"] == "agent"} == {f"said {HOSTILE}"}
