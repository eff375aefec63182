"""A screen as an SVG that needs nothing from elsewhere."""

from __future__ import annotations

import io
import re
from typing import Final

from rich.console import Console
from rich.text import Text

_FONTS: Final = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)


def drawn(screen: str, *, width: int, title: str = "dockrion") -> str:
    """Return a terminal that shows ``screen``, which may hold ANSI colours, as SVG."""
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(screen.rstrip()), soft_wrap=False)
    svg = console.export_svg(title=title, unique_id="terminal")
    svg = _FONTS.sub("", svg)  # they would be fetched, which no README does
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"
