"""docs/dockfile.md: the keys of Dockfile.yaml, from its models."""

from __future__ import annotations

import re
from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from dockrion_runtime.cli.spelling import flow
from dockrion_sdk import Dockfile
from dockrion_sdk.dockfile.fields import Shown
from dockrion_sdk.dockfile.section import Section

from .markdown import fence, filled, prose, table

FILE = "dockfile.md"


def page() -> str:
    """Return the page's text."""
    return filled(FILE, "the models", keys="".join(_section(Dockfile, "")))


def _section(model: type[Section], place: str) -> Iterator[str]:
    yield f"## {place or 'The file'}\n\n"
    if place:
        yield prose(_about(model))
    keys = {name: field for name, field in model.model_fields.items() if section_of(field) is None}
    if keys:
        yield table(
            ("key", "type", "default", "meaning"),
            (
                (f"`{name}`", _type(field), _default(field), field.description or "")
                for name, field in keys.items()
            ),
        )
    if place:
        for example in examples(model):
            yield fence(example_text(place, example), "yaml tested=tests/docs/test_generated.py")
    for name, field in model.model_fields.items():
        inner = section_of(field)
        if inner is not None:
            yield from _section(inner, f"{place}.{name}".lstrip("."))


def _about(model: type[Section]) -> str:
    """Return a section's docstring without the name that it begins with."""
    text = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    _, colon, rest = text.partition(": ")
    about = rest if colon and text.startswith("`") else text
    return about[:1].upper() + about[1:]


def section_of(field: FieldInfo) -> type[Section] | None:
    """Return the section that a field holds, alone or in a list; None for a plain value."""
    for kind in (field.annotation, *get_args(field.annotation)):
        if isinstance(kind, type) and issubclass(kind, Section):
            return kind
    return None


def examples(model: type[Section]) -> list[dict[str, Any]]:
    """Return values of a section's own keys: all of them, or one mapping for each way to choose."""
    values = {
        name: field.examples[0] if field.examples else field.get_default(call_default_factory=True)
        for name, field in model.model_fields.items()
        if section_of(field) is None
    }
    values = {name: value for name, value in values.items() if value is not None}
    if "handler" in values and "entrypoint" in values:
        graph = {name: value for name, value in values.items() if name not in ("handler", "adapter")}
        own = {name: value for name, value in graph.items() if name != "framework"}
        function = {name: values[name] for name in ("name", "description", "handler")}
        return [function, graph, {**own, "adapter": values["adapter"]}]
    if "handler" in values:
        return [{**values, "type": "custom"}]
    return [values]


def example_text(place: str, values: dict[str, Any]) -> str:
    """Write an example of the section at ``place`` as YAML."""
    *around, last = place.split(".")
    lines = [f"{'  ' * depth}{name}:" for depth, name in enumerate(around)]
    indent = "  " * len(around)
    if last in ("required", "optional"):
        return "\n".join([*lines, f"{indent}{last}:", f"{indent}  - {flow(values)}"])
    lines.append(f"{indent}{last}:")
    lines += [f"{indent}  {name}: {_spelled(value)}" for name, value in values.items()]
    return "\n".join(lines)


def _spelled(value: Any) -> str:
    """Write a value as people do: a reference needs no quotes."""
    return value if isinstance(value, str) and re.fullmatch(r"[\w.]+:\w+", value) else flow(value)


def _type(field: FieldInfo) -> str:
    shown = next((item.text for item in field.metadata if isinstance(item, Shown)), None)
    return shown or _kind(field.annotation)


def _kind(annotation: Any) -> str:
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if origin is Annotated:
        shown = next((item.text for item in arguments[1:] if isinstance(item, Shown)), None)
        return shown or _kind(arguments[0])
    if origin is Literal:
        return ", ".join(f"`{value}`" for value in arguments)
    if origin in (Union, UnionType):
        return " or ".join(_kind(item) for item in arguments if item is not NoneType)
    if origin is tuple:
        return f"list of {_kind(arguments[0])}"
    return {bool: "`true`, `false`", str: "text"}[annotation]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default()
    assert value is not PydanticUndefined
    if value is None or value == "" or value == ():
        return ""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, tuple) and len(value) == 1:
        value = value[0]
    return f"`{flow(value)}`"
