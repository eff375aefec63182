"""The context of an execution whose caller gives none: what LangGraph's server would give."""

from __future__ import annotations

import dataclasses
import functools
import inspect
from collections.abc import Mapping
from typing import Any, NotRequired, get_origin

from langgraph.runtime import Runtime
from pydantic import BaseModel
from typing_extensions import get_type_hints, is_typeddict

from ..errors import InputRefused
from .surroundings import RUNTIME_KEY, Graph


def missing_fields(schema: Any) -> list[str]:
    """Return the fields that a context of this schema must be given."""
    if not inspect.isclass(schema):
        return []
    if issubclass(schema, BaseModel):
        return [name for name, field in schema.model_fields.items() if field.is_required()]
    if dataclasses.is_dataclass(schema):
        missing = dataclasses.MISSING
        fields = dataclasses.fields(schema)
        return [f.name for f in fields if f.init and f.default is missing and f.default_factory is missing]
    if is_typeddict(schema):
        typed: Any = schema
        return _required_keys(typed)
    return []


@functools.lru_cache(maxsize=256)
def _required_keys(schema: Any) -> list[str]:
    required = [name for name in schema.__annotations__ if name in schema.__required_keys__]
    try:
        hints = get_type_hints(schema, include_extras=True)
    except Exception:  # noqa: BLE001 - names that do not resolve here
        return required
    # Annotations that are text are all taken for required when the class is made.
    return [name for name in required if get_origin(hints.get(name)) is not NotRequired]


def context_fault(schema: Any) -> str | None:
    """Return why no context can be made of the schema's defaults; None if one can, or none is needed."""
    missing = missing_fields(schema)
    if missing:
        return needs_context(missing)
    if not _is_made(schema):
        return None
    try:
        schema()
    except Exception as error:  # noqa: BLE001 - the schema's own code
        return f"the graph's context_schema cannot be made of its defaults: {type(error).__name__}: {error}"
    return None


def default_context(graph: Graph, around: Mapping[str, Any]) -> Any:
    """Return the context to give to LangGraph: an instance of the graph's schema, or an empty ``TypedDict``.

    None if the graph has no schema, if it runs in the node of a graph that has a context, or if the schema
    cannot be made without values: a graph may do without a context that it declares.
    """
    schema = graph.context_schema
    if not inspect.isclass(schema) or _has_context(around):
        return None
    if is_typeddict(schema):
        return {}
    if not _is_made(schema) or missing_fields(schema):
        return None
    try:
        return schema()
    except Exception:  # noqa: BLE001 - the schema's own code; `context_fault` says so at the start
        return None


def _is_made(schema: Any) -> bool:
    """Whether LangGraph makes an instance of the schema."""
    return inspect.isclass(schema) and (issubclass(schema, BaseModel) or dataclasses.is_dataclass(schema))


def with_empty_context(graph: Graph, around: Mapping[str, Any]) -> Runtime[Any] | None:
    """Return the runtime to begin with if the context is an empty dict; None if it is not.

    LangGraph takes an empty dict for no context, except in the runtime that it finds.
    """
    if not is_typeddict(graph.context_schema):
        return None
    found = around.get(RUNTIME_KEY)
    empty: Any = {}
    if isinstance(found, Runtime):
        return found.override(context=empty)
    return Runtime(context=empty, store=graph.store if found is None else found.store)


def _has_context(around: Mapping[str, Any]) -> bool:
    surrounding = around.get(RUNTIME_KEY)
    return isinstance(surrounding, Runtime) and surrounding.context is not None


def context_refusal(graph: Graph, error: BaseException) -> InputRefused | None:
    """Return what to say if an execution failed because a field of the context is missing, else None."""
    missing = missing_fields(graph.context_schema)
    name: Any = None
    if isinstance(error, AttributeError) and error.obj is None:
        name = error.name
    elif isinstance(error, KeyError) and error.args and is_typeddict(graph.context_schema):
        name = error.args[0]
    if name not in missing:
        return None
    return InputRefused(f"context.{name}", f"{needs_context(missing)}, and no request gives it one")


def needs_context(missing: list[str]) -> str:
    """Return the words for a context schema with required fields."""
    return f"the graph's context_schema requires {', '.join(missing)}"
