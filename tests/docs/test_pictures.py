"""The recorded terminal session: it can be recorded anew, and the committed one is of the same commands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

from tools.pictures.__main__ import COMMANDS, IMAGES

ROOT = Path(__file__).parents[2]


def shown(file: Path) -> str:
    """Return the text of an SVG without its spaces."""
    return "".join("".join(ElementTree.fromstring(file.read_text()).itertext()).split())


def test_the_session_is_recorded_from_real_commands(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-m", "tools.pictures", str(tmp_path)], cwd=ROOT, check=True)
    text = shown(tmp_path / "terminal.svg")
    for command in COMMANDS:
        assert "".join(command.split()) in text
    for result in ("Made my-agent/ with", "✓calculate", "2 + 3 * (4 - 1) = 11", "my-agent is done after"):
        assert "".join(result.split()) in text
    assert "Traceback" not in text


def test_the_committed_picture_is_of_the_same_commands() -> None:
    text = shown(IMAGES / "terminal.svg")
    assert all("".join(command.split()) in text for command in COMMANDS)
    assert "docs/images/terminal.svg" in (ROOT / "README.md").read_text()
