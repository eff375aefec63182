"""Schemas of payloads: bounded in time, with faults that say where, and nothing is fetched."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from dockrion_sdk.json_schema import Schema, SchemaError, dangers

CHAT = {
    "type": "object",
    "required": ["messages"],
    "additionalProperties": False,
    "properties": {
        "messages": {"type": "array", "items": {"$ref": "#/$defs/message"}},
        "tags": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
    },
    "$defs": {
        "message": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": {"enum": ["user", "ai"]}, "content": {"type": "string"}},
        }
    },
}


def told(schema: dict[str, Any], value: Any) -> list[tuple[str, str]]:
    return [(".".join(map(str, fault.path)), fault.message) for fault in Schema(schema).faults(value)]


@pytest.mark.parametrize(
    ("schema", "value", "faults"),
    [
        (CHAT, {"messages": []}, []),
        (CHAT, {}, [("", '"messages" is a required property')]),
        (
            CHAT,
            {"messages": [{"role": "x", "content": "hi"}, 1], "more": 1},
            [
                ("", "Additional properties are not allowed ('more' was unexpected)"),
                ("messages.0.role", '"x" is not one of "user" or "ai"'),
                ("messages.1", '1 is not of type "object"'),
            ],
        ),
        (CHAT, {"messages": [], "tags": ["a", 1]}, [("tags.1", '1 is not of type "string"')]),
        (
            CHAT,
            {"messages": [], "tags": 1.5},
            [("tags", "1.5 is not valid under any of the given schemas")],
        ),
        ({"properties": {"a": False}}, {"a": {}}, [("a", "the object is not allowed here")]),
        ({"not": {"type": "integer"}}, 10**30, [("", f"{10**30} fits a schema that it must not fit")]),
        (
            {"oneOf": [{"type": "integer"}, {"type": "number"}]},
            1,
            [("", "1 fits more than one of the given schemas")],
        ),
        ({"if": {"const": "ab"}, "then": {"minLength": 3}}, "ab", [
            ("", '"ab" is shorter than 3 characters'),
        ]),
        ({"prefixItems": [{"type": "string"}], "items": {"type": "null"}}, [1, 2], [
            ("0", '1 is not of type "string"'), ("1", '2 is not of type "null"'),
        ]),
        ({"propertyNames": {"maxLength": 1}}, {"ab": 1}, [("", 'the name "ab" is not allowed')]),
        ({"additionalProperties": {"type": "null"}}, {"a/b": 1}, [("a/b", '1 is not of type "null"')]),
        ({"unevaluatedProperties": False}, {"a": 1}, [("", "the object does not fit the schema")]),
        ({"allOf": [{"$ref": "#"}], "type": "string"}, 1, [
            ("", '1 is not of type "string"'), ("", "1 does not fit the schema at #/allOf/0"),
        ]),
    ],
)  # fmt: skip
def test_each_fault_has_its_path(schema: dict[str, Any], value: Any, faults: list[tuple[str, str]]) -> None:
    assert told(schema, value) == faults


@pytest.mark.parametrize(
    ("items", "unique"),
    [
        ([1, 2, 3], True),
        ([1, 2, 1], False),
        ([1, True, "1", None, [], {}], True),
        ([1, 1.0], False),
        ([{"a": 1, "b": [1.0]}, {"b": [1], "a": 1.0}], False),
        ([{"a": 1}, {"a": True}], True),
        ([10**30, 10**30 + 1], True),
        ([[10**30], [10**30]], False),
        (["a", "b", "a"], False),
        ([2**53 + 1, float(2**53)], True),
    ],
)
def test_unique_items(items: list[Any], unique: bool) -> None:
    assert Schema({"uniqueItems": True}).is_valid(items) == unique
    assert Schema({"uniqueItems": False}).is_valid(items)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.sampled_from(["", "a", "ab", 0.5]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=6,
)
_SCHEMAS = st.recursive(
    st.sampled_from(
        [
            {}, True, False, {"type": "string"}, {"type": ["integer", "null"]}, {"const": 1}, {"minimum": 0},
            {"enum": ["a", 1]}, {"maxLength": 1}, {"uniqueItems": True}, {"required": ["a"]},
            {"pattern": "^a"},
        ]
    ),
    lambda inner: st.one_of(
        st.fixed_dictionaries({"properties": st.dictionaries(st.sampled_from("abc"), inner, max_size=2)}),
        st.fixed_dictionaries({"items": inner}),
        st.fixed_dictionaries({"anyOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"oneOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"allOf": st.lists(inner, min_size=1, max_size=2)}),
        st.fixed_dictionaries({"not": inner}),
        st.fixed_dictionaries({"prefixItems": st.lists(inner, min_size=1, max_size=2), "items": inner}),
        st.fixed_dictionaries({"additionalProperties": inner, "properties": st.just({"a": True})}),
    ),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=300, deadline=None)
@given(_SCHEMAS.filter(lambda schema: isinstance(schema, dict)), _JSON)
def test_the_verdict_is_that_of_another_implementation(schema: dict[str, Any], value: Any) -> None:
    found = Schema(schema).faults(value)
    assert bool(found) == (not Draft202012Validator(schema).is_valid(value))
    paths = {tuple(fault.path) for fault in found}
    assert all(_at(value, path) for path in paths)


def _at(value: Any, path: tuple[str | int, ...]) -> bool:
    for part in path:
        value = value[part]
    return True


def nested(depth: int, leaf: Any) -> Any:
    for _ in range(depth):
        leaf = {"c": leaf}
    return leaf


_BRANCH = {"type": "object", "properties": {"c": {"$ref": "#/$defs/n"}}, "required": ["c"]}
BOMBS: dict[str, tuple[dict[str, Any], Callable[[], Any]]] = {
    "a fault in each item": (CHAT, lambda: {"messages": [1] * 5_000_000}),
    "faults within anyOf": (CHAT, lambda: {"messages": [], "tags": [1] * 2_000_000}),
    "a fault in the last item": (
        CHAT,
        lambda: {"messages": [{"role": "ai", "content": ""}] * 500_000 + [1]},
    ),
    "a backtracking pattern": ({"pattern": r"^(\w+\s?)+$"}, lambda: "a" * 2_000_000 + "!"),
    "a pattern whose automaton explodes": ({"pattern": "[ab]*a[ab]{500}c"}, lambda: "ab" * 2_000_000),
    "many texts for such a pattern": (
        {"items": {"pattern": "[ab]*a[ab]{500}c"}},
        lambda: ["ab" * 50_000] * 200,
    ),
    "unique integers": ({"uniqueItems": True}, lambda: list(range(1_000_000))),
    "unique large integers": ({"uniqueItems": True}, lambda: [10**25 + i for i in range(300_000)]),
    "unique integers of one hash": (
        {"uniqueItems": True},
        lambda: [i * (2**61 - 1) for i in range(300_000)],
    ),
    "unique objects": ({"uniqueItems": True}, lambda: [{"a": i} for i in range(1_000_000)]),
    "branches that both recurse": (
        {"$ref": "#/$defs/n", "$defs": {"n": {"anyOf": [_BRANCH, {**_BRANCH, "minProperties": 1}]}}},
        lambda: nested(500, 1),
    ),
    "many names": ({"additionalProperties": False}, lambda: {f"k{i}": i for i in range(500_000)}),
    "a long text of the wrong type": ({"type": "integer"}, lambda: "x" * 10_000_000),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_no_value_takes_long(bomb: str) -> None:
    document, make = BOMBS[bomb]
    schema, value = Schema(document), make()
    begun = time.process_time()
    try:
        found = schema.faults(value)
    except TimeoutError:
        found = []
    assert time.process_time() - begun < 2.5  # 1 s on a machine that is not busy
    assert len(found) <= 20
    assert all(len(fault.message) <= 301 for fault in found)


@pytest.mark.parametrize(
    ("schema", "path", "words"),
    [
        ({"$ref": "http://127.0.0.1:9/x"}, ("$ref",), "nothing is fetched"),
        (
            {"properties": {"a": {"$ref": "file:///etc/passwd"}}},
            ("properties", "a", "$ref"),
            "nothing is fetched",
        ),
        ({"$defs": {"unused": {"$ref": "other.json"}}}, ("$defs", "unused", "$ref"), "nothing is fetched"),
        (
            {"x-own": {"deep": [{"$ref": "https://e.com/"}]}},
            ("x-own", "deep", 0, "$ref"),
            "nothing is fetched",
        ),
        ({"$id": "http://e.com/a", "items": {"$ref": "b"}}, ("items", "$ref"), "nothing is fetched"),
        ({"properties": {"a": {"$ref": "#/$defs/none"}}}, ("properties", "a", "$ref"), "leads to nothing"),
        ({"$defs": {"unused": {"$ref": "#/nowhere"}}}, ("$defs", "unused", "$ref"), "leads to nothing"),
        ({"$ref": "#name"}, ("$ref",), "leads to nothing"),
        ({"items": {"$dynamicRef": "#name"}}, ("items", "$dynamicRef"), "leads to nothing"),
        ({"items": {"pattern": "(?=a)b"}}, ("items", "pattern"), "this pattern is not supported"),
        ({"pattern": r"(a)\1"}, ("pattern",), "this pattern is not supported"),
        ({"pattern": "^.{1,5000}$"}, ("pattern",), "this pattern is too large"),
        ({"patternProperties": {"(?!x)": {}}}, ("patternProperties",), "not supported"),
        ({"properties": {"a": {"type": "strng"}}}, ("properties", "a", "type"), "not valid"),
    ],
)
def test_a_schema_that_cannot_be_used_says_where(
    schema: dict[str, Any], path: tuple[str | int, ...], words: str
) -> None:
    with pytest.raises(SchemaError) as refused:
        Schema(schema)
    assert refused.value.path[: len(path)] == path
    assert words in refused.value.message


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/a~1b", "$defs": {"a/b": {"type": "string"}}},
        {"$ref": "#/$defs/a%20b", "$defs": {"a b": {"type": "string"}}},
        {"$ref": "#name", "$defs": {"x": {"$anchor": "name", "type": "string"}}},
        {"$id": "http://e.com/a", "$ref": "b", "$defs": {"b": {"$id": "b", "type": "string"}}},
        {"properties": {"$ref": {"type": "string"}}, "type": "string"},
        {"enum": ["a", {"$ref": "http://e.com/"}], "type": "string"},
    ],
)
def test_references_within_are_resolved(schema: dict[str, Any]) -> None:
    assert Schema(schema).faults("a") == []
    assert Schema(schema).faults(1)


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"items": {"pattern": "^.{1,1000}$"}}, ("items", "pattern")),
        ({"patternProperties": {"^.{1,1000}$": {}}}, ("patternProperties", "^.{1,1000}$")),
        ({"properties": {"a": {"uniqueItems": True}}}, ("properties", "a", "uniqueItems")),
        ({"pattern": "^.{1,1000}$", "maxLength": 1000}, None),
        ({"pattern": r"^[^@\s]+@[^@\s]+$"}, None),
        ({"uniqueItems": True, "items": {"type": "string"}}, None),
        ({"uniqueItems": True, "maxItems": 10}, None),
    ],
)
def test_costly_places_are_named(schema: dict[str, Any], path: tuple[str, ...] | None) -> None:
    assert [found[0] for found in dangers(schema)] == ([] if path is None else [path])
