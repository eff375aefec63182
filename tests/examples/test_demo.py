"""`make demo` without a terminal: one question, its answer, and an end."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def demo(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    own = ("DOCKRION_MODEL", "ASK_DOCS_FOLDER")
    env = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-m", "examples.demo", *arguments],
        cwd=REPOSITORY,
        env={**env, **environment},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )


def test_answers_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "guide.md").write_text("# Harbour\n\nThe harbour office is open from 8 to 17 on weekdays.\n")
    done = demo("When is the harbour's office open?", ASK_DOCS_FOLDER=str(tmp_path))
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("› When is the harbour's office open?\n")
    for step in ("load", "retrieve", "answer"):
        assert re.search(rf"^✓ {step}  \d+ ms$", done.stdout, re.M)
    assert "The harbour office is open from 8 to 17 on weekdays [1]." in done.stdout
    assert "\n[1] guide.md: Harbour\n" in done.stdout
    assert "curl -N -X POST http://localhost:8080/invoke/stream" in done.stdout


def test_answers_from_the_projects_own_documents() -> None:
    done = demo()
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(r"^\[1\] (README|docs/[a-z-]+)\.md: ", done.stdout, re.M)


def test_an_agent_that_does_not_load(tmp_path: Path) -> None:
    done = demo(ASK_DOCS_FOLDER=str(tmp_path / "nowhere"))
    assert done.returncode == 1
    assert "is not a folder" in done.stderr
    assert "demo: the server ended with 1 before it was ready" in done.stderr
    assert "Traceback" not in done.stderr
