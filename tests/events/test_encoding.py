"""Any value to JSON: the same on both roads, within limits, and never a broken stream."""

from __future__ import annotations

import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import json
import math
import pathlib
import sys
import types
import uuid
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pydantic
import pytest
from langchain_core.documents import Document
from langchain_core.messages import AIMessage, AIMessageChunk, HumanMessage, SystemMessage, ToolMessage

from dockrion_events import (
    MAX_EVENT_BYTES,
    CheckpointEvent,
    CompleteEvent,
    CustomEvent,
    Event,
    EventEncoder,
    EventTooLarge,
    NotSerialisable,
    ProgressEvent,
    StepEvent,
    StreamContext,
    TokenEvent,
    decode_event,
    encode_json,
)
from dockrion_events.conversion import REPR_LIMIT
from dockrion_events.encoding import MAX_DEPTH
from dockrion_events.exit import Exit

LONE = "\ud800"


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    HIGH = 3


class Text(str):
    __slots__ = ()


class Number(int):
    pass


class Ratio(float):
    pass


@dataclasses.dataclass
class Point:
    x: int
    y: Any = None
    _private: int = 1


@dataclasses.dataclass(slots=True, frozen=True)
class Slotted:
    x: int


class Pair(NamedTuple):
    left: Any
    right: Any


class Inner(pydantic.BaseModel):
    when: datetime.date
    path: pathlib.Path


class Model(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)

    name: str
    inner: Inner
    tags: set[str] = {"a"}
    anything: Any = None


class Names(pydantic.RootModel[list[str]]):
    pass


class Record(msgspec.Struct):
    x: int
    y: Any = None


class Renamed(msgspec.Struct, rename="camel", tag_field="kind", tag="renamed", omit_defaults=True):
    first_name: str
    last_name: str = "none"


class Lookup(Mapping[str, Any]):
    def __init__(self, **data: Any) -> None:
        self._data = data

    def __getitem__(self, key: str) -> Any:
        return self._data[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._data)

    def __len__(self) -> int:
        return len(self._data)


class Plain:
    def __repr__(self) -> str:
        return "Plain()"


MOMENT = datetime.datetime(2024, 1, 2, 3, 4, 5, 678000)
IDENTIFIER = uuid.UUID(int=7)

VALUES: list[tuple[str, Any, Any]] = [
    ("none", None, None),
    ("booleans", [True, False], [True, False]),
    ("integers", [0, -1, 2**63, 2**64, -(2**70)], [0, -1, 2**63, 2**64, -(2**70)]),
    ("floats", [1.5, 1e300, -0.0], [1.5, 1e300, -0.0]),
    ("not finite", [math.nan, math.inf, -math.inf], [None, None, None]),
    ("text", "a\"b\\c\n\r\t\0\u2028\ufeff🙂", "a\"b\\c\n\r\t\0\u2028\ufeff🙂"),
    ("lone surrogate", f"a{LONE}b", "a\ufffdb"),
    ("surrogate pair", "\ud83d\ude42", "🙂"),
    ("subclasses", [Text("t"), Number(3), Ratio(1.5)], ["t", 3, 1.5]),
    ("bytes", [b"ab", bytearray(b"ab"), memoryview(b"ab")], ["YWI="] * 3),
    ("enums", [Colour.RED, Level.HIGH], ["red", 3]),
    ("times", [MOMENT, MOMENT.replace(tzinfo=datetime.UTC), MOMENT.date(), MOMENT.time(),
               datetime.timedelta(seconds=90)],
     ["2024-01-02T03:04:05.678000", "2024-01-02T03:04:05.678000Z", "2024-01-02", "03:04:05.678000", "PT90S"]),
    ("uuid, decimal", [IDENTIFIER, decimal.Decimal("1.10")], [str(IDENTIFIER), "1.10"]),
    ("containers", [(1, 2), [], {}, range(3), collections.deque([1])], [[1, 2], [], {}, [0, 1, 2], [1]]),
    ("sets", [{1}, frozenset([2]), {3: 1}.keys()], [[1], [2], [3]]),
    ("mappings", [collections.OrderedDict(a=1), collections.Counter("aa"), types.MappingProxyType({"a": 1}),
                  Lookup(a=Plain), collections.ChainMap({"a": 1})],
     [{"a": 1}, {"a": 2}, {"a": 1}, {"a": f"{__name__}.Plain"}, {"a": 1}]),
    ("named tuple", Pair(1, Pair(2, 3)), [1, [2, 3]]),
    ("dataclass", Point(1, Slotted(2)), {"x": 1, "y": {"x": 2}}),
    ("struct", Record(1, Record(2)), {"x": 1, "y": {"x": 2, "y": None}}),
    ("tagged struct", Renamed("a"), {"kind": "renamed", "firstName": "a"}),
    ("pydantic", Model(name="n", inner=Inner(when=MOMENT.date(), path=pathlib.Path("/x"))),
     {"name": "n", "inner": {"when": "2024-01-02", "path": "/x"}, "tags": ["a"], "anything": None}),
    ("pydantic within", Point(1, [Names(["a"])]), {"x": 1, "y": [["a"]]}),
    ("paths", [pathlib.Path("/a/b"), pathlib.PurePosixPath("c")], ["/a/b", "c"]),
    ("exceptions", [ValueError("bad"), KeyError("k"), ExceptionGroup("g", [ValueError()])],
     [{"type": "ValueError", "message": "bad"}, {"type": "KeyError", "message": "'k'"},
      {"type": "ExceptionGroup", "message": "g (1 sub-exception)"}]),
    ("classes", [dict, Plain, Point], ["builtins.dict", f"{__name__}.Plain", f"{__name__}.Point"]),
    ("numpy scalars", [np.int64(3), np.uint8(4), np.float32(0.5), np.float64(2.5), np.bool_(True),
                       np.str_("s")], [3, 4, 0.5, 2.5, True, "s"]),
    ("numpy not finite", [np.float32("nan"), np.float64("inf")], [None, None]),
    ("numpy arrays", [np.arange(3), np.zeros((2, 2), dtype=np.float16), np.array(5)],
     [[0, 1, 2], [[0.0, 0.0], [0.0, 0.0]], 5]),
    ("numpy times", np.array(["2024-01-02"], dtype="datetime64[D]"), ["2024-01-02"]),
    ("numpy objects", np.array([Point(1), None], dtype=object), [{"x": 1, "y": None}, None]),
    ("any other", [Plain(), 1j, ...],
     [{"type": f"{__name__}.Plain", "repr": "Plain()"}, {"type": "builtins.complex", "repr": "1j"},
      {"type": "builtins.ellipsis", "repr": "Ellipsis"}]),
    ("fraction", fractions.Fraction(1, 3), {"type": "fractions.Fraction", "repr": "Fraction(1, 3)"}),
    ("keys", {1: "a", 2.5: "b", 1e16: "c", IDENTIFIER: "d", Colour.RED: "e", MOMENT.date(): "f"},
     {"1": "a", "2.5": "b", "1e16": "c", str(IDENTIFIER): "d", "red": "e", "2024-01-02": "f"}),
    ("keys as json.dumps has them", {None: "a", True: "b", False: "c"},
     {"null": "a", "true": "b", "false": "c"}),
    ("a key that is no text", {(1, 2): "a"}, {"(1, 2)": "a"}),
    ("a key with a lone surrogate", {LONE: "a"}, {"\ufffd": "a"}),
    ("a key of any type", {Plain(): "a"}, {"Plain()": "a"}),
]  # fmt: skip

IDS = [row[0] for row in VALUES]


def strictly(data: bytes) -> Any:
    """Parse JSON with two parsers that agree, the standard one without its extensions."""

    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    value = json.loads(data.decode("utf-8"), parse_constant=refuse)
    assert msgspec.json.decode(data) == value
    assert b"\n" not in data
    assert b"\r" not in data
    return value


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in VALUES], ids=IDS)
def test_what_values_become(value: Any, expected: Any) -> None:
    assert strictly(encode_json(value)) == expected


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in VALUES], ids=IDS)
def test_both_roads_lead_to_the_same(value: Any, expected: Any) -> None:
    """A lone surrogate anywhere sends the whole value along the slow road."""
    assert strictly(encode_json([value, LONE])) == [expected, "\ufffd"]


@pytest.mark.parametrize(("value", "expected"), [row[1:] for row in VALUES], ids=IDS)
def test_they_arrive_in_events(value: Any, expected: Any) -> None:
    for event in (
        CheckpointEvent("c", value),
        CustomEvent("custom:c", value),
        CompleteEvent(value, 1.0, {}),
    ):
        decoded = EventEncoder().encode(event).decode()
        assert getattr(decoded, "output" if event.type == "complete" else "data") == expected
        assert decoded.timestamp == event.timestamp


def test_messages_of_langchain() -> None:
    messages = [
        SystemMessage("s"),
        HumanMessage("h"),
        AIMessage("a", id="1", tool_calls=[{"name": "t", "args": {"x": 1}, "id": "c"}]),
        AIMessageChunk("chunk"),
        ToolMessage("t", tool_call_id="c"),
        Document("text", metadata={"n": 1}),
    ]
    for extra in ([], [LONE]):
        got = strictly(encode_json([*messages, *extra]))
        assert [m.get("content", m.get("page_content")) for m in got[:6]] == [
            "s",
            "h",
            "a",
            "chunk",
            "t",
            "text",
        ]
        assert [m["type"] for m in got[:6]] == ["system", "human", "ai", "AIMessageChunk", "tool", "Document"]
        assert got[2]["tool_calls"] == [{"name": "t", "args": {"x": 1}, "id": "c", "type": "tool_call"}]


# -- hostile values --------------------------------------------------------------------------------


class RaisingRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class LongRepr:
    def __repr__(self) -> str:
        return "x" * 100_000


class RaisingDump:
    def model_dump(self) -> Any:
        raise RuntimeError("no dump")

    def __repr__(self) -> str:
        return "RaisingDump()"


class DumpsItself:
    def model_dump(self) -> Any:
        return self

    def __repr__(self) -> str:
        return "DumpsItself()"


class DumpsAnother:
    def model_dump(self) -> Any:
        return DumpsAnother()

    def __repr__(self) -> str:
        return "DumpsAnother()"


class RaisingMapping(Lookup):
    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no keys")

    def __repr__(self) -> str:
        return "RaisingMapping()"


class RaisingStr(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")

    def __repr__(self) -> str:
        return "RaisingStr()"


class RaisesOnEverything:
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no attributes")

    def __repr__(self) -> str:
        return "RaisesOnEverything()"


class SurrogateRepr:
    def __repr__(self) -> str:
        return LONE


class RaisingKey:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


HOSTILE: list[tuple[str, Callable[[], Any], str]] = [
    ("raising repr", RaisingRepr, "<repr raised RuntimeError>"),
    ("raising dump", RaisingDump, "RaisingDump()"),
    ("dumps itself", DumpsItself, "DumpsItself()"),
    ("raising mapping", RaisingMapping, "RaisingMapping()"),
    ("raising text", RaisingStr, "RaisingStr()"),
    ("raises on everything", RaisesOnEverything, "RaisesOnEverything()"),
    ("repr with a lone surrogate", SurrogateRepr, "\ufffd"),
    ("generator", lambda: (n for n in "a"), "<generator object"),
    ("function", lambda: strictly, "<function strictly"),
    (
        "integer too long for text",
        lambda: 10 ** (sys.get_int_max_str_digits() + 1),
        "<repr raised ValueError>",
    ),
]


@pytest.mark.parametrize(("make", "shown"), [row[1:] for row in HOSTILE], ids=[row[0] for row in HOSTILE])
def test_failing_all_a_value_is_shown_by_its_type_and_repr(make: Callable[[], Any], shown: str) -> None:
    for value in (make(), [make()], {"a": make()}, Point(1, make()), [make(), LONE]):
        text = json.dumps(strictly(encode_json(value)), ensure_ascii=False)
        assert '"repr": "' + shown in text
        assert f'"type": "{type(make()).__module__}.{type(make()).__qualname__}"' in text


@pytest.mark.parametrize("value", [DumpsAnother(), [DumpsAnother(), LONE]])
def test_a_conversion_that_leads_nowhere_ends(value: Any) -> None:
    assert "DumpsAnother" in json.dumps(strictly(encode_json(value)))


def test_a_repr_is_bounded() -> None:
    shown = strictly(encode_json(LongRepr()))["repr"]
    assert len(shown) == REPR_LIMIT + 1
    assert shown.endswith("x…")


def test_a_key_without_a_repr() -> None:
    assert strictly(encode_json({RaisingKey(): 1})) == {"<repr raised RuntimeError>": 1}


@pytest.mark.parametrize("slow", [False, True])
def test_keys_that_become_the_same_text_do_not_break_anything(slow: bool) -> None:
    value = {1: "a", "1": "b", **({LONE: 1} if slow else {})}
    assert strictly(encode_json(value))["1"] == "b"


# -- cycles and limits -----------------------------------------------------------------------------


def cycle_of_lists() -> Any:
    value: list[Any] = [1]
    value.append({"deep": (value,)})
    return value


def cycle_of_dicts() -> Any:
    value: dict[str, Any] = {}
    value["me"] = [value]
    return value


def cycle_of_dataclasses() -> Any:
    value = Point(1)
    value.y = value
    return value


def cycle_of_structs() -> Any:
    value = Record(1)
    value.y = [value]
    return value


def cycle_behind_a_mapping() -> Any:
    value = Lookup()
    value._data["me"] = value
    return value


def cycle_of_arrays() -> Any:
    value = np.array([None], dtype=object)
    value[0] = {"me": value}
    return value


CYCLES = [
    cycle_of_lists,
    cycle_of_dicts,
    cycle_of_dataclasses,
    cycle_of_structs,
    cycle_behind_a_mapping,
    cycle_of_arrays,
]


@pytest.mark.parametrize("make", CYCLES)
def test_a_value_that_contains_itself_is_refused(make: Callable[[], Any]) -> None:
    with pytest.raises(NotSerialisable, match="contains itself"):
        encode_json(make())
    with pytest.raises(NotSerialisable, match="contains itself"):
        EventEncoder().encode(CheckpointEvent("c", [LONE, make()]))


def test_the_same_value_twice_is_no_cycle() -> None:
    shared = {"a": [1]}
    assert strictly(encode_json([shared, shared, (shared, [shared]), LONE]))[0] == shared


def nested(levels: int, kind: str) -> Any:
    value: Any = [] if kind == "list" else {}
    for number in range(levels - 1):
        as_list = kind == "list" or (kind == "mixed" and number % 2)
        value = [value] if as_list else {"a": value}
    return value


@pytest.mark.parametrize("slow", [False, True])
@pytest.mark.parametrize("kind", ["list", "dict", "mixed"])
def test_the_depth_that_is_allowed(kind: str, slow: bool) -> None:
    def value(levels: int) -> Any:
        return [nested(levels - 1, kind), LONE] if slow else nested(levels, kind)

    encode_json(value(MAX_DEPTH))
    event = EventEncoder().encode(CustomEvent("custom:a", value(MAX_DEPTH)))
    decode_event(event.json + b"}")
    for levels in (MAX_DEPTH + 1, 5000, 100_000):
        with pytest.raises(EventTooLarge, match=r"deeper than 50[01] levels"):
            encode_json(value(levels))
        with pytest.raises(EventTooLarge, match="levels"):
            EventEncoder().encode(CustomEvent("custom:a", value(levels)))


def test_a_small_value_has_to_keep_a_small_limit() -> None:
    encode_json(nested(5, "list"), max_depth=5)
    with pytest.raises(EventTooLarge, match="deeper than 5 levels"):
        encode_json(nested(6, "list"), max_depth=5)
    encode_json("x" * 98, max_bytes=100)
    with pytest.raises(EventTooLarge, match="101 bytes of JSON; at most 100"):
        encode_json("x" * 99, max_bytes=100)


def test_brackets_in_strings_are_no_depth() -> None:
    value = ['["', "{" * 600, '\\"[' * 600, "\\"]
    assert strictly(encode_json(value)) == value


@pytest.mark.parametrize("make", [lambda n: TokenEvent("x" * n), lambda n: CustomEvent("custom:a", "x" * n)])
@pytest.mark.parametrize("limit", [300, 5000, MAX_EVENT_BYTES])
def test_the_size_that_is_allowed(make: Callable[[int], Event], limit: int) -> None:
    encoder = EventEncoder(limit)
    overhead = len(encoder.encode(make(0)).json) + 1
    encoder.encode(make(limit - overhead))
    with pytest.raises(EventTooLarge, match="at most"):
        encoder.encode(make(limit - overhead + 1))


@pytest.mark.parametrize("limit", [300, 5000, MAX_EVENT_BYTES])
def test_the_short_way_for_tokens_keeps_the_same_limit(limit: int) -> None:
    encoder = EventEncoder(limit)
    overhead = len(encoder.encode_token("").json) + 1
    encoder.encode_token("x" * (limit - overhead))
    with pytest.raises(EventTooLarge, match="at most"):
        encoder.encode_token("x" * (limit - overhead + 1))


@pytest.mark.parametrize("content", ["", "a", 'q"\\\n\u2028', LONE, "🙂", "x" * 5000])
@pytest.mark.parametrize("reason", [None, "stop", LONE])
def test_the_short_way_for_tokens_gives_the_same_json(content: str, reason: str | None) -> None:
    short = strictly(EventEncoder().encode_token(content, reason).json + b"}")
    long = strictly(EventEncoder().encode(TokenEvent(content, reason)).json + b"}")
    assert short.pop("timestamp").endswith("Z")
    assert long.pop("timestamp").endswith("Z")
    assert short == long


def test_a_deep_stack_is_told_apart_from_a_deep_value() -> None:
    """A thread whose own stack is nearly full gets an error of ours, and no crash."""

    def descend(levels: int) -> bytes:
        return descend(levels - 1) if levels else encode_json(nested(400, "list"))

    try:
        assert strictly(descend(700)) == nested(400, "list")
    except EventTooLarge as error:
        assert "stack" in str(error)  # noqa: PT017 - either is right, and it depends on the caller's stack


# -- in an execution -------------------------------------------------------------------------------


def test_what_is_refused_was_not_sent_and_what_follows_is_whole() -> None:
    context = StreamContext("run-1")
    out = Exit(context, encoder=EventEncoder(1000))
    for bad, error in (
        (cycle_of_lists(), NotSerialisable),
        ("x" * 1000, EventTooLarge),
        (nested(501, "list"), EventTooLarge),
    ):
        with pytest.raises(error):
            context.sync_checkpoint("c", bad)
        with pytest.raises(error):
            context.sync_emit("custom:c", bad)
    with pytest.raises(EventTooLarge):
        context.sync_emit_token("x" * 1000)
    context.sync_emit_token("fine")
    [event] = out.take()
    assert strictly(event.json)["sequence"] == 1  # type: ignore[union-attr]


def test_mutation_after_the_call_changes_nothing() -> None:
    context = StreamContext("run-1")
    out = Exit(context, encoder=EventEncoder())
    data, array = {"a": [1]}, np.zeros(2)
    model = Model(name="n", inner=Inner(when=MOMENT.date(), path=pathlib.Path("/x")))
    context.sync_checkpoint("c", data)
    context.sync_emit("mine", data, more=data["a"])
    context.sync_emit("array", {"array": array})
    context.sync_emit("model", {"model": model})
    data["a"].append(2)
    array[:] = 9
    model.name = "changed"
    got = [strictly(event.json)["data"] for event in out.take()]  # type: ignore[union-attr]
    assert got[:3] == [{"a": [1]}, {"a": [1], "more": [1]}, {"array": [0.0, 0.0]}]
    assert got[3]["model"]["name"] == "n"


def test_in_the_library_the_very_objects_arrive() -> None:
    context = StreamContext("run-1")
    data = {"anything": object()}
    context.sync_checkpoint("c", data)
    context.sync_emit("mine", data)
    assert all(event.data is data for event in context.drain_queued_events())  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "event",
    [
        ProgressEvent("a", 0.5),
        StepEvent("n", 1.5, ["a"], ["b"], namespace=["s"]),
        TokenEvent("a", "stop", "node", ["ns"], "id"),
    ],
    ids=lambda event: event.type,
)
def test_unset_fields_are_left_out_and_set_ones_return(event: Event) -> None:
    encoded = EventEncoder().encode(event)
    fields = strictly(encoded.json + b"}")
    assert None not in fields.values()
    assert "sequence" not in fields
    assert encoded.decode() == event
