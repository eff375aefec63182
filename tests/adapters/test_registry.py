"""Which adapter serves which framework, and who may add one."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from importlib.util import find_spec
from typing import Any

import pytest

from dockrion_adapters import (
    Adapter,
    HandlerAdapter,
    MissingExtra,
    UnknownFramework,
    available_frameworks,
    get_adapter,
    register_adapter,
    registry,
)


class Own:
    framework = "own"
    agent_name = "own"

    def load(self, target: Any) -> None:
        self.target = target

    def invoke(self, payload: Any, *, config: Any = None, context: Any = None, **options: Any) -> Any:
        return payload


@pytest.fixture(autouse=True)
def _registered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registry, "_registered", {})


def entry_point(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Pretend that an installed package has an entry point of our group."""
    own = EntryPoint(name, value, registry.GROUP)
    installed = registry.entry_points

    def entry_points(*, group: str, name: str | None = None) -> list[EntryPoint]:
        named = {} if name is None else {"name": name}
        return [*installed(group=group, **named), *([own] if name in (None, own.name) else [])]

    monkeypatch.setattr(registry, "entry_points", entry_points)


def test_what_comes_with_the_package() -> None:
    assert {"handler", "langgraph"} <= set(available_frameworks())
    assert list(available_frameworks()) == sorted(available_frameworks())
    assert type(get_adapter("handler")) is HandlerAdapter


def test_each_call_gives_a_new_adapter() -> None:
    assert get_adapter("handler") is not get_adapter("handler")


def test_a_class_or_a_function_can_be_registered() -> None:
    register_adapter("own", Own)
    assert isinstance(get_adapter("own"), Own)
    assert isinstance(get_adapter("own"), Adapter)
    assert "own" in available_frameworks()
    made = Own()
    register_adapter("own", lambda: made)
    assert get_adapter("own") is made


def test_what_is_registered_replaces_what_is_installed() -> None:
    register_adapter("handler", Own)
    assert isinstance(get_adapter("handler"), Own)
    assert available_frameworks().count("handler") == 1


def test_a_package_can_bring_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(monkeypatch, "theirs", "dockrion_adapters.handler:HandlerAdapter")
    assert "theirs" in available_frameworks()
    assert type(get_adapter("theirs")) is HandlerAdapter


def test_a_framework_that_is_not_installed_names_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    entry_point(monkeypatch, "theirs", "a_framework_nobody_installed.adapter:Adapter")
    with pytest.raises(MissingExtra, match=r"pip install 'dockrion-sdk\[theirs\]'") as caught:
        get_adapter("theirs")
    assert "a_framework_nobody_installed" in str(caught.value)
    assert isinstance(caught.value, ImportError)


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("langraph", "did you mean 'langgraph'?; known: "),
        ("Handler", "did you mean 'handler'?"),
        ("zzz", "known: "),
    ],
)
def test_an_unknown_framework(name: str, hint: str) -> None:
    with pytest.raises(UnknownFramework) as caught:
        get_adapter(name)
    assert f"unknown framework {name!r}" in str(caught.value)
    assert hint in str(caught.value)
    assert "handler" in str(caught.value)
    assert isinstance(caught.value, LookupError)


@pytest.mark.skipif(find_spec("agentor") is not None, reason="agentor is installed")
def test_an_optional_framework_of_ours_names_its_extra() -> None:
    assert "agentor" in available_frameworks()
    with pytest.raises(
        MissingExtra, match=r"No module named 'agentor'.*pip install 'dockrion-sdk\[agentor\]'"
    ):
        get_adapter("agentor")
