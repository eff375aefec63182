"""Reads the YAML of a Dockfile: one mapping, nothing clever, and every value with its line.

The parser's events are turned into plain dicts, lists and scalars here, without recursion, so that anchors,
aliases, tags, duplicate keys and depth are refused before anything is built from them. Scalars follow the
core schema of YAML 1.2 (https://yaml.org/spec/1.2.2/#103-core-schema); keys are always text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    NodeEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
)

from .errors import DockfileError, Loc, Problem, dotted

MAX_BYTES = 1024 * 1024
MAX_DEPTH = 64

_CONSTANTS: dict[str, Any] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
    **{sign + name: float(sign + "inf") for sign in ("", "+", "-") for name in (".inf", ".Inf", ".INF")},
}
_INT = re.compile(r"[-+]?[0-9]{1,400}")
_BASED_INT = re.compile(r"0o[0-7]{1,400}|0x[0-9a-fA-F]{1,400}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")


class Mark(NamedTuple):
    """A place in the file, line and column counting from 1."""

    line: int
    column: int


@dataclass(frozen=True)
class Document:
    """The content of one file: `tree` of plain values, and where each location in it is written."""

    file: str
    tree: dict[str, Any]
    marks: dict[Loc, Mark]

    def mark(self, loc: Loc) -> Mark | None:
        """Where a location is written, or the nearest one around it that is in the file."""
        while loc and loc not in self.marks:
            loc = loc[:-1]
        return self.marks.get(loc)


def read_document(path: Path, file: str) -> Document:
    """Read the Dockfile at `path`; `file` is what messages call it. Raises DockfileError."""
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_BYTES + 1)
    except OSError as error:
        raise DockfileError(file, [Problem("", f"cannot be read: {error.strerror or error}")]) from error
    if len(raw) > MAX_BYTES:
        raise DockfileError(file, [Problem("", f"is larger than {MAX_BYTES} bytes")])
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        problem = Problem("", "is not UTF-8 text", hint="save the file as UTF-8", line=line)
        raise DockfileError(file, [problem]) from None
    return parse_document(text, file)


def parse_document(text: str, file: str = "Dockfile.yaml") -> Document:
    """Build a document from YAML text. Raises DockfileError with the line, and the column where it helps."""
    builder = _Builder()
    try:
        builder.consume(YAML(typ="safe", pure=True).parse(text))
    except _RefusedError as error:
        raise DockfileError(file, [error.problem]) from None
    except YAMLError as error:
        raise DockfileError(file, [_syntax_problem(error, text)]) from None
    if builder.problems:
        raise DockfileError(file, builder.problems)
    if not isinstance(builder.root, dict):
        what = "is empty" if builder.root is None else "does not hold a mapping of keys"
        hint = "`dockrion init NAME` writes one that works"
        raise DockfileError(file, [Problem("", what, hint=hint)])
    return Document(file, builder.root, builder.marks)


def _syntax_problem(error: YAMLError, text: str) -> Problem:
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark or error.context_mark
        message = " ".join(str(part) for part in (error.problem, error.context) if part)
        if mark is None:
            return Problem("", message)
        hint = ""
        if "'\\t'" in message:
            hint = "indent with spaces, not tabs"
        elif "${" in text.split("\n")[min(mark.line, text.count("\n"))]:
            hint = "put quotes around a value that holds ${…}"
        return Problem("", message, hint=hint, line=mark.line + 1, column=mark.column + 1)
    position = getattr(error, "position", None)
    line = text[:position].count("\n") + 1 if isinstance(position, int) else None
    return Problem("", "holds a character that YAML does not allow", line=line)


class _RefusedError(Exception):
    def __init__(self, event: Event, message: str, hint: str = "") -> None:
        mark = _mark(event)
        super().__init__(message)
        self.problem = Problem("", message, hint, mark.line, mark.column)


@dataclass
class _Frame:
    loc: Loc
    items: dict[str, Any] | list[Any]
    key: str | None = None
    first_lines: dict[str, int] = field(default_factory=dict)


class _Builder:
    """Turns parser events into values, with a stack of its own instead of the interpreter's."""

    def __init__(self) -> None:
        self.root: Any = None
        self.marks: dict[Loc, Mark] = {}
        self.problems: list[Problem] = []
        self._stack: list[_Frame] = []
        self._documents = 0

    def consume(self, events: Iterable[Event]) -> None:
        for event in events:
            if isinstance(event, DocumentStartEvent):
                self._start_document(event)
            elif isinstance(event, NodeEvent):
                self._node(event)
            elif isinstance(event, MappingEndEvent | SequenceEndEvent):
                self._stack.pop()

    def _start_document(self, event: DocumentStartEvent) -> None:
        self._documents += 1
        if self._documents > 1:
            raise _RefusedError(event, "a second document starts here", "one file holds one Dockfile")
        if event.version and tuple(event.version) != (1, 2):
            raise _RefusedError(event, "only YAML 1.2 is read", "remove the %YAML line")

    def _node(self, event: NodeEvent) -> None:
        if isinstance(event, AliasEvent) or event.anchor is not None:
            raise _RefusedError(
                event, "anchors and aliases (& and *) are not read", "write the value out where it is used"
            )
        if getattr(event, "tag", None) is not None:
            raise _RefusedError(event, "tags (!) are not read", "quote the value if it is text")
        if self._at_key():
            self._take_key(event)
        elif isinstance(event, ScalarEvent):
            self._place(event, _scalar(event))
        else:
            self._open(event, {} if isinstance(event, MappingStartEvent) else [])

    def _at_key(self) -> bool:
        return bool(self._stack) and isinstance(self._stack[-1].items, dict) and self._stack[-1].key is None

    def _take_key(self, event: NodeEvent) -> None:
        if not isinstance(event, ScalarEvent):
            raise _RefusedError(event, "a key must be plain text, not a list or a mapping")
        frame, key, mark = self._stack[-1], _text(event), _mark(event)
        frame.key = key
        loc = (*frame.loc, key)
        self.marks.setdefault(loc, mark)
        if key in frame.first_lines:
            message = f"duplicate key, first given on line {frame.first_lines[key]}"
            self.problems.append(Problem(dotted(loc), message, "keep one of them", mark.line))
        frame.first_lines.setdefault(key, mark.line)

    def _place(self, event: NodeEvent, value: Any) -> Loc:
        """Put a value where the parser stands, and return its location."""
        if not self._stack:
            self.root = value
            return ()
        frame = self._stack[-1]
        if isinstance(frame.items, list):
            loc: Loc = (*frame.loc, len(frame.items))
            self.marks.setdefault(loc, _mark(event))
            frame.items.append(value)
            return loc
        key, frame.key = frame.key or "", None
        frame.items[key] = value
        return (*frame.loc, key)

    def _open(self, event: NodeEvent, items: dict[str, Any] | list[Any]) -> None:
        if len(self._stack) >= MAX_DEPTH:
            raise _RefusedError(event, f"is nested deeper than {MAX_DEPTH} levels")
        if not isinstance(event, MappingStartEvent | SequenceStartEvent):
            raise _RefusedError(event, f"an unexpected {type(event).__name__}")
        self._stack.append(_Frame(self._place(event, items), items))


def _mark(event: Event) -> Mark:
    return Mark(event.start_mark.line + 1, event.start_mark.column + 1)


def _text(event: ScalarEvent) -> str:
    text: str = event.value
    if any("\ud800" <= char <= "\udfff" for char in text):
        raise _RefusedError(event, "holds half of a surrogate pair, which is not a character")
    return text


def _scalar(event: ScalarEvent) -> Any:
    text = _text(event)
    if not event.implicit[0]:  # quoted, or a block: text whatever it looks like
        return text
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED_INT.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
