"""Reading events: what is known, what is not, and what is no event at all."""

from __future__ import annotations

import datetime

import msgspec
import pytest

from dockrion_events import (
    CustomEvent,
    ErrorEvent,
    HeartbeatEvent,
    TokenEvent,
    UnknownEvent,
    decode_event,
)

TIME = datetime.datetime(2024, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)
COMMON = '"timestamp":"2024-01-02T03:04:05Z","request_id":"r","sequence":2'


@pytest.mark.parametrize("kind", [str, str.encode])
def test_a_known_event(kind: type) -> None:
    event = decode_event(kind(f'{{"type":"token","content":"a",{COMMON}}}'))
    assert event == TokenEvent("a", timestamp=TIME, request_id="r", sequence=2)


def test_the_order_of_fields_is_free_and_the_type_may_come_last() -> None:
    assert decode_event('{"content":"a","sequence":1,"type":"token"}').type == "token"


def test_a_custom_event() -> None:
    event = decode_event(f'{{"type":"custom:fraud_check","data":{{"a":1}},{COMMON}}}')
    assert isinstance(event, CustomEvent)
    assert (event.type, event.name, event.data) == ("custom:fraud_check", "fraud_check", {"a": 1})


def test_a_heartbeat_has_no_number() -> None:
    event = decode_event('{"type":"heartbeat","timestamp":"2024-01-02T03:04:05Z"}')
    assert isinstance(event, HeartbeatEvent)
    assert event.sequence == 0


def test_a_field_from_the_future_is_passed_over() -> None:
    assert decode_event(f'{{"type":"error","error":"e","code":"C","severity":5,{COMMON}}}') == ErrorEvent(
        "e", "C", timestamp=TIME, request_id="r", sequence=2
    )


def test_a_type_from_the_future_is_kept() -> None:
    event = decode_event('{"type":"pause","seconds":5,"why":"rest","run_id":"r"}')
    assert isinstance(event, UnknownEvent)
    assert (event.type, event.run_id, event.sequence) == ("pause", "r", 0)
    assert event.fields == {"seconds": 5, "why": "rest"}


@pytest.mark.parametrize(
    "data",
    ["", "{", "null", "5", "[]", '"token"', "{}", '{"type":5}', '{"type":null}', '{"type":"token"}',
     '{"type":"token","content":5}', '{"type":"token","content":"a","sequence":"1"}', '{"type":"custom:a"}',
     '{"type":"later","sequence":"x"}', '{"type":"later","timestamp":5,"x":1}',
     '{"type":"token","content":"a","timestamp":"yesterday"}',
     "event: token", '{"type":"token","content":"a"} x'],
)  # fmt: skip
def test_what_is_no_event(data: str) -> None:
    with pytest.raises(msgspec.DecodeError):
        decode_event(data)
    with pytest.raises(msgspec.DecodeError):
        decode_event(data.encode())
