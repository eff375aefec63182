"""`dockrion doctor`: look at everything that has to be right, and say how to mend what is not."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.text import Text

from dockrion_events import encode_json

from .agent import own_stdout
from .checks import Check, installation, project
from .failure import FAILED, told
from .logs import log_to_stderr
from .options import HERE, AsJSON, EnvFile

_MARKS: Final = {
    "ok": ("✓", "green"),
    "warning": ("!", "yellow"),
    "failed": ("✗", "red"),
    "skipped": ("-", "dim"),
}


def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="The Dockfile, or the directory it is in.", show_default=False),
    ] = None,
    env_file: EnvFile = None,
    json: AsJSON = False,
) -> None:
    """Check the installation, the Dockfile, the agent, its secrets, its Redis and its port."""
    with told(as_json=json) as teller, own_stdout() as out:
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
            out.write(encode_json({"ok": ok, "checks": checks}).decode() + "\n")
    raise typer.Exit(0 if ok else FAILED)


def _all(path: Path | None, env_file: Path | None) -> Iterator[Check]:
    yield from installation()
    yield from project(path or HERE, env_file, named=path is not None)


def _line(check: Check) -> Text:
    mark, style = _MARKS[check.status]
    line = Text.assemble((mark, style), f" {check.name:11} {check.message}")
    if check.fix and check.status != "ok":
        line.append(f"\n  {'':11} {check.fix}", "bold")
    return line
