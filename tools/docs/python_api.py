"""docs/python-api.md: the public names of the packages, from their docstrings."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterator
from typing import Any, is_typeddict

import msgspec

from .markdown import fence, filled, prose, table

FILE = "python-api.md"
PACKAGES = ("dockrion_events", "dockrion_adapters", "dockrion_sdk", "dockrion_runtime")
MORE = {"dockrion_sdk": ("dockrion_sdk.client",)}
"""Packages within, whose own public names stand with those of the package around them."""


def page() -> str:
    """Return the page's text."""
    parts = []
    for package in PACKAGES:
        module = importlib.import_module(package)
        parts.append(f"## {package}\n\n{prose(inspect.getdoc(module) or '')}")
        for name, value in public_names(package):
            parts += _entry(name, value)
    return filled(FILE, "the docstrings", names="".join(parts))


def public_names(package: str) -> Iterator[tuple[str, Any]]:
    """Yield what a package exports, and what the packages within it do besides."""
    seen = set()
    for place in (package, *MORE.get(package, ())):
        module = importlib.import_module(place)
        for name in sorted(module.__all__, key=str.lower):
            if name not in seen:
                seen.add(name)
                yield name, getattr(module, name)


def _entry(name: str, value: Any) -> Iterator[str]:
    yield f"### {name}\n\n"
    if inspect.isclass(value):
        yield from _class(name, value)
    elif inspect.isfunction(value):
        yield _signature(name, value)
        yield prose(inspect.getdoc(value) or "")
    else:
        yield from _constant(value)


def _class(name: str, value: type) -> Iterator[str]:
    bases = [base.__name__ for base in value.__bases__ if base.__module__.startswith("dockrion")]
    if issubclass(value, msgspec.Struct):
        yield prose(inspect.getdoc(value) or "")
        own = [field for field in msgspec.structs.fields(value) if not _inherited(value, field.name)]
        if own:
            rows = ((f"`{field.name}`", f"`{_bare(value.__annotations__[field.name])}`") for field in own)
            yield table(("field", "type"), rows)
    elif is_typeddict(value):
        yield prose(_own_doc(value))
        rows = ((f"`{key}`", f"`{_bare(kind)}`") for key, kind in value.__annotations__.items())
        yield table(("key", "type"), rows)
    elif (
        issubclass(value, BaseException)
        or getattr(value, "_is_protocol", False)
        or hasattr(value, "model_fields")
    ):
        yield fence(f"class {name}({', '.join(bases)})" if bases else f"class {name}")
        yield prose(_own_doc(value))
    else:
        yield _signature(name, value)
        yield prose(_own_doc(value))
    for method_name, method in vars(value).items():
        if method_name.startswith("_"):
            continue
        function = method.__func__ if isinstance(method, classmethod | staticmethod) else method
        if isinstance(function, property):
            yield f"`{name}.{method_name}`: {prose(inspect.getdoc(function) or '')}"
        elif inspect.isfunction(function):
            yield _signature(f"{name}.{method_name}", function, method=not isinstance(method, staticmethod))
            yield prose(inspect.getdoc(function) or "")


def _constant(value: Any) -> Iterator[str]:
    if isinstance(value, str | int | tuple | frozenset | dict):
        shown = sorted(value) if isinstance(value, frozenset) else value
        yield fence(_bounded(shown))
    else:  # an alias of types
        yield fence(str(value).replace("dockrion_events.events.", ""))


def _bounded(value: Any) -> str:
    if isinstance(value, dict):
        return "\n".join(["{", *(f"    {key!r}: {_short(item)}," for key, item in value.items()), "}"])
    return repr(value)


def _short(value: Any) -> str:
    return value.__name__ if inspect.isclass(value) else repr(value)


def _own_doc(value: type) -> str:
    return inspect.cleandoc(value.__doc__ or "")


def _inherited(value: type, name: str) -> bool:
    return name not in inspect.get_annotations(value)


class _Bare:
    """An annotation that shows itself without quotes."""

    def __init__(self, text: Any) -> None:
        self._text = _bare(text)

    def __repr__(self) -> str:
        return self._text


def _bare(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else inspect.formatannotation(annotation)


def _signature(name: str, value: Any, *, method: bool = False) -> str:
    signature = inspect.signature(value)
    parameters = [
        parameter.replace(
            annotation=parameter.empty
            if parameter.annotation is parameter.empty
            else _Bare(parameter.annotation)
        )
        for parameter in signature.parameters.values()
    ]
    unsaid = inspect.isclass(value) or signature.return_annotation is signature.empty
    returned = signature.empty if unsaid else _Bare(signature.return_annotation)
    parameters = parameters[1:] if method else parameters
    text = str(signature.replace(parameters=parameters, return_annotation=returned))
    prefix = "async " if inspect.iscoroutinefunction(value) else ""
    return fence(_folded(f"{prefix}{name}{text}", parameters))


def _folded(text: str, parameters: list[inspect.Parameter]) -> str:
    """Put each parameter on a line of its own where one line is too long."""
    if len(text) <= 110:
        return text
    head, _, _ = text.partition("(")
    tail = text[text.rindex(")") :]
    lines, keyword_only = [], False
    for parameter in parameters:
        if parameter.kind is parameter.KEYWORD_ONLY and not keyword_only:
            keyword_only = True
            if not any(other.kind is other.VAR_POSITIONAL for other in parameters):
                lines.append("    *,")
        lines.append(f"    {parameter},")
    return "\n".join([f"{head}(", *lines, tail])
