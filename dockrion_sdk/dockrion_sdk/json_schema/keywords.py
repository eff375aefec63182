"""The two keywords whose worst case is too slow in the engine, made here, and the time they have."""

from __future__ import annotations

import itertools
import operator
import time
from typing import Any, Final

import jsonschema_rs
import msgspec

from .texts import shown, whole_numbers

LARGEST_PROGRAM: Final = 1 << 20
"""Bytes of the largest pattern that is taken, in its compiled form."""

_DFA_BYTES: Final = 1 << 16
_NS_PER_BYTE: Final = 1 / 15
"""Measured: a pattern whose compiled form has n bytes costs at most n/15 ns for each byte of text."""

_MATCH_NS: Final = 250_000_000


class Budget:
    """The time that slow keywords have left."""

    def __init__(self) -> None:
        self._until: float = 0.0
        self.spent: bool = False

    def start(self, seconds: float) -> None:
        self._until = time.monotonic() + seconds
        self.spent = False

    def expired(self) -> bool:
        if not self.spent:
            self.spent = time.monotonic() > self._until
        return self.spent


def keyword(kind: type, budget: Budget) -> type:
    return type(kind.__name__, (kind,), {"budget": budget})


class Pattern:
    """``pattern``, for texts of a length that it can match in time."""

    budget: Budget

    def __init__(self, _: Any, pattern: str, path: list[str | int]) -> None:
        size = pattern_size(pattern)
        if size is None:
            raise ValueError(f"the pattern {pattern!r} cannot be compiled")
        self._pattern = pattern
        self._longest = longest_text(size)
        self._matches = _compiled(pattern, LARGEST_PROGRAM).is_valid

    def validate(self, value: Any) -> None:
        if not isinstance(value, str):
            return
        if len(value) > self._longest:
            raise ValueError(f"longer than the {self._longest:,} characters its pattern can be matched with")
        if self.budget.expired():
            raise ValueError("out of time")
        if not self._matches(value):
            raise ValueError(f"{shown(value)} does not match the pattern {shown(self._pattern)}")


class UniqueItems:
    """``uniqueItems``, by the items' canonical JSON, whose hash nobody can foresee."""

    budget: Budget

    def __init__(self, _: Any, wanted: bool, path: list[str | int]) -> None:
        self._wanted = wanted

    def validate(self, value: Any) -> None:
        if not self._wanted or not isinstance(value, list):
            return
        kinds = set(map(type, value))
        if kinds == {int}:
            # Sorted, because the hash of an integer is no secret; and with little memory.
            numbers = sorted(value)
            unique = not any(map(operator.eq, numbers, itertools.islice(numbers, 1, None)))
        elif kinds == {str}:
            unique = len(set(value)) == len(value)
        else:
            unique = self._all_differ(value)
        if not unique:
            raise ValueError("the array has an item twice")

    def _all_differ(self, value: list[Any]) -> bool:
        seen: set[bytes] = set()
        for index, item in enumerate(value):
            if not index % 256 and self.budget.expired():
                raise ValueError("out of time")
            key = msgspec.json.encode(whole_numbers(item), order="sorted")
            if key in seen:
                return False
            seen.add(key)
        return True


def pattern_size(pattern: str) -> int | None:
    """Return the bytes that a compiled pattern has, rounded up to a power of two; None if it cannot be."""
    for exponent in range(10, 21):
        size = 1 << exponent
        try:
            _compiled(pattern, size)
        except ValueError:
            continue
        return size
    return None


def _compiled(pattern: str, size: int) -> jsonschema_rs.Draft202012Validator:
    options = regex_options(size)
    return jsonschema_rs.Draft202012Validator({"pattern": pattern}, pattern_options=options, offline=True)


def can_be_large(pattern: str) -> bool:
    """Say whether a pattern that was refused could be compiled, were it not for its size."""
    try:
        _compiled(pattern, 64 * LARGEST_PROGRAM)
    except ValueError:
        return False
    return True


def longest_text(size: int) -> int:
    """Return how many characters a pattern whose compiled form has ``size`` bytes can match in time."""
    return int(_MATCH_NS / (size * _NS_PER_BYTE))


def regex_options(size: int) -> jsonschema_rs.RegexOptions:
    return jsonschema_rs.RegexOptions(size_limit=size, dfa_size_limit=_DFA_BYTES)
