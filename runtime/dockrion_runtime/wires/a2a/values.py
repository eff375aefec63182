"""Between the protocol's values and JSON: its numbers are all doubles, and its values not deep."""

from __future__ import annotations

from typing import Any, Final

import msgspec
from a2a.types import Part
from google.protobuf.json_format import MessageToDict, ParseDict, ParseError
from google.protobuf.struct_pb2 import Value

_EXACT: Final = 2.0**53
"""Whole numbers beyond may have been others before they were doubles."""

JSON_TYPE: Final = "application/json"


def json_part(data: bytes) -> Part:
    """Return JSON as a data part; as text of the type JSON where it is too deep, or a number too large."""
    try:
        value = msgspec.json.decode(data)
        if _exact(value):
            return Part(data=ParseDict(value, Value()), media_type=JSON_TYPE)
    except (ParseError, RecursionError):
        pass
    return Part(text=data.decode(), media_type=JSON_TYPE)


def data_of(part: Part) -> Any:
    """Return a data part's JSON value; whole numbers, which all came as doubles, are integers again."""
    return _whole(MessageToDict(part.data))


def _exact(value: Any) -> bool:
    if isinstance(value, dict):
        return all(map(_exact, value.values()))
    if isinstance(value, list):
        return all(map(_exact, value))
    return not isinstance(value, int) or abs(value) <= _EXACT


def _whole(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _whole(item) for key, item in value.items()}
    if isinstance(value, list):
        return list(map(_whole, value))
    if isinstance(value, float) and value.is_integer() and abs(value) <= _EXACT:
        return int(value)
    return value
