"""Whatever a file holds: a Dockfile, or an error of one line per problem; no value of the environment."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from dockrion_sdk.dockfile import (
    CORS,
    Agent,
    APIKeys,
    Auth,
    Dockfile,
    DockfileError,
    Expose,
    IOSchema,
    OptionalSecret,
    Problem,
    Secrets,
    Streaming,
    StreamingEvents,
    load_dockfile,
)

CANARY = "c4n4ry"
SECTIONS = (
    Dockfile,
    Agent,
    IOSchema,
    Expose,
    CORS,
    Streaming,
    StreamingEvents,
    Auth,
    APIKeys,
    Secrets,
    OptionalSecret,
)
KEYS = sorted(
    {key for section in SECTIONS for key in section.model_fields} | {"type", "properties", "pattern"}
)
WORDS = [
    "chat",
    "token",
    "sse",
    "none",
    "api_key",
    "m:f",
    "1.0",
    "8080",
    "true",
    "${C}",
    "x${C}",
    "${C:-d}",
    "${",
    "${D}",
]

scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.sampled_from(WORDS), st.text(max_size=8)
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=20,
)
sections = st.dictionaries(st.sampled_from(KEYS), trees, max_size=4)
documents = st.fixed_dictionaries(
    {"agent": sections},
    optional={
        "expose": sections,
        "streaming": st.fixed_dictionaries({}, optional={"events": sections}),
        "auth": sections,
        "io_schema": sections,
        "secrets": sections,
        "observability": sections,
    },
)


@pytest.fixture(scope="module")
def directory() -> Iterator[Path]:
    with TemporaryDirectory() as made:
        yield Path(made)


def told(directory: Path, raw: bytes) -> str:
    (directory / "Dockfile.yaml").write_bytes(raw)
    problems: tuple[Problem, ...] = ()
    try:
        shown = repr(load_dockfile(directory, env={"C": CANARY}))
    except DockfileError as error:
        shown, problems = str(error), error.problems
    assert len(shown.splitlines()) == max(1, len(problems))
    assert not problems or all(line.startswith(f"{directory}/Dockfile.yaml") for line in shown.splitlines())
    assert shown.replace("\n", "").isprintable()
    return shown + repr(problems)


@settings(max_examples=300, deadline=None)
@given(document=documents)
def test_any_document(directory: Path, document: dict[str, Any]) -> None:
    text = json.dumps(document).replace("NaN", ".nan").replace("Infinity", ".inf")
    assert CANARY not in told(directory, text.encode())


@settings(max_examples=300, deadline=None)
@given(
    raw=st.binary(max_size=64)
    | st.text(alphabet="ab:-?[]{}&*!|>%@`'\"#,\n \t0.~<=\u2028\x85", max_size=40).map(str.encode)
)
@example(b"? \n")
@example(b"a: |2\n")
@example(b"<<: {a: 1}\n")
def test_any_bytes(directory: Path, raw: bytes) -> None:
    assert told(directory, raw)
