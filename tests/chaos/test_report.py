"""The page on reliability names tests that exist, and has its section for the figures."""

from __future__ import annotations

import re
from pathlib import Path

from .ledger import Figures
from .report import write

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reliability.md"


def test_every_test_that_is_named_exists() -> None:
    named = re.findall(r"`((?:tests|dockrion_events)/[\w/]+\.py)(?:::(\w+))?`", PAGE.read_text())
    assert len(named) > 20
    for path, function in named:
        file = ROOT / path if path.startswith("tests") else ROOT / "dockrion_sdk" / path
        assert file.exists(), path
        assert re.search(rf"def {function}\b" if function else "def test_", file.read_text()), function


def test_figures_replace_those_that_are_there(tmp_path: Path) -> None:
    copy = tmp_path / "page.md"
    copy.write_text(PAGE.read_text())
    for seed in (11, 12):
        write(copy, Figures(seed))
    text = copy.read_text()
    assert "| seed | 12 |" in text
    assert "| seed | 11 |" not in text
    assert text.partition("<!-- chaos")[0] == PAGE.read_text().partition("<!-- chaos")[0]
