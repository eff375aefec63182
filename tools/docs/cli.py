"""docs/cli.md: the `dockrion` command, from its own definition."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, get_args

import typer
from typer.models import ArgumentInfo, OptionInfo
from typer.utils import get_params_from_function

from dockrion_runtime.cli import app

from .markdown import fence, filled, prose, table

FILE = "cli.md"
KINDS = {"str": "TEXT", "int": "N", "float": "N", "Path": "PATH"}


def page() -> str:
    """Return the page's text."""
    return filled(FILE, "the command", commands="".join(_sections(app, "dockrion")))


def _sections(group: typer.Typer, name: str) -> Iterator[str]:
    for command in group.registered_commands:
        if command.callback is not None:
            yield from _section(command.callback, f"{name} {command.name}")
    for inner in group.registered_groups:
        assert inner.typer_instance is not None
        yield from _sections(inner.typer_instance, f"{name} {inner.name}")


def _section(callback: Callable[..., Any], name: str) -> Iterator[str]:
    arguments, options = [], []
    for parameter in get_params_from_function(callback).values():
        info = parameter.default
        if isinstance(info, ArgumentInfo):
            shown = info.metavar or parameter.name.upper()
            word = shown if info.default is ... else f"[{shown}]"
            arguments.append((word, info.help or "", _default(info)))
        elif isinstance(info, OptionInfo):
            option = _option(parameter.name, _kind(parameter.annotation), info)
            named = f" Or in `{info.envvar}`." if info.envvar else ""
            options.append((option, f"{info.help}{named}", _default(info)))
    yield f"## {name}\n\n"
    words = [word for word, _, _ in arguments]
    yield fence(" ".join([name, *words, *(["[OPTIONS]"] if options else [])]))
    yield prose(inspect.getdoc(callback) or "")
    rows = [*arguments, *options]
    yield table(("", "meaning", "default"), ((f"`{shown}`", text, default) for shown, text, default in rows))


def _kind(annotation: Any) -> Any:
    inner = [item for item in get_args(annotation) if item is not type(None)]
    return inner[0] if inner else annotation


def _option(name: str, kind: Any, info: OptionInfo) -> str:
    names = info.param_decls or (f"--{name.replace('_', '-')}",)
    spelled = ", ".join(names)
    if kind is bool:
        return spelled
    if info.metavar:
        return f"{spelled} {info.metavar}"
    if issubclass(kind, Enum):
        return f"{spelled} {'|'.join(str(member.value) for member in kind)}"
    return f"{spelled} {KINDS[kind.__name__]}"


def _default(info: ArgumentInfo | OptionInfo) -> str:
    value = info.default
    if value is ...:
        return "required"
    if value is None or value is False:
        return ""
    if value is True:
        return f"`{(info.param_decls or ('',))[0].partition('/')[0]}`"
    return f"`{value}`"
