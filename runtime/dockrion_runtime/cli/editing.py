"""Changes to a Dockfile's text that leave every other character where it is.

A YAML library that loads and dumps rewrites what it does not keep: the spaces that align values, the
inside of flow mappings, line ends. So ruamel.yaml only says where each node stands, and text is put there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final

from ruamel.yaml import YAML
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from dockrion_sdk import DockfileError
from dockrion_sdk.dockfile.read import parse_document

from .spelling import flow

Path = tuple[str, ...]
"""The keys that lead to a value, the outermost first."""

_BOM: Final = "\ufeff"


class NotEditable(Exception):
    """The text is laid out in a way that cannot be changed safely; it names the place."""


class _Misplaced(Exception):
    """Something does not stand where it usually does."""


def with_value(text: str, path: Path, value: Any) -> str:
    """Return ``text`` with ``value`` at ``path``; sections that are not there are made.

    A value that was there is replaced, the comment behind it kept. Raises `NotEditable`.
    """
    return _checked(text, path, value, lambda edit: edit.set(path, value))


def with_item(text: str, path: Path, item: Any) -> str:
    """Return ``text`` with ``item`` as the last one of the list at ``path``. Raises `NotEditable`."""
    items = [*(value_at(parse_document(text).tree, path) or []), item]
    return _checked(text, path, items, lambda edit: edit.append(path, item))


def value_at(tree: Any, path: Path) -> Any:
    """Return what stands at ``path`` in plain values, None where nothing does."""
    for key in path:
        tree = tree.get(key) if isinstance(tree, Mapping) else None
    return tree


def _checked(text: str, path: Path, value: Any, change: Callable[[_Edit], str]) -> str:
    """Make a change and make sure that it is the one that was meant, and the only one."""
    bom = _BOM if text.startswith(_BOM) else ""
    text = text.removeprefix(_BOM)
    wanted = _with(parse_document(text).tree, path, value)
    with suppress(_Misplaced, DockfileError):
        changed = change(_Edit(text))
        if parse_document(changed).tree == wanted:
            return bom + changed
    raise NotEditable(".".join(path))


def _with(tree: Any, path: Path, value: Any) -> Any:
    if not path:
        return list(value) if isinstance(value, tuple) else value
    around = tree if isinstance(tree, Mapping) else {}
    return {**around, path[0]: _with(around.get(path[0]), path[1:], value)}


class _Edit:
    """One change to one text."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._root: Node = YAML(typ="safe", pure=True).compose(text)
        self._newline = "\r\n" if "\r\n" in text else "\n"
        self._step = self._usual_step()

    def set(self, path: Path, value: Any) -> str:
        node = self._root
        for depth, key in enumerate(path, start=1):
            assert isinstance(node, MappingNode)
            entry = next((entry for entry in node.value if entry[0].value == key), None)
            if entry is None:
                return self._inserted(node, path[depth - 1 :], value)
            if depth == len(path) or not isinstance(entry[1], MappingNode):
                return self._replaced(node, entry, path[depth:], value)
            node = entry[1]
        raise _Misplaced

    def append(self, path: Path, item: Any) -> str:
        node: Node | None = self._root
        for key in path:
            entries = node.value if isinstance(node, MappingNode) else []
            node = next((value for name, value in entries if name.value == key), None)
        if not isinstance(node, SequenceNode):
            return self.set(path, [item])
        if not node.value:
            return self._spliced(node.start_mark.index + 1, flow(item))
        end = self._end(node.value[-1])
        if node.flow_style:
            return self._spliced(end, f", {flow(item)}")
        return self._new_lines(end, [" " * node.start_mark.column + f"- {flow(item)}"])

    # -- the ways to put a value -----------------------------------------------------------------

    def _inserted(self, mapping: MappingNode, path: Path, value: Any) -> str:
        if mapping.flow_style:
            entry = f"{path[0]}: {flow(_nested(path[1:], value))}"
            if not mapping.value:
                return self._spliced(mapping.start_mark.index + 1, entry)
            return self._spliced(self._end_of_entry(mapping.value[-1]), f", {entry}")
        column = mapping.value[0][0].start_mark.column
        lines = self._lines(path, value, column)
        end = self._behind_comments(self._end_of_entry(mapping.value[-1]), column)
        if mapping is not self._root:
            return self._new_lines(end, lines)
        if re.search(r"(?m)^\.\.\.\s*$", self._text[end:]):
            return self._new_lines(end, lines)
        body = self._text if self._text.endswith("\n") else self._text + self._newline
        airy = re.search(r"\n\r?\n", body.strip()) and not re.search(r"\n\r?\n$", body)
        return body + self._newline.join([*([""] if airy else []), *lines, ""])

    def _replaced(self, around: MappingNode, entry: tuple[Node, Node], rest: Path, value: Any) -> str:
        key, old = entry
        new = flow(_nested(rest, value))
        if self._is_empty(old):
            if rest and not around.flow_style:
                column = around.value[0][0].start_mark.column + self._step
                return self._new_lines(self._end_of_entry(entry), self._lines(rest, value, column))
            return self._spliced(self._colon(key) + 1, f" {new}")
        if _is_block(old):
            head_end, body_end = self._line_end(self._colon(key)), self._line_end(self._end(old))
            head = self._colon(key) + 1
            return f"{self._text[:head]} {new}{self._text[head:head_end]}{self._text[body_end:]}"
        return self._text[: old.start_mark.index] + new + self._text[self._end(old) :]

    def _lines(self, path: Path, value: Any, column: int) -> list[str]:
        indent = " " * column
        if len(path) > 1:
            return [f"{indent}{path[0]}:", *self._lines(path[1:], value, column + self._step)]
        if isinstance(value, list) and value and isinstance(value[0], Mapping):
            inner = " " * (column + self._step)
            return [f"{indent}{path[0]}:", *(f"{inner}- {flow(item)}" for item in value)]
        return [f"{indent}{path[0]}: {flow(value)}"]

    def _new_lines(self, end: int, lines: list[str]) -> str:
        """Put lines behind the one that ``end`` is in."""
        return self._spliced(self._line_end(end), "".join(self._newline + line for line in lines))

    def _spliced(self, at: int, new: str) -> str:
        return self._text[:at] + new + self._text[at:]

    # -- where things stand ----------------------------------------------------------------------

    def _end(self, node: Node) -> int:
        """Where the last character of a node is behind; what follows may be its comments."""
        if _is_block(node) and isinstance(node, MappingNode):
            return self._end_of_entry(node.value[-1])
        if _is_block(node) and isinstance(node, SequenceNode):
            return self._end(node.value[-1])
        end: int = node.end_mark.index
        start: int = node.start_mark.index
        return start + len(self._text[start:end].rstrip())

    def _end_of_entry(self, entry: tuple[Node, Node]) -> int:
        key, value = entry
        return self._colon(key) + 1 if self._is_empty(value) else self._end(value)

    def _colon(self, key: Node) -> int:
        at = self._text.find(":", key.end_mark.index)
        if at < 0 or self._text[key.end_mark.index : at].strip():
            raise _Misplaced
        return at

    def _line_end(self, at: int) -> int:
        end = self._text.find("\n", at)
        if end < 0:
            return len(self._text)
        return end - 1 if self._text[end - 1] == "\r" else end

    def _behind_comments(self, end: int, column: int) -> int:
        """Where the comments end that stand further in than ``column``: they belong to what is there."""
        further_in = re.compile(rf"(?:\r?\n[ ]*)*\r?\n[ ]{{{column + 1},}}#[^\n]*")
        while comment := further_in.match(self._text, self._line_end(end)):
            end = comment.end() - comment[0].endswith("\r")
        return end

    def _is_empty(self, node: Node) -> bool:
        return isinstance(node, ScalarNode) and node.start_mark.index == node.end_mark.index

    def _usual_step(self) -> int:
        """By how many columns the file indents; 2 where it does not."""
        for _, value in self._root.value:
            if isinstance(value, MappingNode) and _is_block(value):
                return int(value.start_mark.column) or 2
        return 2


def _nested(path: Path, value: Any) -> Any:
    return {path[0]: _nested(path[1:], value)} if path else value


def _is_block(node: Node) -> bool:
    return isinstance(node, MappingNode | SequenceNode) and not node.flow_style
