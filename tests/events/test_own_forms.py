"""Values that are no JSON but have a form of their own: subclasses, tables, older models, ``to_dict``."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import ipaddress
import sqlite3
import types
import uuid
import zoneinfo
from collections import UserList, UserString
from collections.abc import Callable
from typing import Any

import attrs
import msgspec
import numpy as np
import pydantic.v1
import pytest
from pydantic import AnyUrl, BaseModel, HttpUrl, SecretStr

from dockrion_events import CustomEvent, EventTooLarge, NotSerialisable, encode_json
from dockrion_events.encoding import EventEncoder


class Moment(datetime.datetime):
    """As pendulum's, pandas' and freezegun's."""


class Never(datetime.datetime):
    """As pandas' NaT."""

    def __eq__(self, other: object) -> bool:
        return False

    def __ne__(self, other: object) -> bool:
        return True

    __hash__ = None  # type: ignore[assignment]


class Day(datetime.date):
    pass


class Hour(datetime.time):
    pass


class Span(datetime.timedelta):
    pass


class Money(decimal.Decimal):
    pass


class Key(uuid.UUID):
    pass


class Raw(bytes):
    pass


class Colour(enum.Enum):
    RED = Day(2020, 1, 1)


class Old(pydantic.v1.BaseModel):
    when: datetime.date
    names: list[str]


@attrs.define
class Slots:
    shown: int
    _hidden: int = 2


@dataclasses.dataclass
class Private:
    shown: int
    _hidden: Any = "secret"


class Frame:
    """What pandas' DataFrame has of it."""

    def __init__(self, *rows: Any, length: int | None = None) -> None:
        self.rows = rows
        self.shape = (len(rows) if length is None else length, 2)

    iloc = loc = property(lambda self: self)

    def to_dict(self, orient: str = "dict") -> Any:
        if orient == "records":
            return list(self.rows)
        return {column: dict(enumerate(row[column] for row in self.rows)) for column in self.rows[0]}


class RangeIndex:
    """The index of a table that has no other."""


class Index:
    """An index with something in it."""


class Numbered(Frame):
    index = RangeIndex()


class Grouped(Frame):
    """What pandas' ``groupby`` gives: one column is the index."""

    index = Index()

    def reset_index(self) -> Frame:
        return Frame(*({"group": place, **row} for place, row in enumerate(self.rows)))


NAType = type("NAType", (), {})


class Polar:
    """What polars' DataFrame has of it: its ``to_dict`` gives columns that are no JSON."""

    shape = (1, 1)

    def to_dict(self) -> Any:
        return {"a": object()}

    def to_dicts(self) -> Any:
        return [{"a": Moment(2020, 1, 1)}]


class Arrow:
    shape = (1, 1)

    def to_pylist(self) -> Any:
        return [{"a": 1}]


def having(method: str) -> Any:
    return type("Having", (), {method: lambda self: {"a": Day(2020, 1, 1)}})()


def row() -> Any:
    connection = sqlite3.connect(":memory:")
    connection.row_factory = sqlite3.Row
    try:
        return connection.execute("select 1 as a, 'x' as b").fetchone()
    finally:
        connection.close()


class OwnUrl(AnyUrl):
    pass


class Linked(BaseModel):
    url: HttpUrl
    key: SecretStr


ZONE = datetime.timezone(datetime.timedelta(hours=2))
FORMS: dict[str, tuple[Callable[[], Any], Any]] = {
    "datetime": (lambda: Moment(2020, 1, 2, 3, 4, 5, 6), "2020-01-02T03:04:05.000006"),
    "datetime with a zone": (lambda: Moment(2020, 1, 2, tzinfo=ZONE), "2020-01-02T00:00:00+02:00"),
    "not a time": (lambda: Never(2020, 1, 1), None),
    "date": (lambda: Day(2020, 1, 2), "2020-01-02"),
    "time": (lambda: Hour(3, 4), "03:04:00"),
    "timedelta": (lambda: Span(days=1, seconds=2), "P1DT2S"),
    "decimal": (lambda: Money("1.50"), "1.50"),
    "uuid": (lambda: Key(int=1), "00000000-0000-0000-0000-000000000001"),
    "bytes": (lambda: Raw(b"x"), "eA=="),
    "enum": (lambda: Colour.RED, "2020-01-01"),
    "list": (lambda: UserList([1, Day(2020, 1, 1)]), [1, "2020-01-01"]),
    "string": (lambda: UserString("a"), "a"),
    "values of a dict": (lambda: {"a": 1}.values(), [1]),
    "namespace": (lambda: types.SimpleNamespace(a=1, _b=2), {"a": 1}),
    "URL": (lambda: HttpUrl("https://a.example/b"), "https://a.example/b"),
    "URL, of a class of one's own": (lambda: OwnUrl("https://a.example/b"), "https://a.example/b"),
    "model with a URL and a secret": (
        lambda: Linked(url="https://a.example/b", key="hush"),  # type: ignore[arg-type]
        {"url": "https://a.example/b", "key": "**********"},
    ),
    "time zone": (lambda: zoneinfo.ZoneInfo("UTC"), "UTC"),
    "address": (lambda: ipaddress.ip_address("::1"), "::1"),
    "numpy scalar": (lambda: np.float32(1.5), 1.5),
    "numpy date": (lambda: np.datetime64("2020-01-02"), "2020-01-02"),
    "row of a database": (row, {"a": 1, "b": "x"}),
    "old model": (lambda: Old(when="2020-01-02", names=["n"]), {"when": "2020-01-02", "names": ["n"]}),
    "attrs": (lambda: Slots(1), {"shown": 1}),
    "private field": (lambda: Private(1), {"shown": 1}),
    "private field, deep": (lambda: {"_a": [Private(1, Private(2))]}, {"_a": [{"shown": 1}]}),
    "pandas": (lambda: Frame({"a": 1, "b": Moment(2020, 1, 1)}), [{"a": 1, "b": "2020-01-01T00:00:00"}]),
    "pandas, numbered": (lambda: Numbered({"a": 1}), [{"a": 1}]),
    "pandas, grouped": (lambda: Grouped({"a": 1}), [{"group": 0, "a": 1}]),
    "pandas, missing": (NAType, None),
    "polars": (Polar, [{"a": "2020-01-01T00:00:00"}]),
    "arrow": (Arrow, [{"a": 1}]),
    **{
        method: ((lambda method=method: having(method)), {"a": "2020-01-01"})
        for method in ("to_dict", "as_dict", "_asdict", "__json__")
    },
}


@pytest.mark.parametrize("name", FORMS)
def test_what_they_become(name: str) -> None:
    make, expected = FORMS[name]
    for around in (lambda value: value, lambda value: [value, "\ud800"]):  # the fast way and the thorough one
        got = msgspec.json.decode(encode_json(around(make())))
        assert (got[0] if isinstance(got, list) and got[-1:] == ["\ufffd"] else got) == expected
    event = EventEncoder().encode(CustomEvent("custom:x", make()))
    assert event.decode().data == expected  # type: ignore[attr-defined]


def test_as_keys() -> None:
    value = {Moment(2020, 1, 1): 1, Day(2020, 1, 2): 2, Money("1.5"): 3, Colour.RED: 4}
    assert msgspec.json.decode(encode_json(value)) == {
        "2020-01-01T00:00:00": 1, "2020-01-02": 2, "1.5": 3, "2020-01-01": 4,
    }  # fmt: skip


class Shown:
    def __repr__(self) -> str:
        return "Shown()"


class Raises(Shown):
    def to_dict(self) -> Any:
        raise RuntimeError("no")


class Asks(Shown):
    def to_dict(self, orient: str) -> Any:
        return {}


class Itself(Shown):
    def to_dict(self) -> Any:
        return self


class Nothing(Shown):
    def to_dict(self) -> Any:
        return object()


class Cyclic(Shown):
    def to_dict(self) -> Any:
        made: dict[str, Any] = {}
        made["me"] = made
        return made


class HoldsItself(Shown):
    def to_dict(self) -> Any:
        return {"me": [self]}


class Endless(Shown):
    def to_dict(self) -> Any:
        return {"a": Endless(), "b": Endless()}


class Deep(Shown):
    def to_dict(self) -> Any:
        made: list[Any] = []
        for _ in range(700):
            made = [made]
        return made


class Huge(Shown):
    def to_dict(self) -> Any:
        return {"text": "x" * 5000}


class LongFrame(Frame, Shown):
    def __init__(self) -> None:
        super().__init__(length=10**9)

    def to_dict(self, orient: str = "dict") -> Any:
        raise AssertionError("too many rows to look at")


LEADING_NOWHERE = [Raises, Asks, Itself, Nothing, Cyclic, HoldsItself, Endless, Deep, Huge, LongFrame]


@pytest.mark.parametrize("kind", LEADING_NOWHERE)
def test_a_form_that_leads_nowhere_leaves_the_repr(kind: Any) -> None:
    described = {"type": f"{__name__}.{kind.__qualname__}", "repr": "Shown()"}
    for value, expected in ((kind(), described), ([kind(), "\ud800"], [described, "\ufffd"])):
        assert msgspec.json.decode(encode_json(value, max_bytes=4000)) == expected
        event = EventEncoder(4000).encode(CustomEvent("custom:x", value))
        assert event.decode().data == expected  # type: ignore[attr-defined]


def test_what_the_agent_itself_put_together_is_still_refused() -> None:
    cycle: list[Any] = [having("to_dict")]
    cycle.append(cycle)
    with pytest.raises(NotSerialisable):
        encode_json(cycle)
    with pytest.raises(EventTooLarge):
        encode_json([having("to_dict"), "x" * 5000], max_bytes=4000)


def test_a_class_is_not_asked_for_the_form_of_its_objects() -> None:
    assert msgspec.json.decode(encode_json(Frame)) == f"{__name__}.Frame"
