"""`load`: the agent's module is found beside the Dockfile, and what cannot be loaded is told by key."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from dockrion_adapters import HandlerAdapter, LoadError
from dockrion_sdk import Dockfile, DockfileError, load, load_dockfile

Project = Callable[..., Path]

MODULES = ("app", "app.service", "broken", "mine", "one", "service", "two", "unused")
EXAMPLES = Path(__file__).parents[2] / "examples"
HANDLER = "def handle(payload):\n    return {'echo': payload}\n"
OWN_ADAPTER = """
class Own:
    framework = "own"
    def load(self, target):
        self.target = target
    def invoke(self, payload, *, config=None, context=None, **options):
        return self.target
not_one = object()
"""


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Begin without the projects' modules, and leave the interpreter's path and modules as they were."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    for name in MODULES:
        monkeypatch.delitem(sys.modules, name, raising=False)
    yield
    for name, module in list(sys.modules.items()):
        places = [getattr(module, "__file__", None), *getattr(module, "__path__", ())]
        if any(place and Path(place).is_relative_to(tmp_path) for place in places):
            del sys.modules[name]


@pytest.fixture
def project(tmp_path: Path) -> Project:
    """Write a project: its agent section, its Python files, in a directory of this name."""

    def project(agent: str, name: str = "project", rest: str = "", **files: str) -> Path:
        directory = tmp_path / name
        for module, text in files.items():
            file = directory.joinpath(*module.split("__")).with_suffix(".py")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
        (directory / "Dockfile.yaml").write_text(f"agent: {{name: my-agent, {agent}}}\n{rest}")
        return directory

    return project


def test_a_handler_beside_the_dockfile(project: Project) -> None:
    directory = project("handler: app.service:handle", app__service=HANDLER)
    adapter = load(directory)
    assert isinstance(adapter, HandlerAdapter)
    assert adapter.invoke({"q": 1}) == {"echo": {"q": 1}}
    assert adapter.agent_name == "my-agent"
    assert sys.path[0] == str(directory)


def test_from_a_dockfile_or_a_path(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = project("handler: service:handle", service=HANDLER)
    monkeypatch.chdir(directory)
    for given in (load_dockfile(directory), directory / "Dockfile.yaml", str(directory)):
        assert load(given).invoke(1) == {"echo": 1}
    assert load().invoke(2) == {"echo": 2}


def test_the_directory_is_on_the_path_once_and_first(project: Project) -> None:
    first = project("handler: one:handle", name="first", one=HANDLER)
    second = project("handler: two:handle", name="second", two=HANDLER)
    for directory in (first, second, first):
        load(directory)
    assert sys.path[:2] == [str(first), str(second)]
    assert sys.path.count(str(first)) == 1


def test_warnings_are_logged(project: Project, caplog: pytest.LogCaptureFixture) -> None:
    directory = project("handler: service:handle", service=HANDLER, rest="telemetry: {}\n")
    with caplog.at_level(logging.WARNING, "dockrion_sdk"):
        load(directory)
    assert "telemetry: unknown section, ignored; Valid: version, agent" in caplog.text


def test_an_adapter_of_ones_own(project: Project) -> None:
    directory = project("entrypoint: graph:build, adapter: mine:Own", mine=OWN_ADAPTER)
    adapter = load(directory)
    assert (adapter.framework, adapter.agent_name, adapter.invoke({})) == ("own", "my-agent", "graph:build")


@pytest.mark.parametrize(
    ("agent", "told"),
    [
        (
            "handler: service:hande",
            "agent.handler: 'service:hande': module service has no 'hande'; did",
        ),
        ("handler: servce:handle", "agent.handler: 'servce:handle': there is no module 'servce'"),
        (
            "handler: broken:handle",
            "agent.handler: 'broken:handle': importing broken failed: ValueError",
        ),
        ("handler: service:NUMBER", "agent.handler: 'service:NUMBER' is a int"),
        (
            "entrypoint: service:g, framework: langgrpah",
            "agent.framework: unknown framework 'langgrpah'; did",
        ),
        (
            "entrypoint: service:g, adapter: mine:Ownn",
            "agent.adapter: 'mine:Ownn': module mine has no",
        ),
        (
            "entrypoint: service:g, adapter: mine:not_one",
            "agent.adapter: what this names is no adapter: it has no framework, load, invoke",
        ),
    ],
)
def test_what_cannot_be_loaded(project: Project, agent: str, told: str) -> None:
    directory = project(
        agent, service=HANDLER + "NUMBER = 5\n", broken="raise ValueError('no luck')", mine=OWN_ADAPTER
    )
    with pytest.raises(DockfileError) as caught:
        load(directory)
    assert str(caught.value).startswith(f"{directory / 'Dockfile.yaml'}: {told}")


def test_the_cause_is_kept(project: Project) -> None:
    directory = project("handler: broken:handle", broken="raise ValueError('no luck')")
    with pytest.raises(DockfileError) as caught:
        load(directory)
    cause: Any = caught.value.__cause__
    assert isinstance(cause, LoadError)
    assert isinstance(cause.__cause__, ValueError)


def test_a_namesake_from_another_directory_is_not_run_in_its_place(project: Project) -> None:
    first = project("handler: app.service:handle", name="first", app__service=HANDLER)
    second = project("handler: app.service:handle", name="second", app__service=HANDLER)
    load(first)
    with pytest.raises(DockfileError) as caught:
        load(second)
    assert str(first / "app" / "service.py") in str(caught.value)
    assert str(second / "app" / "service.py") in str(caught.value)
    assert load(first).invoke(1) == {"echo": 1}


def test_a_reference_from_the_environment_is_shown_as_it_is_written(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_HANDLER", "c4n4ry:handle")
    directory = project("handler: '${AGENT_HANDLER}'", service=HANDLER)
    with pytest.raises(DockfileError) as caught:
        load(directory)
    assert str(caught.value).endswith("agent.handler: cannot be loaded, got '${AGENT_HANDLER}'")


def test_a_wrong_dockfile_is_not_loaded(tmp_path: Path) -> None:
    with pytest.raises(DockfileError, match="there is no such file"):
        load(tmp_path)


def test_one_made_in_memory(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(project("handler: unused:x", service=HANDLER))
    made = Dockfile.model_validate({"agent": {"name": "a", "handler": "service:handle"}})
    assert load(made).invoke(3) == {"echo": 3}


@pytest.mark.parametrize(
    "dockfile", sorted(EXAMPLES.glob("*/Dockfile.yaml")), ids=lambda path: path.parent.name
)
def test_the_examples_load(dockfile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", {"REDIS_URL": "redis://localhost"})
    checked = load_dockfile(dockfile)
    assert checked.warnings == ()
    assert load(checked).agent_name == checked.agent.name
