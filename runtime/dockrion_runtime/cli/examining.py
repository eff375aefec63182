"""What `dockrion doctor` prints: each check, and how to mend what is not well."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from rich.console import Console
from rich.text import Text

from dockrion_events import encode_json

from .agent import own_stdout
from .checks import Check, installation, project
from .failure import FAILED, Teller
from .logs import log_to_stderr
from .options import HERE
from .printable import escaped_json, printable_line

_MARKS: Final = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
}


def examine(path: Path | None, env_file: Path | None, teller: Teller, *, json: bool) -> int:
    """Print what each check finds and return the exit code."""
    with own_stdout() as out:
        log_to_stderr(teller, level=logging.CRITICAL)
        console = Console(file=out, highlight=False)
        found: list[Check] = []
        for check in _all(path, env_file):
            found.append(check)
            if not json:
                console.print(_line(check), soft_wrap=True)
        ok = all(check.status != "failed" for check in found)
        if json:
            checks = [{name: value for name, value in check._asdict().items() if value} for check in found]
            out.write(escaped_json(encode_json({"ok": ok, "checks": checks}).decode()) + "\n")
    return 0 if ok else FAILED


def _all(path: Path | None, env_file: Path | None) -> Iterator[Check]:
    yield from installation()
    yield from project(path or HERE, env_file, named=path is not None)


def _line(check: Check) -> Text:
    mark, style = _MARKS[check.status]
    line = Text.assemble((mark, style), f" {check.name:11} {printable_line(check.message)}")
    if check.fix and check.status != "ok":
        line.append(f"\n  {'':11} {printable_line(check.fix)}", "bold")
    return line
