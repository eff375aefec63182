"""Which events a filter lets pass, and what it says about names that do not exist."""

from __future__ import annotations

from typing import Any

import pytest

from dockrion_events import CONFIGURABLE, MANDATORY, PRESETS, EventsFilter, InvalidFilter

BUILT_IN = (
    "token", "step", "progress", "checkpoint", "reasoning", "tool_call", "tool_result", "usage", "message",
    "step_started", "heartbeat",
)  # fmt: skip
CUSTOM = ("custom:fraud_check", "custom:a")


@pytest.mark.parametrize(
    ("events", "allowed"),
    [
        (None, {*BUILT_IN, *CUSTOM}),
        ("minimal", set()),
        ("chat", {"token", "step", "heartbeat"}),
        ("debug", {*BUILT_IN, *CUSTOM}),
        ("all", {*BUILT_IN, *CUSTOM}),
        ([], set()),
        (["token"], {"token"}),
        (["token", "step", "custom"], {"token", "step", *CUSTOM}),
        (["token", "custom:fraud_check"], {"token", "custom:fraud_check"}),
        (("progress", "progress"), {"progress"}),
        ({"checkpoint"}, {"checkpoint"}),
        (["step_started", "usage"], {"step_started", "usage"}),
        ((name for name in ("token", "heartbeat")), {"token", "heartbeat"}),
        (["started", "complete", "error", "cancelled"], set()),
    ],
)
def test_what_passes(events: Any, allowed: set[str]) -> None:
    events_filter = EventsFilter(events)
    assert {name for name in (*BUILT_IN, *CUSTOM) if events_filter.is_allowed(name)} == allowed
    assert all(events_filter.is_allowed(name) for name in MANDATORY)


def test_one_custom_name_is_no_prefix_of_another() -> None:
    events_filter = EventsFilter(["custom:fraud"])
    assert not events_filter.is_allowed("custom:fraud_check")
    assert not events_filter.is_allowed("custom:frau")
    assert not events_filter.is_allowed("fraud")


def test_unknown_types_do_not_pass() -> None:
    assert not EventsFilter().is_allowed("unheard_of")
    assert not EventsFilter().is_allowed("")


@pytest.mark.parametrize(
    ("events", "message"),
    [
        ("chatt", "unknown preset 'chatt'; did you mean 'chat'?; valid presets: minimal, chat, debug, all"),
        ("", "unknown preset ''; valid presets"),
        ("CHAT", "valid presets: minimal, chat, debug, all"),
        ("token", r"to allow one event, write a list: \[token\]"),
        ("custom:fraud", r"to allow one event, write a list: \[custom:fraud\]"),
        (["tokn"], "unknown event 'tokn'; did you mean 'token'?; valid events: token, step, progress"),
        (["tool_calls"], "did you mean 'tool_call'?; valid events: token"),
        (["fraud_check"], "an event of the agent's own is written 'custom:fraud_check'"),
        (["chat"], "'chat' is a preset and stands alone"),
        (["token", ""], "unknown event ''"),
        (["custom:"], "invalid custom event 'custom:'"),
        (["custom:a b"], "invalid custom event 'custom:a b'"),
        (["custom:a\nb"], "invalid custom event"),
        (["custom:a\n"], "invalid custom event"),
        (["custom:1a"], "begins with a letter or '_'"),
        (["custom:" + "a" * 65], "up to 64"),
        ([5], "named by a string, not 5"),
        ([None], "named by a string, not None"),
        ([["token"]], "named by a string"),
        (5, "or a list of event types, not int"),
        (b"chat", "named by a string, not 99"),
    ],
)
def test_names_that_do_not_exist(events: Any, message: str) -> None:
    with pytest.raises(InvalidFilter, match=message.replace("?;", r"\?;")):
        EventsFilter(events)


def test_the_longest_name_is_allowed() -> None:
    assert EventsFilter(["custom:" + "a" * 64]).is_allowed("custom:" + "a" * 64)


def test_the_presets() -> None:
    assert PRESETS == {
        "minimal": (),
        "chat": ("token", "step", "heartbeat"),
        "debug": CONFIGURABLE,
        "all": CONFIGURABLE,
    }


def test_filters_are_values() -> None:
    assert EventsFilter("debug") == EventsFilter() == EventsFilter(list(CONFIGURABLE))
    assert EventsFilter("chat") != EventsFilter("minimal")
    assert EventsFilter("chat") != "chat"
    assert len({EventsFilter("chat"), EventsFilter(["heartbeat", "step", "token"])}) == 1


def test_allowed_is_in_canonical_order() -> None:
    events = EventsFilter(["custom:z", "step", "custom:a", "token", "error"])
    assert events.allowed == ("token", "step", "custom:a", "custom:z")
    assert repr(events) == "EventsFilter(['token', 'step', 'custom:a', 'custom:z'])"


@pytest.mark.parametrize(
    ("events", "any_custom"),
    [(None, True), (["custom"], True), (["custom:a"], True), (["token"], False), ("chat", False)],
)
def test_whether_any_custom_event_may_pass(events: Any, any_custom: bool) -> None:
    assert EventsFilter(events).allows_any_custom() is any_custom
