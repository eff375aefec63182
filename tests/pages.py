"""Tables in the pages of docs/, for the tests that compare them with what is seen."""

from __future__ import annotations

from pathlib import Path

DOCS = Path(__file__).parents[1] / "docs"


def column(page: str, heading: str) -> dict[str, str]:
    """Return the cells under ``heading`` in the tables of ``page``, by the first cell of their row."""
    found: dict[str, str] = {}
    for block in (DOCS / page).read_text().split("\n\n"):
        rows = [_cells(line) for line in block.splitlines() if line.startswith("|") and "---" not in line]
        if rows and heading in rows[0]:
            place = rows[0].index(heading)
            found |= {row[0]: row[place] for row in rows[1:]}
    assert found, f"docs/{page} has no column {heading}"
    return found


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip("|").split("|")]
