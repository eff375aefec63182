"""The Python examples of the documentation pass the type checkers that their readers use."""

from __future__ import annotations

import re
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from .blocks import PAGES, ROOT, Block, blocks

pytestmark = pytest.mark.timeout(300)

PYRIGHT = """
[tool.pyright]
reportMissingImports = false
reportMissingModuleSource = false
reportMissingTypeStubs = false
"""

MYPY = [
    f"--cache-dir={ROOT / '.mypy_cache' / 'examples'}",
    "--check-untyped-defs",
    "--explicit-package-bases",  # each page has a folder, and names of its own
    "--disable-error-code=import-untyped",
    "--disable-error-code=import-not-found",  # the files of a page lie beside each other, not on a path
    "--disable-error-code=no-redef",  # examples of a page use the same names for other things
    "--allow-redefinition",
]

FOREIGN = re.compile(r"^from (langgraph_sdk|sse_starlette) ", re.MULTILINE)
"""Examples of other people's clients and servers; their types are not ours to test."""

CHECKS = """
from dockrion_events import CompleteEvent, CustomEvent, ErrorEvent, StreamEvent, TokenEvent
from dockrion_sdk import Agent, Client, SyncClient, batch, buffer, collect, only, text, timeout
from typing_extensions import assert_type


async def narrows(agent: Agent, client: Client, sync: SyncClient) -> None:
    async for event in agent.invoke_stream({}):
        if event.type == "token":
            assert_type(event, TokenEvent)
            event.content.upper()
        elif event.type == "complete":
            event.output
            assert_type(event, CompleteEvent)
        if event.type == "error":
            assert_type(event, ErrorEvent)
        if isinstance(event, CustomEvent) and event.name == "fraud_check":
            assert_type(event, CustomEvent)
            event.data
        match event:
            case CompleteEvent(output=output):
                assert_type(event, CompleteEvent)
    async for event in client.stream({}):
        assert_type(event, StreamEvent)
    async for event in client.runs.events("run"):
        assert_type(event, StreamEvent)
    for event in sync.stream({}):
        assert_type(event, StreamEvent)
    for event in agent.stream_chat_sync("hello"):
        assert_type(event, StreamEvent)
    stream = client.stream({})
    assert_type(await (stream | collect()), list[StreamEvent])
    assert_type(await (stream | only("token") | text() | collect()), list[str])
    assert_type(await (stream | buffer("word") | timeout(3) | collect()), list[StreamEvent])
    assert_type(await (stream | batch(3) | collect()), list[list[StreamEvent]])
    assert_type(await (agent.invoke_stream({}, serialize=True) | collect()), list[str])
"""

WRONG = """
from dockrion_sdk import Client


async def wrong(client: Client) -> None:
    async for event in client.stream({}):
        if event.type == "token":
            event.output
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the examples of each page: its files as they are, and the rest, which share names, as one."""
    place = tmp_path_factory.mktemp("examples")
    (place / "pyproject.toml").write_text(PYRIGHT)
    (place / "checks.py").write_text(CHECKS)
    for page in PAGES:
        home = place / page.stem.replace("-", "_").lower()
        home.mkdir()
        given = ROOT / f"tests/docs/given/{home.name}.py"
        shared = []
        for block in blocks(page):
            if block.language != "python" or FOREIGN.search(block.text):
                continue
            if {"file", "needs"} & block.words.keys():
                file = home / block.words.get("file", f"line_{block.line}.py")
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(block.text)
            else:
                shared.append(block)
        (home / "page.py").write_text(_together(shared, given.read_text() if given.is_file() else ""))
    return place


def _together(examples: list[Block], given: str) -> str:
    """Return what a page takes for granted, and its examples as one function, for some of them await."""
    text = "".join(f"\n# {block.where}\n{block.text}" for block in examples) or "pass"
    return f"{given}\n\nasync def page() -> None:\n{textwrap.indent(text, '    ')}"


def pyright(folder: Path) -> str:
    program = Path(sys.executable).with_name("pyright")
    return _found([str(program), "--pythonpath", sys.executable, "."], folder)


def mypy(folder: Path) -> str:
    files = [str(path.relative_to(folder)) for path in sorted(folder.rglob("*.py"))]
    return _found([sys.executable, "-m", "mypy", *MYPY, *files], folder)


def _found(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    return "" if done.returncode == 0 else done.stdout + done.stderr


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_no_example_has_a_fault(folder: Path, checker: Callable[[Path], str]) -> None:
    found = checker(folder)
    assert not found, found


@pytest.mark.parametrize("checker", [pyright, mypy])
def test_a_field_that_another_event_has_is_found(tmp_path: Path, checker: Callable[[Path], str]) -> None:
    (tmp_path / "wrong.py").write_text(WRONG)
    (tmp_path / "pyproject.toml").write_text(PYRIGHT)
    told = r'attribute "output" for class "TokenEvent"|"TokenEvent" has no attribute "output"'
    assert re.search(told, checker(tmp_path))
