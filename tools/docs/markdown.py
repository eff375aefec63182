"""Markdown, as the pages need it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path


def filled(file: str, source: str, **parts: str) -> str:
    """Return the text of the template ``file``, its marks (``<!-- name -->``) replaced by the parts."""
    text = Path(__file__).with_name(file).read_text(encoding="utf-8")
    for name, part in parts.items():
        text = text.replace(f"<!-- {name} -->", part.strip())
    made = f"<!-- made by `make docs` from {source} and tools/docs/{file}: change those, not this -->"
    return f"{made}\n\n{text.strip()}\n"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; bars in cells are escaped."""
    lines = [" | ".join(header), " | ".join("---" for _ in header)]
    lines += [" | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in row) for row in rows]
    return "".join(f"| {line} |\n" for line in lines) + "\n"


def fence(text: str, language: str = "text") -> str:
    """Return text as a block of code."""
    return f"```{language}\n{text.rstrip()}\n```\n\n"


def prose(docstring: str) -> str:
    """Turn a docstring into Markdown: its literals, and its indented blocks behind ``::``."""
    text = re.sub(r"``(.+?)``", r"`\1`", docstring, flags=re.DOTALL)
    text = re.sub(
        r"(?m)^::\n\n((?:    .*\n?|\n)+)",
        lambda block: fence(re.sub(r"(?m)^    ", "", block[1])),
        text,
    )
    return f"{text.strip()}\n\n"
