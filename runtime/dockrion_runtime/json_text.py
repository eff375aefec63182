"""JSON as it arrives: what it would take in memory, and the halves of characters in it.

All of this looks at the bytes before anything is decoded, by operations that run in C.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import msgspec

from .problems import Problem

UNCHECKED: Final = 256 * 1024
"""Bytes of a body that is small, whatever it holds: decoded it takes less than 8 MiB."""

_SMALLEST: Final = 1024 * 1024
_PIECE: Final = 64 * 1024
_BOM: Final = b"\xef\xbb\xbf"
_NO_UTF8: Final = (b"\xff\xfe", b"\xfe\xff", b"{\0", b"\0{")

# Bytes in CPython 3.11 to 3.13, rounded up.
_OBJECT: Final = 208
_EMPTY_OBJECT: Final = 88
_ARRAY: Final = 80
_STRING: Final = 64
_NUMBER: Final = 32
_SLOT: Final = 8
_KEY: Final = 28
_KEY_OF_LARGE_OBJECT: Final = 110

_LONE_SURROGATE: Final = re.compile(
    rb"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F][0-9a-fA-F]{2})"
    rb"|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F][0-9a-fA-F]{2}"
)


def read_float(text: str) -> float:
    """Return a number of a JSON text. Raises `ValueError` where it is beyond what a float can hold.

    A decoder's ``float_hook``: by itself msgspec needs up to 8 microseconds for a number such as ``1e308``,
    a hundred times as long as for others.
    """
    value = float(text)
    if math.isinf(value):
        raise ValueError("Number out of range")
    return value


decode_value: Final = msgspec.json.Decoder(float_hook=read_float).decode
"""Return the value of a JSON text in linear time. Raises `msgspec.DecodeError`, `RecursionError`."""


class Shape(NamedTuple):
    """How many of what a JSON text has; ``other`` counts the bytes of numbers, literals and blanks."""

    objects: int = 0
    empty_objects: int = 0
    arrays: int = 0
    strings: int = 0
    keys: int = 0
    commas: int = 0
    other: int = 0

    @property
    def values(self) -> int:
        """Objects, arrays, strings and numbers, keys too; at most."""
        return self.objects + self.arrays + self.commas + self.keys + 1

    @property
    def memory(self) -> int:
        """An estimate of the bytes that the decoded values take, without the texts of strings."""
        containers = self.objects + self.arrays
        numbers = max(0, self.commas + containers + self.keys + 1 - self.strings - containers)
        allocated = min(numbers, max(0, self.other - numbers) // 2)  # of one or two digits are shared
        return (
            (self.objects - self.empty_objects) * _OBJECT
            + self.empty_objects * _EMPTY_OBJECT
            + self.arrays * _ARRAY
            + (self.strings - self.keys) * _STRING
            + allocated * _NUMBER
            + (self.commas + containers) * _SLOT
            + self.keys * _KEY
            + max(0, self.keys - 5 * self.objects) * _KEY_OF_LARGE_OBJECT
        )


def shape_of(data: bytes) -> Shape:
    """Count what a JSON text is made of. Where it is no JSON, the counts mean nothing."""
    shape = Shape()
    for piece in _outside_strings(data):
        counted = _counted(piece, piece.count(b'"'))
        structural = 2 * (counted.objects + counted.arrays) + counted.strings + counted.keys + counted.commas
        counted = counted._replace(other=max(0, len(piece) - structural))
        shape = Shape(*map(sum, zip(shape, counted, strict=True)))
    return shape


def _counted(data: bytes, strings: int) -> Shape:
    return Shape(
        objects=data.count(b"{"),
        empty_objects=data.count(b"{}"),
        arrays=data.count(b"["),
        strings=strings,
        keys=data.count(b":"),
        commas=data.count(b","),
        other=len(data),
    )


def _outside_strings(data: bytes) -> Iterator[bytes]:
    """Yield a text with a mere quote in place of each string; in pieces, for the sake of memory."""
    if b"\\" in data:
        data = data.replace(b"\\\\", b"").replace(b'\\"', b"")
    inside = False
    for start in range(0, len(data), _PIECE):
        parts = data[start : start + _PIECE].split(b'"')
        outside = parts[1::2] if inside else parts[::2]
        opened = (len(parts) - inside) // 2
        inside ^= len(parts) % 2 == 0
        yield b'"' * opened + b"".join(outside)


def check_growth(data: bytes, growth: int, *, name: str = "the body") -> None:
    """Raise `Problem` 413 for a JSON text that would take over ``growth`` times its size in memory."""
    if len(data) > UNCHECKED:
        allowed = growth * max(len(data), _SMALLEST)
        if _counted(data, data.count(b'"')).memory <= allowed:
            return  # even if all of it were outside of strings
        needed = shape_of(data).memory
        if needed > allowed:
            told = (
                f"{name} has so many values that it would take about {needed >> 20:,} MiB in memory, and"
                f" {allowed >> 20:,} MiB are allowed (expose.limits.json_growth)"
            )
            raise Problem(413, "TOO_MANY_VALUES", told)


def check_values(data: bytes, most: int, *, name: str = "the body") -> None:
    """Raise `Problem` 413 for a JSON text that may have more than ``most`` values."""
    if len(data) <= most or _counted(data, 0).values <= most:
        return
    values = shape_of(data).values
    if values > most:
        told = f"{name} has about {values:,} values, and {most:,} are allowed (expose.limits.a2a_values)"
        raise Problem(413, "TOO_MANY_VALUES", told)


def decode_json(data: bytes, *, name: str = "the body") -> Any:
    """Return the value of a JSON text; a half of a surrogate pair becomes U+FFFD, as on output.

    JavaScript cuts texts between the halves. Raises `Problem` 400 where it is no JSON.
    """
    try:
        return decode_value(data)
    except RecursionError:
        raise Problem(400, "INVALID_JSON", f"{name} is nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        mended = whole_characters(data.removeprefix(_BOM))
        if mended == data:
            raise _invalid(name, data, error) from None
    try:
        return decode_value(mended)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(name, mended, error) from None


def _invalid(name: str, data: bytes, error: Exception) -> Problem:
    if isinstance(error, UnicodeDecodeError) or data.startswith(_NO_UTF8):
        return Problem(400, "INVALID_JSON", f"{name} is not UTF-8, as JSON has to be")
    return Problem(400, "INVALID_JSON", f"{name} is no valid JSON: {error}")


def whole_characters(data: bytes) -> bytes:
    r"""Return a JSON text with ``\ufffd`` in place of each escape that is half a surrogate pair."""
    if b"\\u" not in data or b"\0" in data:
        return data
    # An escaped backslash is no beginning of an escape; NUL is in no JSON text.
    hidden = data.replace(b"\\\\", b"\0\0")
    return _LONE_SURROGATE.sub(rb"\\ufffd", hidden).replace(b"\0\0", b"\\\\")
