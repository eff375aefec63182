"""An agent's payload: from bytes to a checked object, and JSON Schema faults that say where they are."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from jsonschema import Draft202012Validator

from .problems import Problem

_MAX_FAULTS: Final = 20
_MAX_MESSAGE: Final = 300
_KINDS: Final = {list: "an array", str: "a string", type(None): "null", bool: "a boolean"}


def validator(schema: dict[str, Any] | None) -> Draft202012Validator | None:
    """Return what checks values against ``schema``; None where there is no schema."""
    return Draft202012Validator(schema) if schema is not None else None


def read_payload(
    data: bytes, schema: Draft202012Validator | None, *, name: str = "the body"
) -> dict[str, Any]:
    """Return the payload that ``data`` holds, which messages call ``name``.

    Raises `Problem`: 400 where it is no JSON object, 422 where it does not fit the schema.
    """
    if not data or data.isspace():
        raise Problem(400, "INVALID_JSON", f"{name} is empty; it has to be a JSON object")
    try:
        payload = msgspec.json.decode(data)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Problem(400, "INVALID_JSON", f"{name} is no valid JSON: {error}") from None
    except RecursionError:
        raise Problem(400, "INVALID_JSON", f"{name} is nested too deeply") from None
    if not isinstance(payload, dict):
        kind = _KINDS.get(type(payload), "a number")
        raise Problem(400, "NOT_AN_OBJECT", f"{name} has to be a JSON object, and it is {kind}")
    check_payload(payload, schema)
    return payload


def check_payload(payload: dict[str, Any], schema: Draft202012Validator | None) -> None:
    """Raise `Problem` 422 where a payload does not fit the schema."""
    if schema is not None:
        found = faults(schema, payload)
        if found:
            first = found[0]
            detail = f"the payload does not fit the input schema: {first['path']}: {first['message']}"
            raise Problem(422, "INVALID_INPUT", detail, errors=found)


def faults(schema: Draft202012Validator, value: Any) -> list[dict[str, str]]:
    """Return the first faults of ``value``, each with its path (``$`` is the whole) and a message."""
    try:
        found = sorted(schema.iter_errors(value), key=lambda fault: list(map(str, fault.absolute_path)))
    except RecursionError:
        return [{"path": "$", "message": "nested too deeply"}]
    return [
        {"path": ".".join(map(str, fault.absolute_path)) or "$", "message": _short(fault.message)}
        for fault in found[:_MAX_FAULTS]
    ]


def _short(message: str) -> str:
    return message if len(message) <= _MAX_MESSAGE else message[:_MAX_MESSAGE] + "…"
