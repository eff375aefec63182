"""Whatever an agent emits or returns: valid JSON, the same by every parser, and back again."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import pathlib
from typing import Any

import msgspec
import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dockrion_events import (
    EVENT_CLASSES,
    CancelledEvent,
    CheckpointEvent,
    CompleteEvent,
    CustomEvent,
    ErrorEvent,
    Event,
    EventEncoder,
    Exit,
    HeartbeatEvent,
    MessageEvent,
    ProgressEvent,
    ReasoningEvent,
    StartedEvent,
    StepEvent,
    StepStartedEvent,
    StreamContext,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UnknownEvent,
    UsageEvent,
    decode_event,
    encode_json,
)
from dockrion_events.forms import as_encoded, envelope

any_text = st.text(st.characters())  # lone surrogates among it
plain_text = st.text(st.characters(exclude_categories=["Cs"]))


@dataclasses.dataclass
class Box:
    content: Any


class Cell(msgspec.Struct):
    content: Any


class Odd:
    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return self.text


leaves = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | any_text
    | st.binary()
    | st.decimals()
    | st.dates()
    | st.datetimes(timezones=st.none() | st.just(datetime.UTC))
    | st.times()
    | st.uuids()
    | st.fractions()
    | st.complex_numbers()
    | st.builds(np.float32, st.floats(width=32))
    | st.builds(np.int64, st.integers(-(2**63), 2**63 - 1))
    | st.builds(np.array, st.lists(st.floats(), max_size=4))
    | st.builds(ValueError, any_text)
    | st.builds(Odd, any_text)
    | st.builds(pathlib.PurePosixPath, plain_text)
    | st.frozensets(st.integers() | any_text, max_size=3)
)
keys = any_text | st.integers() | st.floats() | st.booleans() | st.none() | st.tuples(st.integers(), any_text)
values = st.recursive(
    leaves,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.tuples(inner, inner)
        | st.dictionaries(keys, inner, max_size=4)
        | st.builds(Box, inner)
        | st.builds(Cell, inner)
    ),
    max_leaves=25,
)

finite = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | finite | plain_text,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(plain_text, inner, max_size=4),
    max_leaves=25,
)

many = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def strictly(data: bytes) -> Any:
    def refuse(constant: str) -> Any:
        raise AssertionError(f"{constant} is not JSON")

    text = data.decode("utf-8")
    assert not {"\n", "\r"} & set(text)
    return json.loads(text, parse_constant=refuse)


def same(one: Any, other: Any) -> bool:
    """Compare parsed JSON; a number may have been read as an integer by one and a float by the other."""
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=1e-15) or one == other
    return bool(one == other)


@many
@given(values)
def test_any_value_is_json_to_every_parser(value: Any) -> None:
    data = encode_json(value)
    assert same(strictly(data), msgspec.json.decode(data))


@many
@given(values)
def test_both_roads_give_the_same(value: Any) -> None:
    """A lone surrogate beside a value sends both along the slow road."""
    try:
        quick = msgspec.json.decode(encode_json([value, "\ufffd"]))
        slow = msgspec.json.decode(encode_json([value, "\ud800"]))
    except msgspec.DecodeError as error:  # pragma: no cover
        raise AssertionError("not JSON") from error
    assert same(quick, slow)


@many
@given(json_values)
def test_json_comes_back_as_it_was(value: Any) -> None:
    assert same(msgspec.json.decode(encode_json(value)), value)
    event = EventEncoder().encode(CheckpointEvent("c", value)).decode()
    assert same(event.data, value)  # type: ignore[attr-defined]


@many
@given(values)
def test_any_value_can_be_emitted_and_returned(value: Any) -> None:
    context = StreamContext("run-1")
    out = Exit(context, encoder=EventEncoder())
    context.sync_emit_token(value)
    context.sync_checkpoint("c", value)
    context.sync_emit("mine", value)
    context.sync_emit("mine", more=value)
    items = out.take(out.encoded(CompleteEvent(value, 1.0, {})))
    events = [decode_event(item.json) for item in items]
    assert [event.type for event in events] == [
        "token",
        "checkpoint",
        "custom:mine",
        "custom:mine",
        "complete",
    ]
    assert [strictly(item.json)["sequence"] for item in items] == [1, 2, 3, 4, 5]


optional_text = st.none() | plain_text
paths = st.none() | st.lists(plain_text, max_size=3)
counts = st.integers(0, 2**53)
objects = st.dictionaries(plain_text, json_values, max_size=3)
moments = st.datetimes(timezones=st.just(datetime.UTC))
about = {
    "timestamp": moments,
    "run_id": optional_text,
    "request_id": optional_text,
    "sequence": counts,
}
events: st.SearchStrategy[Event] = st.one_of(
    st.builds(StartedEvent, plain_text, optional_text, **about),
    st.builds(TokenEvent, plain_text, optional_text, optional_text, paths, optional_text, **about),
    st.builds(StepEvent, plain_text, st.none() | finite, paths, paths, paths, **about),
    st.builds(ProgressEvent, plain_text, st.floats(0, 1), optional_text, **about),
    st.builds(CheckpointEvent, plain_text, json_values, **about),
    st.builds(ReasoningEvent, plain_text, optional_text, **about),
    st.builds(ToolCallEvent, plain_text, plain_text, objects, st.none(), optional_text, **about),
    st.builds(ToolCallEvent, plain_text, plain_text, st.none(), plain_text, optional_text, **about),
    st.builds(ToolResultEvent, plain_text, plain_text, json_values, st.booleans(), **about),
    st.builds(UsageEvent, counts, counts, st.none() | counts, st.none() | objects, optional_text, **about),
    st.builds(
        MessageEvent, plain_text, plain_text, st.sampled_from(["start", "end"]), optional_text, **about
    ),
    st.builds(StepStartedEvent, plain_text, paths, **about),
    st.builds(HeartbeatEvent, **about),
    st.builds(CustomEvent, st.from_regex(r"\Acustom:[A-Za-z_][A-Za-z0-9_.-]{0,63}\Z"), json_values, **about),
    st.builds(CompleteEvent, json_values, finite, objects, **about),
    st.builds(ErrorEvent, plain_text, plain_text, json_values, **about),
    st.builds(CancelledEvent, optional_text, **about),
)


@many
@given(events)
def test_every_event_survives_the_wire(event: Event) -> None:
    again = decode_event(encode_json(event))
    assert type(again) is type(event)
    assert same(msgspec.structs.asdict(again), msgspec.structs.asdict(event))
    fields = strictly(encode_json(event))
    assert fields["type"] == event.type
    if not isinstance(event, CheckpointEvent | CustomEvent | ToolResultEvent | CompleteEvent):
        assert None not in fields.values()


@given(plain_text, st.integers(0, 2**62))
def test_any_identifier_and_number_fit_the_envelope(identifier: str, sequence: int) -> None:
    [event] = as_encoded([EventEncoder().encode_token("a")], envelope("run_id", identifier), sequence)
    decoded = event.decode()
    assert (decoded.run_id, decoded.sequence, decoded.content) == (identifier, sequence + 1, "a")


known = set(EVENT_CLASSES)


@given(plain_text, st.dictionaries(plain_text, json_values, max_size=4))
def test_a_type_from_the_future_is_an_unknown_event(kind: str, fields: dict[str, Any]) -> None:
    reserved = {"type", "timestamp", "request_id", "run_id", "sequence"}
    if kind in known or kind.startswith("custom:"):
        return
    fields = {key: value for key, value in fields.items() if key not in reserved}
    event = decode_event(encode_json({"type": kind, "sequence": 3, "run_id": "r", **fields}))
    assert isinstance(event, UnknownEvent)
    assert (event.type, event.sequence, event.run_id) == (kind, 3, "r")
    assert same(event.fields, fields)
