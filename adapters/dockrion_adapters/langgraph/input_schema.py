"""The JSON Schema of a graph's input, in a form that people can read."""

from __future__ import annotations

import functools
import inspect
import json
from typing import Any, Final

from langgraph.channels.base import BaseChannel
from pydantic import BaseModel, TypeAdapter
from typing_extensions import get_type_hints, is_typeddict

from .surroundings import Graph

_MESSAGE_REDUCERS: Final = ("langgraph.graph.message", "langgraph.pregel._messages")
"""The modules of LangGraph's own reducers of messages."""

ROOT: Final = "__root__"
"""The name of the only channel of a state that has no fields."""

MESSAGES: Final[dict[str, Any]] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {"role": {"type": "string"}, "content": {"type": ["string", "array"]}},
    },
}
"""A list of messages, as LangChain takes them; its own schema of them has more than a thousand lines."""


def takes_messages(channel: BaseChannel[Any, Any, Any]) -> bool:
    """Whether what is written to a channel is converted to messages by LangGraph's reducer."""
    reducer = getattr(channel, "operator", None) or getattr(channel, "reducer", None)
    while isinstance(reducer, functools.partial):
        reducer = reducer.func
    module, name = getattr(reducer, "__module__", ""), getattr(reducer, "__name__", "")
    return module in _MESSAGE_REDUCERS and "messages" in name


def input_schema(graph: Graph) -> dict[str, Any] | None:
    """Return the JSON Schema of the graph's input; None if it says nothing.

    LangGraph holds no input against a ``TypedDict``, so its fields are not required here.
    """
    try:
        schema = graph.get_input_jsonschema()
    except Exception:  # noqa: BLE001 - what pydantic makes of types that it does not know is not our failure
        schema = _by_field(graph)
    builder = getattr(graph, "builder", None)
    if builder is not None and is_typeddict(builder.input_schema):
        schema = {key: value for key, value in schema.items() if key != "required"}
    definitions = schema.get("$defs") or {}
    if "$ref" in schema:  # a recursive model refers to itself
        schema = {**definitions.get(schema["$ref"].rpartition("/")[2], {}), **schema}
        del schema["$ref"]
    model = None if builder is None else builder.input_schema
    if inspect.isclass(model) and issubclass(model, BaseModel):
        schema = _by_name(model, schema)
    channels = {} if builder is None else builder.channels
    properties: dict[str, Any] = schema.get("properties") or {}
    for name, field in properties.items():
        channel = channels.get(name)
        if (channel is not None and takes_messages(channel)) or _lists_messages(field):
            properties[name] = {**_about(field), **MESSAGES}
    if ROOT in channels and takes_messages(channels[ROOT]):  # one message will do, or its text
        schema = {**_about(schema), "anyOf": [MESSAGES, MESSAGES["items"], {"type": "string"}]}
    elif _lists_messages(schema):
        schema = {**_about(schema), **MESSAGES}
    return _pruned(schema) or None


def _by_name(model: type[BaseModel], schema: dict[str, Any]) -> dict[str, Any]:
    """Return a model's schema with its fields by their names: LangGraph's channels have no aliases."""
    names = {
        alias: name
        for name, field in model.model_fields.items()
        if isinstance(alias := field.validation_alias or field.alias, str)
    }
    if not names:
        return schema
    properties = {names.get(name, name): field for name, field in (schema.get("properties") or {}).items()}
    required = [names.get(name, name) for name in schema.get("required") or ()]
    return {**schema, "properties": properties, **({"required": required} if required else {})}


def _by_field(graph: Graph) -> dict[str, Any]:
    """Return a schema that says as much as pydantic knows of each field by itself."""
    builder = getattr(graph, "builder", None)
    if builder is None:
        return _of_function(graph)
    properties: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for name in builder.schemas[builder.input_schema]:
        channel = builder.channels.get(name)
        if channel is None:
            continue
        try:
            field = TypeAdapter(channel.UpdateType).json_schema()
        except Exception:  # noqa: BLE001 - see above
            field = {}
        definitions.update(field.pop("$defs", {}))
        properties[name] = {"title": name.replace("_", " ").title(), **field}
    title = getattr(builder.input_schema, "__name__", graph.name)
    return {"type": "object", "title": title, "properties": properties, "$defs": definitions}


def _of_function(graph: Graph) -> dict[str, Any]:
    """Return a schema of the first parameter of an entrypoint's function.

    If the function's module has annotations that are text, LangGraph keeps the text.
    """
    for node in graph.nodes.values():
        function: Any = getattr(node.bound, "func", None) or getattr(node.bound, "afunc", None)
        try:
            hints = get_type_hints(function)
            return TypeAdapter(hints[next(iter(inspect.signature(function).parameters))]).json_schema()
        except Exception:  # noqa: BLE001 - see above
            continue
    return {}


def _about(schema: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in schema.items() if key in ("title", "description")}


def _lists_messages(schema: Any) -> bool:
    if not isinstance(schema, dict) or schema.get("type") != "array":
        return False
    text = json.dumps(schema.get("items", {}), default=str)
    return '"#/$defs/HumanMessage"' in text or '"#/$defs/BaseMessage"' in text


def _pruned(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema with those of its definitions that it still refers to."""
    rest = {key: value for key, value in schema.items() if key != "$defs"}
    definitions: dict[str, Any] = schema.get("$defs") or {}
    kept: dict[str, Any] = {}
    text = json.dumps(rest, default=str)
    while found := [name for name in definitions if name not in kept and f'"#/$defs/{name}"' in text]:
        kept.update({name: definitions[name] for name in found})
        text = json.dumps([definitions[name] for name in found], default=str)
    return {**rest, "$defs": kept} if kept else rest
