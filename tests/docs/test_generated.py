"""The generated pages, dockfile.md among them, are what the code says now, and what they show is true."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from dockrion_sdk import load_dockfile

ROOT = Path(__file__).parents[2]
DOCKFILE = (ROOT / "docs" / "dockfile.md").read_text(encoding="utf-8")
EXAMPLES = re.findall(r"```yaml.*?\n(.*?)```", DOCKFILE, flags=re.DOTALL)


def test_the_pages_are_what_the_generator_writes() -> None:
    command = [sys.executable, "-m", "tools.docs", "--check"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_stale_page_is_noticed(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from tools.docs import __main__ as main;"
        f"main.DOCS = Path({str(tmp_path)!r}); sys.exit(main.main(sys.argv[1:]))"
    )

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)

    assert run().returncode == 0
    assert run("--check").returncode == 0
    page = tmp_path / "cli.md"
    page.write_text(page.read_text().replace("--async-runs", "--runs"))
    stale = run("--check")
    assert (stale.returncode, stale.stderr) == (
        1,
        "not what the code says: cli.md; `make docs` writes them\n",
    )


@pytest.mark.parametrize("example", EXAMPLES)
def test_every_example_of_the_dockfile_is_valid(tmp_path: Path, example: str) -> None:
    whole = example.startswith("agent:") or "\nagent:" in example
    text = example if whole else f"agent: {{name: x, handler: a:b}}\n{example}"
    if "protocols" in text:
        text += "streaming: {async_runs: true}\n"
    (tmp_path / "Dockfile.yaml").write_text(text)
    env = {"REDIS_URL": "redis://x", "API_TOKEN": "x", "DOCKRION_API_KEY": "x"}
    assert load_dockfile(tmp_path, env).warnings == ()


def test_every_key_has_a_meaning() -> None:
    rows = re.findall(r"^\| `(\w+)` \|(?:.*?)\| ([^|]*) \|$", DOCKFILE, flags=re.MULTILINE)
    assert len(rows) > 45
    assert [key for key, meaning in rows if not meaning.strip()] == []


def test_every_command_is_documented() -> None:
    page = (ROOT / "docs" / "cli.md").read_text(encoding="utf-8")
    commands = ["init", "validate", "test", "stream", "run", "worker", "doctor", "add streaming", "add auth"]
    commands += [f"runs {name}" for name in ("list", "show", "watch", "cancel")]
    assert re.findall(r"^## dockrion (.+)$", page, flags=re.MULTILINE) == commands
    assert re.search(r"\| `--payload, -p JSON` \| .+ \| required \|", page)
