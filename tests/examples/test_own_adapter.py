"""The adapter of the own_adapter example: installed as a package, and held to the contract."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from dockrion_adapters import Adapter
from dockrion_adapters.testing import AdapterSuite

EXAMPLE = Path(__file__).parents[2] / "examples" / "own_adapter"
MAX_LINES = 80

AGENT = """
from flows import Flow

async def greet(name):
    yield "hello "
    yield name

flow = Flow(str.strip, greet)
"""

USE = """
import asyncio
from dockrion_adapters import available_frameworks, get_adapter

assert "flows" in available_frameworks()
adapter = get_adapter("flows")
adapter.load("my_agent:flow")

async def main():
    async for event in adapter.invoke_stream(" you "):
        print(event.type, event.chunk or getattr(event, "output", getattr(event, "node_name", "")), sep="|")

asyncio.run(main())
"""


def test_it_works_where_it_is_installed(tmp_path: Path) -> None:
    site, source = tmp_path / "site", tmp_path / "source"
    source.mkdir()
    for path in EXAMPLE.rglob("*"):  # building leaves nothing in the example
        if path.is_file() and "__pycache__" not in path.parts:
            copy = source / path.relative_to(EXAMPLE)
            copy.parent.mkdir(exist_ok=True)
            copy.write_bytes(path.read_bytes())
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    options = ["--no-deps", "--no-build-isolation", "--target", str(site)]
    subprocess.run([*pip, *options, str(source)], check=True, capture_output=True, text=True)
    (site / "my_agent.py").write_text(AGENT)
    paths = os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])])
    answer = subprocess.run(
        [sys.executable, "-c", USE],
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.splitlines() == [
        "started|",
        "step_started|strip",
        "step|strip",
        "step_started|greet",
        "token|hello ",
        "token|you",
        "step|greet",
        "complete|hello you",
    ]


def test_it_is_short() -> None:
    assert len((EXAMPLE / "flows" / "adapter.py").read_text().splitlines()) < MAX_LINES


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(EXAMPLE)
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "flows"]:
        del sys.modules[name]


class TestFlows(AdapterSuite):
    payload = "hello"

    def make(self, act: Callable[[Any], Any]) -> Adapter:
        adapter: Adapter = importlib.import_module("flows.adapter").FlowAdapter()
        adapter.load(importlib.import_module("flows").Flow(act))
        return adapter

    def speaking(self, words: Sequence[str]) -> Adapter:
        async def say(_: Any) -> AsyncIterator[str]:
            for word in words:
                yield word

        return self.make(say)
