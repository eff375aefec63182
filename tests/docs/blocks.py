"""The code blocks of a page, and what is to be done with each; CONTRIBUTING.md says how to mark them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LANGUAGES = {
    "python": {"file", "needs", "tested"},
    "bash": {"serve", "needs", "tested"},
    "console": {"needs"},
    "yaml": {"file", "plain", "tested"},
    "javascript": set[str](),
    "json": set[str](),
    "text": {"output"},
}
"""Each language, and the words that may follow it."""

ABSENT = {
    "docker": "an engine",
    "kubernetes": "a cluster",
    "langgraph-server": "the server of LangGraph's makers",
    "network": "packages to fetch",
    "root": "the right to change the machine",
    "terminal": "somebody who stops it",
}
"""What ``needs=`` may name, and what that is: such a block is checked for its syntax, and not run."""


class UnmarkedBlock(Exception):
    """A block that nobody would know what to do with."""


@dataclass(frozen=True)
class Block:
    """One fenced block; ``line`` is that of its first fence."""

    page: Path
    line: int
    language: str
    words: dict[str, str]
    text: str

    @property
    def where(self) -> str:
        return f"{self.page.name}:{self.line}"


def blocks(page: Path) -> list[Block]:
    """Return a page's blocks in their order. Raises `UnmarkedBlock`."""
    tokens = MarkdownIt("commonmark").parse(page.read_text())
    found = []
    for token in tokens:
        if token.type in ("fence", "code_block"):
            assert token.map is not None
            found.append(_block(page, token.map[0] + 1, token.info, token.content))
    return found


def _block(page: Path, line: int, info: str, text: str) -> Block:
    language, *rest = info.split() or [""]
    words = {name: value for name, _, value in (word.partition("=") for word in rest)}
    block = Block(page, line, language, words, text)
    if language not in LANGUAGES:
        told = f"{language!r} is none of {', '.join(LANGUAGES)} (text is what nobody runs)"
        raise UnmarkedBlock(f"{page.name}:{line}: {told}")
    if unknown := words.keys() - LANGUAGES[language]:
        raise UnmarkedBlock(f"{page.name}:{line}: {language} knows no {', '.join(unknown)}")
    if "needs" in words and words["needs"] not in ABSENT:
        raise UnmarkedBlock(f"{page.name}:{line}: needs={words['needs']} is none of {', '.join(ABSENT)}")
    if "tested" in words:
        _check_tested(block)
    return block


def _check_tested(block: Block) -> None:
    """Hold a block that is run by a test of its own to one that is there and reads the page."""
    test = ROOT / block.words["tested"]
    if not test.is_file() or not re.search(rf"{re.escape(block.page.name)}", test.read_text()):
        raise UnmarkedBlock(f"{block.where}: {block.words['tested']} does not read {block.page.name}")
