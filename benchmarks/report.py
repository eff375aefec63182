"""What came out: the table, ``benchmarks/results.json`` and ``docs/performance.md``."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from .machine import ROOT, processor

RESULTS: Final = ROOT / "benchmarks" / "results.json"
PAGE: Final = ROOT / "docs" / "performance.md"
BEGIN: Final = "<!-- results: written by `make bench` -->"
END: Final = "<!-- end of results -->"
PACKAGES: Final = ("langgraph", "langchain-core", "litestar", "msgspec", "uvicorn", "uvloop")


@dataclass(frozen=True)
class Goal:
    """A bound: ``at_least`` or ``at_most``."""

    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        above = self.at_least is None or value >= self.at_least
        return above and (self.at_most is None or value <= self.at_most)

    def __str__(self) -> str:
        return f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"


@dataclass(frozen=True)
class Row:
    """One figure. ``spread`` holds the quartiles over the rounds; ``detail`` what is behind it."""

    name: str
    value: float
    unit: str
    goal: Goal
    spread: tuple[float, float] | None = None
    detail: str = ""

    @property
    def met(self) -> bool:
        return self.goal.met(self.value)

    def cells(self) -> tuple[str, ...]:
        spread = f"{number(self.spread[0])} – {number(self.spread[1])}" if self.spread else ""
        unit = "" if self.unit == "ratio" else f" {self.unit}"
        return (
            self.name,
            number(self.value) + unit,
            spread,
            str(self.goal) + unit,
            "yes" if self.met else "NO",
            self.detail,
        )


COLUMNS: Final = ("what", "value", "quartiles", "goal", "met", "behind it")


def number(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"


def print_table(rows: Sequence[Row]) -> None:
    """Print the rows, a missed goal in red."""
    table = Table(*COLUMNS)
    for row in rows:
        table.add_row(*row.cells(), style=None if row.met else "red")
    Console(width=None if os.isatty(1) else 180).print(table)


def write_results(rows: Sequence[Row], path: Path = RESULTS) -> None:
    """Write the rows as a list of ``{name, value, unit, goal, met}``."""
    results: list[dict[str, Any]] = [
        {
            "name": row.name,
            "value": round(row.value, 4),
            "unit": row.unit,
            "goal": str(row.goal),
            "met": row.met,
        }
        for row in rows
    ]
    path.write_text(json.dumps(results, indent=2, ensure_ascii=False) + "\n")


def write_page(rows: Sequence[Row], path: Path = PAGE) -> None:
    """Put the rows between the markers of the page; what is around them stays."""
    before, begin, rest = path.read_text().partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{path} has no place for the results: {BEGIN} … {END}")
    path.write_text(f"{before}{begin}\n\n{_markdown(rows)}\n{end}{after}")


def _markdown(rows: Sequence[Row]) -> str:
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d}, {processor()}, {os.cpu_count()} cores, "
        f"{platform.system()} {platform.release()}, Python {platform.python_version()}; {packages}.",
        "",
        "| " + " | ".join(COLUMNS) + " |",
        "|---|--:|--:|--:|---|---|",
    ]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    return "\n".join(lines) + "\n"
