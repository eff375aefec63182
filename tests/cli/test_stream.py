"""`dockrion stream`: events as they come, in a pipe and in a terminal."""

from __future__ import annotations

import json
import re
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import COMMAND, Terminal, drawn_last

DEADLINE = 30.0
ORDER = {"order_id": "A-1", "amount": 12.5, "card_country": "NL", "ship_country": "NL"}
EXAMPLES = Path(__file__).parents[2] / "examples"
AGENT = """
import time
from pathlib import Path

def everything(payload, context):
    print("printed")
    context.sync_emit_progress("read", 0.5, "half of it")
    context.sync_checkpoint("parsed", {"fields": 2})
    context.sync_emit("fraud", score=1)
    context.sync_emit_step("mine", duration_ms=1500)
    context.sync_emit_token("Hel\\x1b[31mlo ")
    context.sync_emit_token("there")
    return {"text": "Hello there"}

def interrupted(payload, context):
    context.sync_emit_token("Hello")
    context.sync_emit_step("mine", duration_ms=1500)
    context.sync_emit_step("yours", duration_ms=2)
    context.sync_emit_token("there")

def silent(payload):
    return {"answer": 42}

def waits(payload, context):
    context.sync_emit_token("begin ")
    while not Path("go").exists():
        time.sleep(0.01)
        context.sync_emit_heartbeat()
    return "done"

def fails(payload, context):
    context.sync_emit_token("begin")
    raise ValueError("no luck")
"""


def agent(dockrion: Any, handler: str, rest: str = "") -> None:
    dockrion.project(
        {"agent.py": AGENT, "Dockfile.yaml": f"agent: {{name: tested, handler: agent:{handler}}}\n{rest}"}
    )


class TestInAPipe:
    def test_tokens_on_stdout_and_the_rest_on_stderr(self, dockrion: Any) -> None:
        agent(dockrion, "everything")
        done = dockrion("stream", "-p", "{}")
        assert done.stdout == "Hel\x1b[31mlo there\n"
        lines = done.stderr.splitlines()
        assert "printed" in lines
        lines.remove("printed")
        assert lines[:-1] == [
            "started tested (handler)",
            "progress read 50% half of it",
            'checkpoint parsed {"fields":2}',
            'custom:fraud {"score":1}',
            "step mine 1.5 s",
        ]
        assert re.fullmatch(r'complete in \d\.\d\d s: \{"text":"Hello there"\}', lines[-1])

    def test_lines_among_tokens_begin_anew_where_both_are_read_together(self, dockrion: Any) -> None:
        agent(dockrion, "interrupted")
        done = subprocess.run(
            [*COMMAND, "stream", "-p", "{}"],
            cwd=dockrion.directory,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=DEADLINE,
            check=True,
        )
        assert done.stdout.splitlines()[1:-1] == ["Hello", "step mine 1.5 s", "step yours 2 ms", "there"]
        assert done.stdout.endswith("null\n")

    def test_a_failure_in_json_has_a_hint_that_stands_alone(self, dockrion: Any) -> None:
        agent(dockrion, "fails")
        done = dockrion("stream", "-p", "{}", "--json", code=1)
        assert json.loads(done.stdout.splitlines()[-1])["type"] == "error"
        assert done.stderr == "the agent failed; --verbose shows the traceback\n"

    def test_tokens_come_while_the_agent_runs(self, dockrion: Any, wait_until: Any) -> None:
        agent(dockrion, "waits")
        with dockrion.started("stream", "-p", "{}") as started:
            wait_until(lambda: started.out.read_text() == "begin ", "the first token")
            assert started.process.poll() is None
            dockrion.project({"go": ""})
            assert started.process.wait(DEADLINE) == 0

    def test_json_is_what_clients_get(self, dockrion: Any) -> None:
        agent(dockrion, "everything", "streaming: {events: {allowed: [token]}}")
        events = [json.loads(line) for line in dockrion("stream", "--json", "-p", "{}").stdout.splitlines()]
        assert [event["type"] for event in events] == ["started", "token", "token", "complete"]
        assert [event["sequence"] for event in events] == [1, 2, 3, 4]
        assert len({event["request_id"] for event in events}) == 1

    @pytest.mark.parametrize(
        ("chosen", "types"),
        [
            ("minimal", []),
            ("chat", ["step", "token", "token"]),
            ("progress,custom:fraud", ["progress", "custom:fraud"]),
            ("debug", ["progress", "checkpoint", "custom:fraud", "step", "token", "token"]),
        ],
    )
    def test_events_go_before_the_dockfiles(self, dockrion: Any, chosen: str, types: list[str]) -> None:
        agent(dockrion, "everything", "streaming: {events: {allowed: [checkpoint]}}")
        streamed = dockrion("stream", "--json", "--events", chosen, "-p", "{}").stdout.splitlines()
        assert [json.loads(line)["type"] for line in streamed] == ["started", *types, "complete"]

    def test_a_failure_is_an_event_and_an_exit_code(self, dockrion: Any) -> None:
        agent(dockrion, "fails")
        failed = dockrion("stream", "-p", "{}", code=1)
        assert failed.stdout == "begin\n"
        assert failed.stderr.splitlines() == [
            "started tested (handler)",
            "error AGENT_ERROR: ValueError: no luck",
            "  --verbose shows the traceback",
        ]
        last = json.loads(dockrion("stream", "--json", "-p", "{}", code=1).stdout.splitlines()[-1])
        assert (last["type"], last["code"]) == ("error", "AGENT_ERROR")

    def test_ctrl_c_ends_it_with_one_cancelled_event(self, dockrion: Any, wait_until: Any) -> None:
        agent(dockrion, "waits")
        with dockrion.started("stream", "--json", "-p", "{}") as started:
            wait_until(lambda: '"begin "' in started.out.read_text(), "the first token")
            assert started.stop(signal.SIGINT) == 130
            events = [json.loads(line) for line in started.out.read_text().splitlines()]
        assert [event["type"] for event in events] == ["started", "token", "cancelled"]
        assert events[-1]["reason"] == "interrupted"

    def test_steps_of_a_subgraph_are_indented(self, dockrion: Any) -> None:
        done = dockrion(
            "stream", "--events", "step", "-p", json.dumps(ORDER), str(EXAMPLES / "custom_events")
        )
        assert [re.sub(r" \d+ ms$", "", line) for line in done.stderr.splitlines()[1:-1]] == [
            "step plan",
            "step tools",
            "  step weigh",
            "  step rate",
            "step risk",
            "step decide",
        ]


class TestInATerminal:
    def test_shows_steps_bars_text_and_the_end(self, dockrion: Any) -> None:
        agent(dockrion, "everything")
        terminal = Terminal(dockrion, "stream", "-p", "{}")
        assert terminal.end() == 0
        screen = drawn_last(terminal.text)
        assert "✓ mine 1.5 s" in screen
        assert '· checkpoint parsed {"fields":2}' in screen
        assert '· custom:fraud {"score":1}' in screen
        assert re.search(r"read ━+ *╺?━* +50% half of it", screen)
        assert "Hel�[31mlo there" in screen  # the agent's text does not steer the terminal
        assert "tested is done after 0." in screen
        assert terminal.text.endswith("\x1b[?25h")  # the cursor is back

    def test_a_subgraph_is_a_tree(self, dockrion: Any) -> None:
        terminal = Terminal(dockrion, "stream", "-p", json.dumps(ORDER), str(EXAMPLES / "custom_events"))
        assert terminal.end() == 0
        steps = [line for line in drawn_last(terminal.text).splitlines() if line.startswith("✓")]
        assert [re.sub(r" \d.*", "", line) for line in steps] == [
            "✓ plan",
            "✓ tools",
            "✓ risk",
            "✓   weigh",
            "✓   rate",
            "✓ decide",
        ]

    def test_without_tokens_the_output_is_shown(self, dockrion: Any) -> None:
        agent(dockrion, "silent")
        terminal = Terminal(dockrion, "stream", "-p", "{}")
        assert terminal.end() == 0
        assert '{"answer":42}' in drawn_last(terminal.text)

    def test_ctrl_c_in_the_middle(self, dockrion: Any) -> None:
        agent(dockrion, "waits")
        terminal = Terminal(dockrion, "stream", "-p", "{}")
        terminal.read(lambda text: "begin" in text)
        terminal.process.send_signal(signal.SIGINT)
        assert terminal.end() == 130
        assert "cancelled" in drawn_last(terminal.text)
        assert "Traceback" not in terminal.text

    def test_a_failure(self, dockrion: Any) -> None:
        agent(dockrion, "fails")
        terminal = Terminal(dockrion, "stream", "-p", "{}")
        assert terminal.end() == 1
        assert "error AGENT_ERROR: ValueError: no luck" in terminal.text
