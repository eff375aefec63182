"""From ``module:attribute`` to an object, and what is said where there is none."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from dockrion_adapters import HandlerAdapter, LoadError, load_entrypoint

MODULE = """
import os

def handle(payload):
    return {"echo": payload}

class Agent:
    instance = None
    def run(self, payload):
        return payload

agent = Agent()
number = 5

def __getattr__(name):
    if name == "lazy":
        return "made on demand"
    if name == "broken":
        raise RuntimeError("no luck")
    raise AttributeError(name)
"""


@pytest.fixture(autouse=True)
def _modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(tmp_path)
    package = tmp_path / "ep_app"
    (package / "inner").mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "inner" / "__init__.py").touch()
    (package / "service.py").write_text(MODULE)
    (package / "inner" / "deep.py").write_text("from ep_app.service import handle\n")
    (package / "needs.py").write_text("import ep_is_not_installed\n")
    (package / "needs_part.py").write_text("from ep_app import ep_nothing\n")
    (package / "raises.py").write_text("raise ValueError('at import')\n")
    (package / "typo.py").write_text("def handle(:\n")
    (package / "exits.py").write_text("import sys\nsys.exit('usage: exits')\n")
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("ep_app"):
            del sys.modules[name]


@pytest.mark.parametrize(
    "entrypoint",
    [
        "ep_app.service:handle",
        "ep_app.inner.deep:handle",
        "ep_app.service:agent.run",
        "ep_app.service:Agent.run",
    ],
)
def test_it_finds_what_it_names(entrypoint: str) -> None:
    assert callable(load_entrypoint(entrypoint))


def test_it_is_the_object_itself() -> None:
    assert load_entrypoint("ep_app.service:number") == 5
    assert load_entrypoint("ep_app.service:lazy") == "made on demand"
    assert HandlerAdapter("ep_app.service:handle").invoke({"a": 1}) == {"echo": {"a": 1}}
    assert HandlerAdapter("ep_app.service:agent.run").invoke(7) == 7


@pytest.mark.parametrize(
    "text",
    ["", ":", "handle", "ep_app.service", "ep_app.service.handle", "ep_app.service:", ":handle", "a b:c",
     "ep_app/service.py:handle", "ep_app..service:handle", ".service:handle", "ep_app.service:handle()",
     "ep_app.service:a:b", "ep_app.service:handle\n", " ep_app.service:handle", "1a:b", "a:1b", "a-b:c"],
)  # fmt: skip
def test_what_has_another_form(text: str) -> None:
    with pytest.raises(LoadError, match=r"write module:attribute, such as app\.service:handle"):
        load_entrypoint(text)


@pytest.mark.parametrize(
    "text", ["os:getcwd", "os.path:join", "json:dumps", "builtins:eval", "subprocess:run"]
)
def test_the_standard_library_is_no_agent(text: str) -> None:
    with pytest.raises(LoadError, match="part of Python's standard library"):
        load_entrypoint(text)


@pytest.mark.parametrize(
    ("text", "message", "cause"),
    [
        ("ep_nowhere:handle", "there is no module 'ep_nowhere'; it was looked for in ", None),
        ("ep_nowhere.service:handle", "there is no module 'ep_nowhere'", None),
        ("ep_app.sevice:handle", "there is no module 'ep_app.sevice'", None),
        ("ep_app.service.more:handle", "no module 'ep_app.service.more'", None),
        ("ep_app.needs:handle", r"ep_app.needs failed: No module .*needs.py, line \d+\)$", ImportError),
        ("ep_app.needs_part:handle", "importing ep_app.needs_part failed: ImportError", ImportError),
        ("ep_app.raises:handle", r"failed: ValueError: at import \(.*raises.py, line \d+\)$", ValueError),
        ("ep_app.typo:handle", r"ep_app.typo failed: SyntaxError: .* \(.*typo.py, line \d+\)$", SyntaxError),
        ("ep_app.exits:handle", r"ends the process when it is imported .*exits.py, line \d+\)", SystemExit),
        ("ep_app.service:handel", r"module ep_app.service has no 'handel'; did you mean 'handle'\?", None),
        ("ep_app.service:zzz", "module ep_app.service has no 'zzz'; it has Agent, agent, handle", None),
        ("ep_app.service:agent.rnu", "Agent object has no 'rnu'", None),
        ("ep_app.service:number.x", "int object has no 'x'; it has nothing public", None),
        ("ep_app.service:broken", "reading broken failed: RuntimeError: no luck", RuntimeError),
        ("ep_app.inner:x", "module ep_app.inner has no 'x'; it has nothing public", None),
    ],
)  # fmt: skip
def test_what_cannot_be_loaded(text: str, message: str, cause: type[BaseException] | None) -> None:
    with pytest.raises(LoadError, match=message) as caught:
        load_entrypoint(text)
    assert repr(text) in str(caught.value)
    assert isinstance(caught.value.__cause__, cause or type(None))


def test_a_handler_that_is_no_callable_is_named_as_it_was_written() -> None:
    with pytest.raises(LoadError, match=r"'ep_app\.service:number' is a int"):
        HandlerAdapter("ep_app.service:number")
