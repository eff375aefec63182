"""The components of the document: events, answers, and the agent's own schemas."""

from __future__ import annotations

from collections.abc import Iterable
from inspect import cleandoc
from typing import Any, Final

import msgspec

from dockrion_adapters import AgentGraph
from dockrion_events import EVENT_CLASSES
from dockrion_events.events import CONFIGURABLE, CUSTOM_NAME, CUSTOM_PREFIX, CustomEvent, Event
from dockrion_sdk import Dockfile
from dockrion_sdk.json_schema import Schema

from ..answers import (
    AcceptedRun,
    CancelledRun,
    Health,
    Info,
    Invocation,
    ProblemDocument,
    Ready,
    Run,
    RunPage,
    RunTicket,
    Schemas,
    SocketTicket,
)

COMPONENTS: Final = "#/components/schemas/"

ANSWERS: Final = (
    Invocation, AcceptedRun, Run, RunPage, CancelledRun, RunTicket, SocketTicket,
    Health, Ready, Info, Schemas, AgentGraph, ProblemDocument,
)  # fmt: skip

OF_RUNS_ONLY: Final = frozenset({"restarted", "gap"})
UNNUMBERED: Final = frozenset({"heartbeat", "gap"})
_IDENTIFIERS: Final = ("request_id", "run_id")


def components(dockfile: Dockfile, payload: dict[str, Any] | None) -> dict[str, Any]:
    """Return the document's schemas by their names; ``payload`` is the agent's input schema."""
    found = {**_of_structs(ANSWERS), **event_schemas()}
    if dockfile.io_schema.output is not None:
        found["Output"] = _rooted(dockfile.io_schema.output, "Output")
        for name in ("Invocation", "Run", "CompleteEvent"):
            found[name]["properties"]["output"] = {"$ref": COMPONENTS + "Output"}
    return {
        **found,
        "StreamEvent": _any_of(name for name in EVENT_CLASSES if name not in OF_RUNS_ONLY),
        "RunEvent": _any_of(EVENT_CLASSES),
        "StreamFrame": _frame("StreamEvent"),
        "RunFrame": _frame("RunEvent"),
        "Payload": _payload(payload),
    }


def event_schemas() -> dict[str, Any]:
    """Return the schema of each event, made of its struct, by the name of the struct."""
    classes: dict[str, type[Event]] = {**EVENT_CLASSES, "custom": CustomEvent}
    found = _of_structs(classes.values())
    return {cls.__name__: _event(name, found[cls.__name__]) for name, cls in classes.items()}


def _of_structs(structs: Iterable[type]) -> dict[str, Any]:
    _, found = msgspec.json.schema_components(structs, ref_template=COMPONENTS + "{name}")
    for schema in found.values():
        if "description" in schema:
            schema["description"] = cleandoc(schema["description"]).replace("``", "`")
    return found


def _event(name: str, schema: dict[str, Any]) -> dict[str, Any]:
    """Say what the struct does not: what is always there once an event has left the execution."""
    properties = {key: _never_null(value) for key, value in schema["properties"].items()}
    required = [*schema["required"], "timestamp"]
    properties["timestamp"] = {**properties["timestamp"], "format": "date-time"}
    if name in UNNUMBERED:
        del properties["sequence"]
    else:
        properties["sequence"] = {"type": "integer", "minimum": 1}
        if name != "error":  # one that tells a follower that its run is gone has none
            required.append("sequence")
    if name == "custom":
        properties["type"] = {"type": "string", "pattern": f"^{CUSTOM_PREFIX}{CUSTOM_NAME.pattern}$"}
    sent = "Configurable: sent where the filter allows it." if name in CONFIGURABLE else "Mandatory."
    return {
        **schema,
        "description": f"{schema['description']}\n\n{sent}",
        "properties": properties,
        "required": required,
        "oneOf": [{"required": [identifier]} for identifier in _IDENTIFIERS],
    }


def _never_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return a field's schema without the null that stands for its absence: events leave it out."""
    options = [option for option in schema.get("anyOf", ()) if option != {"type": "null"}]
    kept = {key: value for key, value in schema.items() if key not in ("anyOf", "default")}
    if not options:
        return kept
    return {**kept, **(options[0] if len(options) == 1 else {"anyOf": options})}


def _any_of(names: Iterable[str]) -> dict[str, Any]:
    classes: list[type[Event]] = [*(EVENT_CLASSES[name] for name in names), CustomEvent]
    return {"anyOf": [{"$ref": COMPONENTS + cls.__name__} for cls in classes]}


def _frame(event: str) -> dict[str, Any]:
    """Return the schema of one Server-Sent Event, whose ``data`` is the JSON text of an event."""
    return {
        "type": "object",
        "description": "One Server-Sent Event. Comments (`: heartbeat`) are none.",
        "properties": {
            "event": {"type": "string", "description": "The event's type."},
            "data": {
                "type": "string",
                "contentMediaType": "application/json",
                "contentSchema": {"$ref": COMPONENTS + event},
            },
            "id": {"type": "string", "pattern": "^[0-9]+$", "description": "Its sequence; in runs only."},
            "retry": {"type": "integer", "description": "Milliseconds after which to come back."},
        },
        "required": ["event", "data"],
    }


def _payload(schema: dict[str, Any] | None) -> dict[str, Any]:
    given = _rooted(schema or {}, "Payload")
    if schema is not None and not Schema(schema).takes_objects_only:
        return given
    if given.setdefault("type", "object") == "object":
        return given
    return {"allOf": [_rooted(schema or {}, "Payload/allOf/0"), {"type": "object"}]}


def _rooted(schema: dict[str, Any], place: str) -> dict[str, Any]:
    """Return an agent's schema whose references to its own root lead to its place in the document."""

    def moved(value: Any) -> Any:
        if isinstance(value, list):
            return [moved(item) for item in value]
        if not isinstance(value, dict):
            return value
        return {key: target(item) if key == "$ref" else moved(item) for key, item in value.items()}

    def target(ref: Any) -> Any:
        if isinstance(ref, str) and (ref == "#" or ref.startswith("#/")):
            return COMPONENTS + place + ref[1:]
        return moved(ref)

    told: dict[str, Any] = moved(schema)
    return told
