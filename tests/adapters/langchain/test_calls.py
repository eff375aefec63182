"""Calls of tools in chunks: each piece with its own call's id and name, whatever the model leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langchain_core.messages import AIMessageChunk
from langchain_core.messages.tool import tool_call_chunk

from dockrion_adapters.langchain.calls import StreamedCalls


def told(*chunks: dict[str, Any], rest: bool = True) -> list[tuple[str, str, str]]:
    calls = StreamedCalls()
    pieces = [tuple(piece) for chunk in chunks for piece in calls.pieces([tool_call_chunk(**chunk)])]
    return pieces + ([tuple(piece) for piece in calls.rest("m")] if rest else [])


@pytest.mark.parametrize(
    ("chunks", "pieces"),
    [
        (  # the id and the name once, then the index
            [{"index": 0, "id": "1", "name": "f", "args": ""}, {"index": 0, "args": "{}"}],
            [("1", "f", ""), ("1", "f", "{}")],
        ),
        (  # two at once
            [
                {"index": 0, "id": "1", "name": "f"},
                {"index": 1, "id": "2", "name": "g"},
                {"index": 1, "args": "{"},
                {"index": 0, "args": "{}"},
                {"index": 1, "args": "}"},
            ],
            [("1", "f", ""), ("2", "g", ""), ("2", "g", "{"), ("1", "f", "{}"), ("2", "g", "}")],
        ),
        (  # whole calls without an index
            [{"id": "1", "name": "f", "args": "{}"}, {"id": "2", "name": "f", "args": "{}"}],
            [("1", "f", "{}"), ("2", "f", "{}")],
        ),
        (  # every call at index 0
            [
                {"index": 0, "id": "1", "name": "f", "args": "{}"},
                {"index": 0, "id": "2", "name": "g", "args": "{"},
                {"index": 0, "args": "}"},
            ],
            [("1", "f", "{}"), ("2", "g", "{"), ("2", "g", "}")],
        ),
        (  # the id again and again, as text without an index
            [{"id": "1", "name": "f", "args": "{"}, {"id": "1", "args": "}"}],
            [("1", "f", "{"), ("1", "f", "}")],
        ),
        (  # neither: what goes on is the latest
            [{"id": "1", "name": "f", "args": "{"}, {"args": "}"}],
            [("1", "f", "{"), ("1", "f", "}")],
        ),
        (  # an id that comes late, and an empty one
            [{"index": 0, "name": "f", "id": "", "args": "{"}, {"index": 0, "id": "1", "args": "}"}],
            [("1", "f", "{}")],
        ),
        (  # no id at all
            [{"index": 0, "name": "f", "args": "{"}, {"index": 0, "args": "}"}, {"index": 1, "name": "g"}],
            [("m-call-0", "f", "{}"), ("m-call-1", "g", "")],
        ),
        ([{"index": 0}], []),
    ],
)
def test_what_a_piece_says(chunks: list[dict[str, Any]], pieces: list[tuple[str, str, str]]) -> None:
    filled = [{"id": None, "name": None, "args": None, "index": None, **chunk} for chunk in chunks]
    assert told(*filled) == pieces


def test_nothing_is_told_before_both_id_and_name_are_known() -> None:
    chunk = {"index": 0, "id": "1", "name": None, "args": "{"}
    assert told(chunk, rest=False) == []
    assert told(chunk) == [("1", "", "{")]


names = st.sampled_from(["add", "look_up", "send"])
arguments = st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=8), max_size=3)


@st.composite
def streams(draw: st.DrawFn) -> tuple[list[tuple[str, str, Any]], list[dict[str, Any]]]:
    """Calls, and chunks that make them up: cut anywhere, those of several calls in any order."""
    calls = [(f"id-{i}", draw(names), draw(arguments)) for i in range(draw(st.integers(1, 4)))]
    queues: list[list[dict[str, Any]]] = []
    for place, (identifier, name, values) in enumerate(calls):
        text = json.dumps(values)
        cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=5)))
        parts = [text[a:b] for a, b in zip([0, *cuts], [*cuts, len(text)], strict=True)]
        again = draw(st.booleans())  # models that say the id in every chunk
        queues.append(
            [
                {
                    "index": place,
                    "id": identifier if again or not number else draw(st.sampled_from([None, ""])),
                    "name": None if number else name,
                    "args": part,
                }
                for number, part in enumerate(parts)
            ]
        )
    chunks = []
    while any(queues):
        queue = draw(st.sampled_from([queue for queue in queues if queue]))
        chunks.append(queue.pop(0))
    return calls, chunks


@given(streams())
def test_the_pieces_of_a_call_are_its_arguments_as_langchain_has_them(
    stream: tuple[list[tuple[str, str, Any]], list[dict[str, Any]]],
) -> None:
    calls, chunks = stream
    pieces = told(*chunks)
    for identifier, name, values in calls:
        own = [piece for piece in pieces if piece[0] == identifier]
        assert {piece[1] for piece in own} == {name}
        assert json.loads("".join(piece[2] for piece in own)) == values
    whole = AIMessageChunk("")
    for chunk in chunks:
        whole = whole + AIMessageChunk("", tool_call_chunks=[tool_call_chunk(**chunk)])
    merged = {call["id"]: (call["name"], call["args"]) for call in whole.tool_calls}
    assert merged == {identifier: (name, values) for identifier, name, values in calls}
