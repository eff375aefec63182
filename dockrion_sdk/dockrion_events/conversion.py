"""Values that JSON has no form for, turned into values that it has.

`convert` is what the encoder calls for each value that it does not know; nothing here runs for a value
that it knows.
"""

from __future__ import annotations

import math
import os
from collections import UserString, deque
from collections.abc import Callable, Iterable, Mapping, Sequence, Set, ValuesView
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from types import SimpleNamespace
from typing import Any, Final
from uuid import UUID

REPR_LIMIT: Final = 200

MAX_CELLS: Final = 1_000_000
"""Items of a sequence or cells of a table up to which they are converted; more do not fit into an event."""

_AS_TEXT: Final = (
    "bson.objectid", "ipaddress", "pydantic.networks", "pydantic.types", "pydantic_core._pydantic_core",
    "yarl", "yarl._url", "zoneinfo",
)  # fmt: skip
"""Modules whose values are best shown as their text: addresses, ids, and secrets, which hide themselves."""

OWN_METHODS: Final = ("to_dict", "as_dict", "_asdict", "__json__")
"""Methods without arguments by which objects commonly give their own JSON form, the first there is."""


def convert(value: Any) -> Any:
    """Turn a value that JSON has no form for into one that it has.

    Pydantic models of either version (LangChain's messages among them) become their fields, numpy arrays
    and scalars lists and numbers, paths strings, exceptions ``{type, message}``, mappings dicts, other
    collections lists, tables (pandas, polars, Arrow) lists of rows, subclasses of dates, times, numbers
    and strings what they derive from. An object with one of `OWN_METHODS` becomes what that returns.
    Anything else becomes ``{type, repr}`` with a bounded repr. Raises nothing but ``RecursionError``,
    where the stack ends: a value that contains itself is found another way.
    """
    return _safely(value, _converted)


def convert_plainly(value: Any) -> Any:
    """Do the same without `OWN_METHODS` and tables.

    For a value that could not be encoded with what they returned.
    """
    return _safely(value, _plainly_converted)


def described(value: Any) -> dict[str, str]:
    """Return ``{type, repr}``: what is left of a value that has no JSON form."""
    kind = type(value)
    try:
        text = repr(value)
    except Exception as error:  # noqa: BLE001 - a repr that raises is the agent's, not ours
        text = f"<repr raised {type(error).__name__}>"
    if len(text) > REPR_LIMIT:
        text = text[:REPR_LIMIT] + "…"
    return {"type": f"{kind.__module__}.{kind.__qualname__}", "repr": text}


_own_forms = 0


def own_forms() -> int:
    """Return how many values have been asked for their own form so far, in all threads; a rough count."""
    return _own_forms


def _safely(value: Any, conversion: Callable[[Any], Any]) -> Any:
    try:
        converted = conversion(value)
    except RecursionError:
        raise
    except Exception:  # noqa: BLE001 - foreign code: whatever it raises, the value gets a form
        converted = value
    return described(value) if converted is value else converted


def _converted(value: Any) -> Any:
    global _own_forms
    converted = _plainly_converted(value)
    if converted is not value:
        return converted
    _own_forms += 1
    kind = type(value)
    if kind.__name__ == "NAType":
        return None  # pandas' missing value
    if hasattr(kind, "__fields__") and callable(getattr(kind, "dict", None)):
        return value.dict()  # a model of pydantic's version 1
    if hasattr(kind, "__getitem__") and callable(getattr(kind, "keys", None)) and not hasattr(kind, "iloc"):
        return {name: value[name] for name in value.keys()}  # noqa: SIM118 - it iterates over its values
    if isinstance(value, ValuesView | Sequence):
        return list(value) if len(value) <= MAX_CELLS else value
    rows = _rows(value, kind)
    if rows is not None:
        return rows
    for name in OWN_METHODS:
        if callable(getattr(kind, name, None)):
            made = getattr(value, name)()
            return made if isinstance(made, Mapping | list | tuple | str | int | float | bool) else value
    return value


def _plainly_converted(value: Any) -> Any:
    kind = type(value)
    if value is None or kind is bool:  # only as a key: everywhere else msgspec knows them
        return "null" if value is None else str(value).lower()
    for base, conversion in _BASES:
        if isinstance(value, base):
            return conversion(value)
    if callable(getattr(kind, "model_dump", None)):
        return value.model_dump()
    if kind.__module__.partition(".")[0] == "numpy" or callable(getattr(kind, "tolist", None)):
        return value.tolist()
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Set | deque | range):
        return list(value)
    return str(value) if any(base.__module__ in _AS_TEXT for base in kind.__mro__) else value


def _rows(value: Any, kind: type[Any]) -> Any:
    """Return the rows of a table, each a dict by column, or a column's values; None for anything else."""
    for name, arguments, mark in _TABLES:
        if callable(getattr(kind, name, None)) and hasattr(kind, mark):
            if math.prod(getattr(value, "shape", ())) > MAX_CELLS:
                return value
            if type(getattr(value, "index", None)).__name__.endswith("Index") and arguments:
                value = _with_index(value)
            return getattr(value, name)(*arguments)
    return None


def _with_index(frame: Any) -> Any:
    """Return a table of pandas whose index is a column, where it is more than the numbers of the rows."""
    return frame if type(frame.index).__name__ == "RangeIndex" else frame.reset_index()


_TABLES: Final = (
    ("to_dict", ("records",), "iloc"),  # pandas
    ("to_dicts", (), "to_dicts"),  # polars
    ("to_pylist", (), "to_pylist"),  # Arrow
    ("to_list", (), "to_list"),  # a column of polars
)
"""How tables give their rows: the method, its arguments, and what else their class has."""


def _datetime(value: datetime) -> datetime | None:
    if value != value:  # pandas' NaT, the one moment that is not itself
        return None
    return datetime.combine(_date(value), _time(value.timetz()))


def _date(value: date) -> date:
    return date(value.year, value.month, value.day)


def _time(value: time) -> time:
    return time(value.hour, value.minute, value.second, value.microsecond, value.tzinfo, fold=value.fold)


def _timedelta(value: timedelta) -> timedelta:
    return timedelta(value.days, value.seconds, value.microseconds)


def _failure(error: BaseException) -> dict[str, str]:
    return {"type": type(error).__qualname__, "message": str(error)}


def _name(kind: type[Any]) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _public(value: SimpleNamespace) -> dict[str, Any]:
    return {name: field for name, field in vars(value).items() if not name.startswith("_")}


_BASES: Final[Iterable[tuple[Any, Callable[[Any], Any]]]] = (
    (str, str.__str__),
    (int, int),
    (float, float),
    (BaseException, _failure),
    (type, _name),
    (Enum, lambda member: member.value),
    (datetime, _datetime),
    (date, _date),
    (time, _time),
    (timedelta, _timedelta),
    (Decimal, lambda number: Decimal(number)),
    (UUID, lambda identifier: UUID(int=identifier.int)),
    (bytes | bytearray, bytes),
    (UserString, str),
    (SimpleNamespace, _public),
)
"""What a subclass is an instance of, and how to get that; the order matters."""
