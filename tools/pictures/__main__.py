"""``python -m tools.pictures [FOLDER]`` records the terminal session of the README into docs/images."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from .drawing import drawn
from .recording import Session

IMAGES = Path(__file__).parents[2] / "docs" / "images"
COMMANDS = (
    "dockrion init my-agent --framework langgraph --streaming-events chat",
    "cd my-agent",
    """dockrion stream -p '{"query": "2 + 3 * (4 - 1)"}'""",
    "dockrion add streaming --async-runs --dry-run",
)


def main(folder: Path) -> None:
    with tempfile.TemporaryDirectory() as home:
        session = Session(Path(home))
        for command in COMMANDS:
            session.type(command)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "terminal.svg").write_text(drawn(session.screen, width=session.width), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES)
