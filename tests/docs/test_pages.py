"""Every code block of the documentation does what it says; none is passed over in silence."""

from __future__ import annotations

import runpy
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest

from ..cli.conftest import DEADLINE
from .blocks import PAGES, ROOT, UnmarkedBlock, blocks
from .session import Session, reading

GIVEN = Path(__file__).parent / "given"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_a_page_works_as_it_is_written(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    given = _given(page)
    with reading(tmp_path, given) as session:
        if "serve" in given:
            session.serve(given["serve"])
        for block in blocks(page):
            session.do(block)


def _given(page: Path) -> dict[str, Any]:
    """Return the names that a page takes for granted: those of given/<page>.py, where there is one.

    ``serve`` among them is a command, which serves before the first block.
    """
    file = GIVEN / f"{page.stem.lower().replace('-', '_')}.py"
    return runpy.run_path(str(file)) if file.is_file() else {}


def test_whatever_is_given_is_given_to_a_page() -> None:
    stems = {page.stem.lower().replace("-", "_") for page in PAGES}
    assert {file.stem for file in GIVEN.glob("*.py")} <= stems
    assert (ROOT / "README.md") in PAGES


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("```\nls\n```\n", "is none of python, bash"),
        ("    ls\n", "is none of python, bash"),
        ("```ruby\n1\n```\n", "'ruby' is none of"),
        ("```bash skip\nls\n```\n", "knows no skip"),
        ("```bash needs=luck\nls\n```\n", "needs=luck is none of"),
        ("> * ```\n>   ls\n>   ```\n", "is none of"),
    ],
)
def test_a_block_that_nobody_runs_is_refused(text: str, told: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with pytest.raises(UnmarkedBlock, match=told):
        blocks(page)


@pytest.mark.parametrize(
    "text",
    [
        "```python\nassert False\n```\n",
        "```python\nimport asyncio\nawait asyncio.sleep(0)\nraise ValueError\n```\n",
        "```bash\nfalse | true\n```\n",
        "```bash needs=docker\nif\n```\n",
        "```console\n$ echo one\ntwo\n```\n",
        "```console\n$ echo one\n```\n",
        "```yaml\nexpose: {prot: 1}\n```\n",
        "```json\n{,}\n```\n",
        "```bash serve\ndockrion run nowhere\n```\n",
        "```python needs=langgraph-server\nif\n```\n",
        "```text output\nnothing was run\n```\n",
    ],
)
def test_a_block_that_does_not_work_fails(text: str, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(text)
    with reading(tmp_path, {}) as session:
        (block,) = blocks(page)
        with pytest.raises(AssertionError, match=r"page\.md:1"):
            session.do(block)


def serve_something(session: Session, folder: Path) -> None:
    (folder / "service.py").write_text("def handle(payload):\n    return payload\n")
    (folder / "Dockfile.yaml").write_text("agent: {name: a, handler: service:handle}\n")
    session.serve("dockrion run")


@pytest.mark.parametrize(
    "block",
    ["```python\nprint(1)\n```\n", "```bash\necho 1\n```\n", "```javascript\nconsole.log(1)\n```\n"],
)
@pytest.mark.parametrize(("shown", "right"), [("1", True), ("…", True), ("2", False), ("1\n1", False)])
def test_output_is_what_the_block_before_prints(block: str, shown: str, right: bool, tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"{block}\n```text output\n{shown}\n```\n")
    with reading(tmp_path, {}, patience=DEADLINE if right else 0.2) as session:
        if "javascript" in block:
            serve_something(session, tmp_path)
        run, output = blocks(page)
        session.do(run)
        with nullcontext() if right else pytest.raises(AssertionError, match="is not"):
            session.do(output)


def test_a_script_that_throws_fails(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```javascript\nthrow new Error('mine');\n```\n")
    with reading(tmp_path, {}) as session:
        serve_something(session, tmp_path)
        (script,) = blocks(page)
        with pytest.raises(AssertionError, match="mine"):
            session.do(script)


def test_names_variables_and_files_last_until_the_page_ends(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```python file=kept.py\nx = 2\n```\n"
        "```bash\nRUN=one; grep -q x kept.py\n```\n"
        "```console\n$ echo $RUN two\none …\n$ echo localhost:8080\nlocalhost:8080\n```\n"
        "```python\nn = 1\n```\n```python\nassert n == 1\n```\n"
        "```yaml file=Dockfile.yaml\nexpose: {port: 8080}\n```\n```json\n{}\n```\n```text\nno\n```\n"
    )
    with reading(tmp_path, {}) as session:
        for block in blocks(page):
            session.do(block)
