"""What a callable takes, and whether it is asynchronous, as far as one can see."""

from __future__ import annotations

import functools
import inspect
import re
import typing
from collections.abc import Callable, Collection
from typing import Any, Final

from dockrion_events import StreamContext

from .errors import LoadError


def is_asynchronous(handler: Callable[..., Any]) -> bool:
    """Say whether calling it gives a coroutine or an async generator, as far as one can see."""
    while isinstance(handler, functools.partial):
        handler = handler.func
    call = handler if inspect.isroutine(handler) else type(handler).__call__
    return inspect.iscoroutinefunction(call) or inspect.isasyncgenfunction(call)


def context_parameter(handler: Callable[..., Any], shown: str, *, filled: Collection[str] = ()) -> str | None:
    """Return the name of the parameter that takes the context, by name or by annotation.

    Raises `LoadError` where it cannot be called with a payload, the context and what is ``filled`` besides.
    """
    try:
        parameters = dict(inspect.signature(handler).parameters)
    except (TypeError, ValueError):  # a builtin without a signature takes the payload alone
        return None
    hints = _hints(handler)
    named = None
    for name, parameter in parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if name == "context" or _means_context(hints.get(name, parameter.annotation)):
            if parameter.kind is parameter.POSITIONAL_ONLY:
                raise LoadError(f"{shown} takes {name} by position only; it is handed over by its name")
            named = name
            break
    rest = [parameter for name, parameter in parameters.items() if name != named and name not in filled]
    takes = [p for p in rest if p.kind not in (p.KEYWORD_ONLY, p.VAR_KEYWORD)]
    needed = [
        p.name for p in rest[1:] if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]
    if not takes or needed or (named is not None and next(iter(parameters)) == named):
        more = f"; nothing would fill {', '.join(needed)}" if needed else ""
        raise LoadError(f"{shown} has to take the payload first, as in handle(payload, context=None){more}")
    return named


_JSON_TYPES: Final = {str: "string", int: "integer", float: "number", bool: "boolean", list: "array"}


def payload_schema(handler: Callable[..., Any]) -> dict[str, Any] | None:
    """Return the JSON Schema of a callable's first parameter if its annotation is no object, else None."""
    try:
        name = next(iter(inspect.signature(handler).parameters))
    except (TypeError, ValueError, StopIteration):
        return None
    hint = _hints(handler).get(name)
    kind = _JSON_TYPES.get(typing.get_origin(hint) or hint)  # type: ignore[arg-type]
    return None if kind is None else {"type": kind}


def _hints(handler: Callable[..., Any]) -> dict[str, Any]:
    while isinstance(handler, functools.partial):
        handler = handler.func
    try:
        return typing.get_type_hints(handler if inspect.isroutine(handler) else type(handler).__call__)
    except Exception:  # noqa: BLE001 - hints that do not resolve here leave the plain annotations
        return {}


def _means_context(annotation: Any) -> bool:
    if annotation is StreamContext or StreamContext in typing.get_args(annotation):
        return True
    return isinstance(annotation, str) and re.search(r"\bStreamContext\b", annotation) is not None


def accepts(function: Callable[..., Any], name: str) -> bool:
    """Say whether a function has a parameter of this name."""
    try:
        return name in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
