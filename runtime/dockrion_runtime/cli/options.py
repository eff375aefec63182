"""Options that several commands share, and what they mean."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from dockrion_events import CONFIGURABLE, PRESETS, EventsFilter, InvalidFilter
from dockrion_events.events import CUSTOM_PREFIX

from .failure import USAGE, Failure

HERE: Final = Path("Dockfile.yaml")

DockfilePath = Annotated[
    Path,
    typer.Argument(metavar="PATH", help="The Dockfile, or the directory it is in.", show_default=False),
]
PayloadText = Annotated[
    str,
    typer.Option(
        "--payload", "-p", metavar="JSON", help="A JSON object; @file.json reads a file, - reads stdin."
    ),
]
EnvFile = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        help="Variables to fill in where the environment has none; by default .env beside the Dockfile.",
        show_default=False,
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
AsJSONLines = Annotated[bool, typer.Option("--json", help="One JSON document a line on stdout.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Show tracebacks.")]


def chosen_events(text: str) -> str | list[str]:
    """Return what ``PRESET|LIST`` on the command line means, as a Dockfile would hold it.

    Raises `typer.BadParameter` where it names what does not exist.
    """
    names = [name.strip() for name in text.split(",")]
    alone = names[0] if len(names) == 1 else None
    events: str | list[str] = names
    if alone is not None and (alone in PRESETS or not _is_event(alone)):
        events = alone
    try:
        EventsFilter(events)
    except InvalidFilter as error:
        raise typer.BadParameter(str(error)) from None
    return events


def completed_events(incomplete: str) -> list[str]:
    """Return what ``PRESET|LIST`` may go on with: for a shell."""
    before, comma, last = incomplete.rpartition(",")
    names = (*CONFIGURABLE, CUSTOM_PREFIX) if comma else (*PRESETS, *CONFIGURABLE, CUSTOM_PREFIX)
    given = before.split(",")
    return [before + comma + name for name in names if name.startswith(last) and name not in given]


def _is_event(name: str) -> bool:
    return name in CONFIGURABLE or name.startswith(CUSTOM_PREFIX)


def payload_bytes(text: str) -> bytes:
    """Return the payload that ``-p`` names: the text itself, ``@file`` or ``-`` for stdin."""
    if text == "-":
        return sys.stdin.buffer.read()
    if not text.startswith("@"):
        return text.encode("utf-8", "surrogateescape")
    try:
        return Path(text[1:]).read_bytes()
    except OSError as error:
        raise Failure(
            f"cannot read {text[1:]}: {error.strerror or error}", "-p @FILE names a file", code=USAGE
        ) from None
