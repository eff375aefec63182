"""`dockrion add`: what it changes, and that it changes nothing else."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from dockrion_runtime.cli.editing import NotEditable, with_item, with_value
from dockrion_sdk import load_dockfile
from dockrion_sdk.dockfile.read import parse_document

from .conftest import Terminal

AGENT = "def handle(payload, context):\n    context.sync_emit_token('hi')\n    return 'hi'\n"
WRITTEN = """\
# Who does what.
version:   "1.0"          # aligned

agent: {name: 'mine',   handler: agent:handle}


expose:
  # what clients may do
  streaming: websocket     # so far
  port: 0

streaming:
    events:   # few
        allowed:
            - token     # the text
            - 'step'

        # heartbeat_interval: 5

# nobody else
secrets:
    required:
        - name: API_TOKEN      # for the model
          description: >-
              two
              lines
# the end
"""


def written(dockrion: Any, text: str = WRITTEN) -> Path:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": text})
    file: Path = dockrion.directory / "Dockfile.yaml"
    return file


def test_everything_else_stays_as_it_is(dockrion: Any) -> None:
    file = written(dockrion)
    options = ["--events", "chat", "--async-runs", "--backend", "redis", "--heartbeat", "2.5"]
    done = dockrion("add", "streaming", *options)
    expected = (
        WRITTEN.replace("streaming: websocket ", "streaming: [websocket, sse] ")
        .replace(
            "        allowed:\n            - token     # the text\n            - 'step'\n",
            "        allowed: chat\n        heartbeat_interval: 2.5\n",
        )
        .replace(
            "        # heartbeat_interval: 5\n",
            "        # heartbeat_interval: 5\n"
            "    async_runs: true\n"
            "    backend: redis\n"
            '    redis: {url: "${REDIS_URL}"}\n',
        )
        .replace(
            "              lines\n",
            '              lines\n        - {name: REDIS_URL, description: "Redis connection URL"}\n',
        )
    )
    assert file.read_text() == expected
    assert done.stderr.splitlines() == [
        "Wrote Dockfile.yaml.",
        "REDIS_URL has to be set before `dockrion run`, for example: export REDIS_URL=redis://localhost:6379",
    ]
    again = dockrion("add", "streaming", *options)
    assert (again.stdout, again.stderr) == ("", "Nothing to change: Dockfile.yaml has all of that.\n")
    assert file.read_text() == expected


def test_a_dry_run_changes_nothing_and_shows_a_patch(dockrion: Any) -> None:
    file = written(dockrion)
    shown = dockrion("add", "streaming", "--events", "all", "--dry-run")
    assert file.read_text() == WRITTEN
    assert shown.stdout.startswith("--- a/Dockfile.yaml\n+++ b/Dockfile.yaml\n@@ ")
    assert "\x1b" not in shown.stdout
    assert shown.stderr == "Dockfile.yaml would change so; nothing is written.\n"
    dockrion("add", "streaming", "--events", "all")
    changed = file.read_text()
    file.write_text(WRITTEN)
    subprocess.run(["git", "apply", "-p1", "-"], input=shown.stdout, text=True, check=True, cwd=file.parent)
    assert file.read_text() == changed


def test_the_difference_is_coloured_in_a_terminal(dockrion: Any) -> None:
    written(dockrion)
    terminal = Terminal(dockrion, "add", "streaming", "--dry-run")
    assert terminal.end() == 0
    assert "\x1b[31m-  streaming: websocket     # so far" in terminal.text
    assert "\x1b[32m+  streaming: [websocket, sse]     # so far" in terminal.text


def test_json(dockrion: Any) -> None:
    file = written(dockrion)
    arguments = ["add", "streaming", "--backend", "redis", "--json"]
    shown = json.loads(dockrion(*arguments, "--dry-run").stdout)
    assert (shown["file"], shown["changed"], shown["written"]) == (str(file), True, False)
    assert shown["diff"].startswith("--- a/Dockfile.yaml\n")
    assert [note.split()[0] for note in shown["notes"]] == ["Runs", "REDIS_URL"]
    assert json.loads(dockrion(*arguments).stdout)["written"] is True
    assert json.loads(dockrion(*arguments).stdout)["changed"] is False
    file.write_text("agent: [")
    error = json.loads(dockrion(*arguments, code=1).stdout)["error"]
    assert error["problems"][0]["line"] == 1


def test_what_was_added_is_served(dockrion: Any) -> None:
    written(dockrion, "agent: {name: mine, handler: agent:handle}\nexpose: {streaming: none}")
    dockrion("add", "streaming", "--events", "minimal", "--async-runs")
    dockrion("add", "auth")
    with dockrion.run(env={"DOCKRION_API_KEY": "secret-key"}) as served:
        assert served.post("/runs", {}).status_code == 401
        key = {"X-API-Key": "secret-key"}
        assert served.post("/runs", {}, headers=key).status_code == 202
        assert [event["type"] for event in served.events({}, headers=key)] == ["started", "complete"]


def test_auth_tells_how_to_make_a_key(dockrion: Any) -> None:
    file = written(dockrion, "agent: {name: mine, handler: agent:handle}\n")
    told = dockrion("add", "auth").stderr
    assert file.read_text() == "agent: {name: mine, handler: agent:handle}\nauth:\n  mode: api_key\n"
    command = told.splitlines()[-1].partition("beside the Dockfile: ")[2]
    subprocess.run(command, shell=True, check=True, cwd=file.parent)
    env_file = file.parent / ".env"
    assert stat.S_IMODE(env_file.stat().st_mode) == 0o600
    key = env_file.read_text().strip().partition("DOCKRION_API_KEY=")[2]
    with dockrion.run() as served:
        assert httpx.post(f"{served.url}/invoke", json={}, headers={"X-API-Key": key}).status_code == 200


@pytest.mark.parametrize(
    ("url", "declared"),
    [("redis://mine:1", False), ("${MY_REDIS:-redis://x}", False), ("${REDIS_URL}", True)],
)
def test_a_redis_that_is_named_stays(dockrion: Any, url: str, declared: bool) -> None:
    file = written(
        dockrion, f'agent: {{name: mine, handler: agent:handle}}\nstreaming: {{redis: {{url: "{url}"}}}}\n'
    )
    dockrion("add", "streaming", "--backend", "redis", "--async-runs")
    dockfile = load_dockfile(file, {"REDIS_URL": "redis://x"})
    assert (dockfile.streaming.redis.template("url") or dockfile.streaming.redis.url) == url
    assert bool(dockfile.secrets.required) is declared


@pytest.mark.parametrize(
    ("text", "arguments", "code", "told"),
    [
        (WRITTEN, ["--events", "chatt"], 2, "did you mean 'chat'"),
        (WRITTEN, ["--heartbeat", "0"], 2, "expected a number greater than 0"),
        (WRITTEN, ["--max-duration", "inf"], 2, "expected a number greater than 0"),
        (WRITTEN, ["--backend", "kafka"], 2, "'memory', 'redis'"),
        ("agent: {name: x, handler: a:b}\nagent: {}\n", [], 1, "duplicate key"),
        ("agent: {name: x, handler: a:b}\nexpose: {prot: 1}\n", [], 1, "did you mean 'port'"),
        ("agent: {name: x, handler: a:b}\n? expose\n", [], 1, "expose.streaming cannot be put there safely"),
    ],
)
def test_refusals_leave_the_file(
    dockrion: Any, text: str, arguments: list[str], code: int, told: str
) -> None:
    file = written(dockrion, text)
    assert told in dockrion("add", "streaming", *arguments, code=code).stderr
    assert file.read_text() == text
    assert sorted(path.name for path in file.parent.iterdir()) == ["Dockfile.yaml", "agent.py"]


def test_no_file(dockrion: Any) -> None:
    assert "there is no such file" in dockrion("add", "streaming", code=1).stderr


def test_variables_may_be_set_later(dockrion: Any) -> None:
    file = written(dockrion, 'agent: {name: x, handler: a:b}\nexpose: {port: "${PORT}"}\n')
    dockrion("add", "streaming")
    assert 'expose: {port: "${PORT}", streaming: sse}' in file.read_text()


def test_a_link_and_a_mode_are_kept(dockrion: Any) -> None:
    file = written(dockrion)
    target = dockrion.directory / "real" / "theirs.yaml"
    target.parent.mkdir()
    file.rename(target)
    target.chmod(0o640)
    file.symlink_to(target)
    before = target.stat().st_ino
    dockrion("add", "auth")
    assert file.is_symlink()
    assert "mode: api_key" in target.read_text()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert target.stat().st_ino != before  # put in place as a whole, not written into
    assert [path.name for path in target.parent.iterdir()] == ["theirs.yaml"]


LAYOUTS = [
    "a: 1\n",
    "a: 1",
    "a: 1\n\n\n",
    "\ufeffa: 1\r\nb:\r\n    c: 2   # two\r\n",
    "{a: 1}",
    "a: 1\nb: {}\n",
    "a: 1\nb: {c: 2,}\n",
    "a: 1\nb: {\n  c: 2  # two\n}\n",
    "a: 1\nb:\n",
    "a: 1\nb: # nothing yet\n\nz: 2\n",
    "a: 1\nb: ~\nz: 2\n",
    "a: 1\nb:\n  c:\n  - 1 # one\n  - 2\n  # below\n# further out\nz: 3\n",
    "a: 1\nb:\n  c: |\n    text\n\n    more\n\nz: 3\n",
    "a: 1\nb:\n  c: 'x'\n  l: []\n",
    "a: 1\nb:\n  l: [1, 2]   # few\n",
    "a: 1\nb:\n  l:\n  - {x: 1}\n  # last\n\nz: 1\n",
    "---\na: 1\nb:\n  c: 2\n...\n",
    "a: 1\n# the end\n",
]


@pytest.mark.parametrize("text", LAYOUTS)
@pytest.mark.parametrize(
    "path", [("b", "c"), ("b", "new"), ("b", "deep", "er"), ("new",), ("new", "er", "est")]
)
def test_any_layout(text: str, path: tuple[str, ...]) -> None:
    tree = parse_document(text.removeprefix("\ufeff")).tree
    changed = with_value(text, path, [1, "b:c", "${X}"])
    value: Any = parse_document(changed.removeprefix("\ufeff")).tree
    for key in path:
        value = value[key]
    assert value == [1, "b:c", "${X}"]
    assert with_value(changed, path, value) == changed
    replaced = path == ("b", "c") and "c" in (tree.get("b") or {})
    if not replaced:  # then every character is still there, in its order
        rest = iter(changed)
        assert all(char in rest for char in text.replace("~", ""))
    assert changed.startswith("\ufeff") is text.startswith("\ufeff")
    assert ("\r\n" in changed) is ("\r\n" in text)
    assert "\n" not in changed.replace("\r\n", "") or "\r\n" not in text


@pytest.mark.parametrize("text", LAYOUTS)
def test_any_list(text: str) -> None:
    before = (parse_document(text.removeprefix("\ufeff")).tree.get("b") or {}).get("l") or []
    changed = with_item(text, ("b", "l"), {"name": "X", "description": "two words"})
    after = parse_document(changed.removeprefix("\ufeff")).tree["b"]["l"]
    assert after == [*before, {"name": "X", "description": "two words"}]
    rest = iter(changed)
    assert all(char in rest for char in text.replace("~", ""))


def test_a_layout_that_cannot_be_changed_is_refused() -> None:
    with pytest.raises(NotEditable, match="b"):
        with_value("a: 1\n? b\n", ("b",), 2)
