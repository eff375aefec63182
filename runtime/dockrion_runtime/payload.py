"""An agent's payload: from bytes to a checked value, and JSON Schema faults that say where they are."""

from __future__ import annotations

import copy
from collections.abc import Collection
from typing import Any, Final

from dockrion_sdk.dockfile import Limits
from dockrion_sdk.json_schema import Schema, SchemaError, ValidationTimeout

from .json_text import check_growth, decode_json
from .problems import Problem

CHECK_SECONDS: Final = Limits().check_seconds
"""What a check may take outside a server, which has a limit of its own."""

_KINDS: Final = {dict: "an object", list: "an array", str: "a string", type(None): "null", bool: "a boolean"}

_NAMED: Final = {
    "object": "an object", "array": "an array", "string": "a string", "number": "a number",
    "integer": "an integer", "boolean": "a boolean", "null": "null",
}  # fmt: skip


def compiled(schema: dict[str, Any] | None, seconds: float = CHECK_SECONDS) -> Schema | None:
    """Return what checks values against ``schema``; None where there is no schema.

    ``seconds`` is how long the checks that can be slow may take together, for one value.
    """
    return Schema(schema, seconds) if schema is not None else None


def compiled_of_agent(schema: dict[str, Any], seconds: float = CHECK_SECONDS) -> Schema:
    """Return what checks values against a schema that an agent's framework made.

    A pattern that is not supported is left out: pydantic's for decimal numbers looks ahead, and the agent
    checks its input by itself. Raises `SchemaError`.
    """
    kept = copy.deepcopy(schema)
    while True:
        try:
            return Schema(kept, seconds)
        except SchemaError as error:
            if error.path[-1:] != ("pattern",):
                raise
            place: Any = kept
            for part in error.path[:-1]:
                place = place[part]
            del place["pattern"]


def read_payload(
    data: bytes, schema: Schema | None, *, growth: int, kinds_only: bool = False, name: str = "the body"
) -> Any:
    """Return the payload that ``data`` holds, which messages call ``name``.

    Raises `Problem`: 400 where it is no JSON or not of the kind that the agent takes, 413 where it would
    take over ``growth`` times its size in memory, 422 where it does not fit the schema.
    """
    if not data or data.isspace():
        raise Problem(400, "INVALID_JSON", f"{name} is empty; it has to be {_expected(schema)}")
    check_growth(data, growth, name=name)
    payload = decode_json(data, name=name)
    check_payload(payload, schema, kinds_only=kinds_only, name=name)
    return payload


def check_payload(
    payload: Any, schema: Schema | None, *, kinds_only: bool = False, name: str = "the payload"
) -> None:
    """Raise `Problem`: 400 where a payload is not of the kind that is taken, 422 where it does not fit.

    Anything but an object is taken only where the schema says so. With ``kinds_only`` nothing else of the
    schema is looked at: somebody else checks the rest.
    """
    if not isinstance(payload, dict) and (schema is None or schema.takes_objects_only):
        kind = _KINDS.get(type(payload), "a number")
        raise Problem(400, "NOT_AN_OBJECT", f"{name} has to be a JSON object, and it is {kind}")
    if kinds_only and schema is not None and schema.types is not None and not _is_of(payload, schema.types):
        kinds = " or ".join(_NAMED[kind] for kind in sorted(schema.types))
        told = f"has to be {kinds}, and it is {_KINDS.get(type(payload), 'a number')}"
        errors = [{"path": "$", "message": f"it {told}"}]
        raise Problem(422, "INVALID_INPUT", f"{name} {told}", errors=errors)
    if schema is not None and not kinds_only:
        try:
            found = faults(schema, payload)
        except ValidationTimeout:
            told = "checking the payload against the input schema took too long; send a smaller one"
            raise Problem(422, "VALIDATION_TIMEOUT", told) from None
        if found:
            first = found[0]
            detail = f"the payload does not fit the input schema: {first['path']}: {first['message']}"
            raise Problem(422, "INVALID_INPUT", detail, errors=found)


def _is_of(value: Any, types: Collection[str]) -> bool:
    """Say whether a JSON value is of one of these types of JSON Schema."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return "number" in types or ("integer" in types and value == value // 1)
    return any(_NAMED[kind] == _KINDS.get(type(value)) for kind in types)


def faults(schema: Schema, value: Any) -> list[dict[str, str]]:
    """Return the first faults of ``value``, each with its path (``$`` is the whole) and a message.

    Raises `ValidationTimeout`.
    """
    return [
        {"path": ".".join(map(str, fault.path)) or "$", "message": fault.message}
        for fault in schema.faults(value)
    ]


def _expected(schema: Schema | None) -> str:
    return "a JSON object" if schema is None or schema.takes_objects_only else "JSON"
