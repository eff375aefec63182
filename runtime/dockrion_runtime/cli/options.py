"""Options that several commands share, and what they mean."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Final

import typer

from dockrion_events import CONFIGURABLE, PRESETS, EventsFilter, InvalidFilter
from dockrion_events.events import CUSTOM_PREFIX

HERE: Final = Path("Dockfile.yaml")


def completed_events(incomplete: str) -> list[str]:
    """Return what ``PRESET|LIST`` may go on with: for a shell."""
    before, comma, last = incomplete.rpartition(",")
    names = (*CONFIGURABLE, CUSTOM_PREFIX) if comma else (*PRESETS, *CONFIGURABLE, CUSTOM_PREFIX)
    given = before.split(",")
    return [before + comma + name for name in names if name.startswith(last) and name not in given]


EVENTS: Final = typer.Option(
    metavar="PRESET|LIST",
    help="Which events are streamed: chat, or token,step.",
    autocompletion=completed_events,
)
ChosenEvents = Annotated[str | None, EVENTS]
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
LAST_PORT: Final = 65535
MetricsPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=LAST_PORT,
        metavar="PORT",
        help="A port of the process's own for /metrics, /health and /ready.",
        show_default=False,
    ),
]
AsJSON = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, and nothing else there.")]
AsJSONLines = Annotated[bool, typer.Option("--json", help="One JSON document a line on stdout.")]
LOCAL: Final = "http://localhost:8080"
URL_VARIABLE: Final = "DOCKRION_URL"
ServerURL = Annotated[str, typer.Option("--url", metavar="URL", envvar=URL_VARIABLE, help="The server.")]
KeyVariable = Annotated[
    str,
    typer.Option(
        "--key-env",
        metavar="NAME",
        help="The environment variable that holds the API key.",
        autocompletion=lambda incomplete: [name for name in os.environ if name.startswith(incomplete)],
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(
        "--env-file", metavar="FILE", help="A file of NAME=value lines to find it in.", show_default=False
    ),
]
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


def _is_event(name: str) -> bool:
    return name in CONFIGURABLE or name.startswith(CUSTOM_PREFIX)
