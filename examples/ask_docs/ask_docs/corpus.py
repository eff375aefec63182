"""A folder of Markdown and text files, cut into sections of a size that fits a prompt."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# pydantic, which derives the graph's JSON Schema, wants this one before Python 3.12.
from typing_extensions import TypedDict

ANY_DOCUMENT = ("**/*.md", "**/*.markdown", "**/*.txt")
SECTION_CHARS = 900
MAX_FILE_BYTES = 1_000_000

_HEADING = re.compile(r"(#{1,6})\s+(.+?)\s*#*\s*$")
_FENCE = re.compile(r"\s*(`{3,}(?!.*`)|~{3,})")
_BLOCK_START = re.compile(r"(?:[-*+]|\d+[.)])\s|\|")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)


class Section(TypedDict):
    """A piece of a document. ``heading`` is the trail of headings above it; it starts at ``line``, from 1."""

    path: str
    heading: str
    line: int
    text: str


def load_corpus(root: Path, patterns: Iterable[str] = ANY_DOCUMENT) -> list[Section]:
    """The sections of every file under ``root`` that matches a pattern, by path, then in document order.

    Paths are relative to ``root``. Hidden files and folders, and files over one megabyte, are passed over.
    """
    files = {file for pattern in patterns for file in root.glob(pattern)}
    return [
        section
        for file in sorted(files)
        if _is_document(file, root)
        for section in split_document(
            file.read_text(encoding="utf-8", errors="replace"), file.relative_to(root).as_posix()
        )
    ]


def split_document(text: str, path: str) -> list[Section]:
    """The sections of one document, cut at ``#`` headings and, beyond 900 characters, between blocks.

    A block is a paragraph, a list item with what belongs to it, a table row, or a code block together with
    the paragraph that introduces it.
    """
    front_matter = _FRONT_MATTER.match(text)
    if front_matter:
        text = "\n" * front_matter[0].count("\n") + text[front_matter.end() :]
    return [
        Section(path=path, heading=heading or Path(path).name, line=line, text=piece)
        for heading, blocks in _headed_blocks(text)
        for line, piece in _packed(blocks)
    ]


def _is_document(file: Path, root: Path) -> bool:
    hidden = any(part.startswith(".") for part in file.relative_to(root).parts)
    return file.is_file() and not hidden and file.stat().st_size <= MAX_FILE_BYTES


def _headed_blocks(text: str) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Each heading trail with its blocks, a block being (line number, text)."""
    trail: list[tuple[int, str]] = []
    lines: list[tuple[int, str]] = []
    fence = ""
    for number, line in enumerate(text.splitlines(), start=1):
        fence = _fence_after(line, fence)
        heading = None if fence else _HEADING.match(line)
        if heading is None:
            lines.append((number, line))
            continue
        yield " › ".join(title for _, title in trail), _blocks(lines)
        lines = []
        level = len(heading[1])
        trail = [*((depth, title) for depth, title in trail if depth < level), (level, heading[2])]
    yield " › ".join(title for _, title in trail), _blocks(lines)


def _blocks(lines: list[tuple[int, str]]) -> list[tuple[int, str]]:
    blocks: list[tuple[int, list[str]]] = []
    fence = ""
    after_blank = True
    for number, line in lines:
        opening = not fence and _FENCE.match(line) is not None
        if not line.strip() and not fence:
            after_blank = True
            continue
        starts_block = not fence and (after_blank or _BLOCK_START.match(line) is not None)
        continues_block = blocks and (opening or line.startswith("  "))
        if starts_block and not continues_block:
            blocks.append((number, [line]))
        else:
            blocks[-1][1].extend(["", line] if after_blank else [line])
        fence = _fence_after(line, fence)
        after_blank = False
    return [(number, "\n".join(block)) for number, block in blocks]


def _fence_after(line: str, fence: str) -> str:
    """The code fence that is open after ``line``, given the one open before it; empty for none."""
    mark = _FENCE.match(line)
    if mark is None:
        return fence
    if not fence:
        return mark[1]
    closes = mark[1].startswith(fence) and not line.strip().strip(fence[0])
    return "" if closes else fence


def _packed(blocks: list[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Neighbouring blocks put together while they fit."""
    start, pending = 0, ""
    for line, block in blocks:
        if pending and len(pending) + len(block) > SECTION_CHARS:
            yield start, pending
            pending = ""
        if not pending:
            start, pending = line, block
        else:
            same_table = block.startswith("|") and pending.rpartition("\n")[2].startswith("|")
            pending += ("\n" if same_table else "\n\n") + block
    if pending:
        yield start, pending
