"""What a graph takes as its input: described, checked before an execution, and said as a message."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple, TypeAlias

from langchain_core.messages import RemoveMessage, convert_to_messages
from langgraph.channels import BinaryOperatorAggregate
from langgraph.channels.base import BaseChannel
from langgraph.constants import START
from langgraph.types import Command, StateSnapshot
from pydantic import BaseModel, ValidationError

from ..errors import InputRefused
from .input_schema import ROOT, input_schema, takes_messages
from .runtime_context import missing_fields
from .surroundings import Graph

_REFUSALS: Final = (ValueError, TypeError, NotImplementedError, KeyError)
"""What reducers and schemas raise for values that they do not take."""

_MISSING: Any = dataclasses.MISSING


class Input(NamedTuple):
    """What a graph takes: the channels that an input is written to, and those that it has to name.

    ``channels`` are by name. A graph whose input is a single value that LangGraph passes on as it is (an
    ``@entrypoint``) has none of its own here.
    """

    channels: Mapping[str, BaseChannel[Any, Any, Any]]
    required: Sequence[str]


def input_of(graph: Graph) -> Input | None:
    """Return what the graph takes; None if it takes anything."""
    builder = getattr(graph, "builder", None)
    if builder is None:
        names = graph.input_channels
        if isinstance(names, str):
            return None
        return Input({name: graph.channels[name] for name in names}, names)  # type: ignore[misc]
    schema = builder.input_schema
    names = [name for name in builder.schemas[schema] if name in builder.channels]
    return Input({name: builder.channels[name] for name in names}, missing_fields(schema))


# -- before an execution -----------------------------------------------------------------------------

State: TypeAlias = Callable[[], Awaitable[StateSnapshot | None]]
"""Reads what the thread of an execution holds; None if that is nothing."""


class InputCheck:
    """Says what a graph would refuse, or not notice.

    The payload is written to copies of the channels, and made into the classes that the first nodes read.
    """

    def __init__(self, graph: Graph) -> None:
        builder = getattr(graph, "builder", None)
        self._taken = input_of(graph)
        self._channels: Mapping[str, Any] = graph.channels if builder is None else builder.channels
        self._schemas = [] if builder is None else [_Schema(one, builder) for one in _entry_schemas(builder)]
        self._is_root = self._taken is not None and list(self._taken.channels) == [ROOT]

    async def check(self, payload: Any, state: State) -> None:
        """Raise `InputRefused` if the graph would not take ``payload``.

        What the thread holds already counts as given. An input that says nothing is refused if the thread
        waits for an answer, which it would drop; so is an answer in the form of LangGraph's server, which a
        graph that takes anything would take for its input. ``state`` is only called if it matters.
        """
        taken = self._taken
        if payload is None or _is_state_or_command(payload):
            return
        if taken is None:
            if isinstance(payload, dict) and payload.keys() <= {"command"}:
                await _refuse_if_waiting(state, "the thread waits for an answer, which this input would drop")
            return
        if self._is_root:
            payload = {ROOT: payload}
        elif not isinstance(payload, dict):
            raise InputRefused("$", f"the graph takes an object with {_named(taken.channels)}")
        given = {name: payload[name] for name in taken.channels if name in payload}
        if not given:
            _refuse_unnoticed(taken, payload)
            waits = f"it says nothing, and the thread waits for an answer; {_choices(taken)}"
            await _refuse_if_waiting(state, waits)
        try:
            self._write(given, {})
        except InputRefused:
            snapshot = await state()
            if snapshot is None:
                raise
            values = snapshot.values
            self._write(given, values if isinstance(values, dict) else {ROOT: values})

    def _write(self, given: Mapping[str, Any], stored: Mapping[str, Any]) -> None:
        channels = self._channels
        wanted = bool(self._schemas)
        written = {
            name: _written(name, channels[name], value, stored, wanted) for name, value in given.items()
        }
        for schema in self._schemas:
            schema.check({**schema.initial(channels), **stored, **written})


def _is_state_or_command(payload: Any) -> bool:
    """Whether it is no JSON value: LangGraph's own objects, or an instance of the state's class."""
    if isinstance(payload, list | tuple):
        return any(isinstance(item, Command) for item in payload)
    return not isinstance(payload, dict | str | int | float | bool)


async def _refuse_if_waiting(state: State, message: str) -> None:
    snapshot = await state()
    if snapshot is not None and snapshot.next:
        raise InputRefused("$", message)


def _refuse_unnoticed(taken: Input, payload: dict[str, Any]) -> None:
    if payload:
        unknown = ", ".join(map(repr, list(payload)[:5]))
        raise InputRefused(
            "$", f"none of its fields ({unknown:.200}) is an input of the graph; {_choices(taken)}"
        )
    if taken.required:
        raise InputRefused("$", f"it says nothing; {_choices(taken)}")


def _choices(taken: Input) -> str:
    return f"the graph takes {_named(taken.channels)}"


def _named(names: Mapping[str, Any]) -> str:
    return ", ".join(names) or "nothing"


def _entry_schemas(builder: Any) -> list[Any]:
    """Return the classes of which instances are made for the nodes and branches that come first."""
    ends = [end for start, end in builder.edges if start == START and end in builder.nodes]
    schemas = [
        *(builder.nodes[end].input_schema for end in ends),
        *(branch.input_schema or builder.state_schema for branch in builder.branches.get(START, {}).values()),
    ]
    kept = []
    for schema in schemas:
        makes = inspect.isclass(schema) and (
            issubclass(schema, BaseModel) or dataclasses.is_dataclass(schema)
        )
        if makes and schema not in kept and list(builder.schemas[schema]) != [ROOT]:
            kept.append(schema)
    return kept


class _Schema:
    """A class of which LangGraph makes an instance for a node."""

    def __init__(self, schema: Any, builder: Any) -> None:
        names = list(builder.schemas[schema])
        self._schema = schema
        self._fields = [name for name in names if name in builder.channels]
        self._managed = set(names) - set(self._fields)  # LangGraph gives these itself

    def initial(self, channels: Mapping[str, Any]) -> dict[str, Any]:
        """Return what the fields hold before the first write."""
        copies = {name: channels[name].copy() for name in self._fields}
        return {name: copy.get() for name, copy in copies.items() if copy.is_available()}

    def check(self, values: Mapping[str, Any]) -> None:
        """Make an instance of what is there. Raises `InputRefused`."""
        given = {name: values[name] for name in self._fields if name in values}
        if dataclasses.is_dataclass(self._schema):
            missing = [name for name in missing_fields(self._schema) if name not in given]
            missing = [name for name in missing if name not in self._managed]
            if missing:
                raise InputRefused(missing[0], "it is required by the graph's state")
            return
        try:
            self._schema(**given)
        except ValidationError as error:
            faults = [
                fault for fault in error.errors() if fault["loc"][:1] not in {(m,) for m in self._managed}
            ]
            if faults:
                path = ".".join(map(str, faults[0]["loc"])) or "$"
                raise InputRefused(path, _words(faults[0])) from error


def _written(
    name: str, channel: BaseChannel[Any, Any, Any], value: Any, stored: Mapping[str, Any], wanted: bool
) -> Any:
    """Return what a channel holds after ``value`` was written to it, if that is ``wanted``.

    Raises `InputRefused`.
    """
    if takes_messages(channel) and not _overwrites(value):
        messages = _messages(name, value)
        if not wanted and not any(isinstance(message, RemoveMessage) for message in messages):
            return None  # LangGraph's reducer takes all that can be converted
    if not isinstance(channel, BinaryOperatorAggregate):
        return value
    held = stored.get(name, _MISSING)
    # An instance of its own: a reducer may change what the channel holds in place.
    copy = BinaryOperatorAggregate(channel.typ, channel.operator)
    if held is not _MISSING:
        copy = copy.from_checkpoint(held)
    try:
        copy.update([value])
        return copy.get()
    except _REFUSALS as error:
        raise InputRefused(_path(name), _told(error)) from error


def _overwrites(value: Any) -> bool:
    """Whether it is LangGraph's JSON form of `Overwrite`."""
    return isinstance(value, dict) and ("__overwrite__" in value or value.get("type") == "__overwrite__")


def _messages(name: str, value: Any) -> Sequence[Any]:
    """Convert messages as LangGraph does; one by one to say which of them is refused."""
    many = isinstance(value, list)
    items = value if many else [value]
    try:
        return convert_to_messages(items)
    except _REFUSALS:
        pass
    for place, message in enumerate(items):
        try:
            convert_to_messages([message])
        except _REFUSALS as error:
            path = f"{_path(name)}.{place}" if many else _path(name)
            raise InputRefused(path, _told(error)) from error
    return []


def _path(name: str) -> str:
    return "$" if name == ROOT else name


def _words(fault: Any) -> str:
    """Return a fault's message, without what pydantic puts before a validator's own words."""
    message: str = fault["msg"]
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _told(error: Exception) -> str:
    """Return the first line of an error's own words, without the links that follow."""
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        return f"{'.'.join(map(str, fault['loc']))}: {_words(fault)}"
    if isinstance(error, KeyError):
        return f"{error} is missing"
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]


# -- a message of a chat -----------------------------------------------------------------------------


def chat_input(graph: Graph, message: str) -> Any:
    """Return the input that says ``message``; None if the graph takes no such thing.

    That is a list of messages, as the field ``messages`` or as the whole, else a text: the whole, the one
    required text, or the only one.
    """
    said = [{"role": "user", "content": message}]
    taken = input_of(graph)
    schema = input_schema(graph) or {}
    properties: dict[str, Any] = schema.get("properties") or {}
    if taken is not None and ROOT in taken.channels and takes_messages(taken.channels[ROOT]):
        return said
    if taken is not None and "messages" in taken.channels:
        if takes_messages(taken.channels["messages"]) or _may_hold_messages(properties.get("messages", {})):
            return {"messages": said}
    elif taken is None and _may_hold_messages(properties.get("messages")):
        return {"messages": said}
    if schema.get("type") == "array" and _may_hold_messages(schema):
        return said
    if schema.get("type") == "string":
        return message
    required = taken.required if taken is not None else schema.get("required") or ()
    texts = [name for name, field in properties.items() if field.get("type") == "string"]
    for names in ([name for name in texts if name in required], texts):
        if len(names) == 1:
            return {names[0]: message}
    return None


def _may_hold_messages(schema: Any) -> bool:
    """Whether a JSON Schema allows a list of objects."""
    if not isinstance(schema, dict):
        return False
    if "anyOf" in schema:
        return any(map(_may_hold_messages, schema["anyOf"]))
    items = schema.get("items", {})
    kind = items.get("type", "object") if isinstance(items, dict) else "object"
    return schema.get("type", "array") == "array" and kind == "object" and "enum" not in schema
