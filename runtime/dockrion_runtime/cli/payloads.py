"""The payload that ``-p`` names."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from dockrion_sdk.json_schema import Schema

from ..json_text import decode_json
from ..payload import read_payload
from ..problems import Problem
from .failure import USAGE, Failure

_GROWTH: Final = 1000
"""The caller's own machine holds what the caller sends."""


def payload_of(text: str, schema: Schema | None = None) -> Any:
    """Return the payload of ``-p``, held against a schema if there is one. Raises `Failure`."""
    data = _payload_bytes(text)
    with refused_as_failure():
        return read_payload(data, schema, growth=_GROWTH, name="the payload")


def unchecked_payload_of(text: str) -> Any:
    """Return the payload of ``-p``, any JSON: what the agent takes is not known yet. Raises `Failure`."""
    data = _payload_bytes(text)
    with refused_as_failure():
        if not data or data.isspace():
            raise Problem(400, "INVALID_JSON", "the payload is empty; it has to be JSON")
        return decode_json(data, name="the payload")


@contextmanager
def refused_as_failure() -> Iterator[None]:
    """Raise `Failure` where a payload is refused within."""
    try:
        yield
    except Problem as problem:
        errors = problem.extra.get("errors", [])
        more = [f"{fault['path']}: {fault['message']}" for fault in errors[1:]]
        hint = 'for example -p \'{"query": "…"}\'' if problem.status == 400 else "; ".join(more)
        raise Failure(problem.detail, hint, code=USAGE) from None


def _payload_bytes(text: str) -> bytes:
    """Return the payload that ``-p`` names: the text itself, ``@file`` or ``-`` for stdin."""
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise Failure(
            f"cannot read {text[1:]}: {error.strerror or error}", "-p @FILE names a file", code=USAGE
        ) from None
