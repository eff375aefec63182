"""Values as messages show them: short, whatever their size."""

from __future__ import annotations

from typing import Any, Final

import msgspec

MAX_MESSAGE: Final = 300
_LONGEST_SHOWN: Final = 80


def shown(value: Any) -> str:
    """Return a value as JSON, shortened; objects and arrays are only called so."""
    if isinstance(value, dict):
        return "the object"
    if isinstance(value, list):
        return "the array"
    if isinstance(value, int) and not isinstance(value, bool):
        return shortened(str(value), _LONGEST_SHOWN)  # the encoder has no integers beyond 64 bits
    if isinstance(value, str):
        value = shortened(value, _LONGEST_SHOWN)
    return msgspec.json.encode(value).decode()


def shortened(text: str, limit: int = MAX_MESSAGE) -> str:
    """Return a text of at most ``limit`` characters and an ellipsis."""
    return text if len(text) <= limit else text[:limit] + "…"


def whole_numbers(value: Any) -> Any:
    """Return the value with 1 in place of 1.0, which are one number in JSON Schema."""
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, list):
        return [whole_numbers(item) for item in value]
    if isinstance(value, dict):
        return {name: whole_numbers(item) for name, item in value.items()}
    # Integers beyond 64 bits have no place in the encoder.
    return f"\0{value}" if isinstance(value, int) and abs(value) >> 63 else value
