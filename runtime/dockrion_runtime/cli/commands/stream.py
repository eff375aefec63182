"""`dockrion stream`: watch one execution in the terminal."""

from __future__ import annotations

from typing import Annotated

import typer

from dockrion_events import EventsFilter

from ..failure import told
from ..options import (
    HERE,
    AsJSONLines,
    ChosenEvents,
    DockfilePath,
    EnvFile,
    KeyVariable,
    PayloadText,
    Verbose,
    chosen_events,
)
from ..project import KEY_VARIABLE


def stream(
    payload: PayloadText,
    path: DockfilePath = HERE,
    events: ChosenEvents = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Have a server execute its agent.", show_default=False),
    ] = None,
    key_env: KeyVariable = KEY_VARIABLE,
    json: AsJSONLines = False,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Execute the agent once and show its events as they come."""
    chosen = None if events is None else EventsFilter(chosen_events(events))
    if url is not None and (chosen is not None or path != HERE):
        raise typer.BadParameter(
            "with --url the server has the agent and the events: leave PATH and --events out"
        )
    with told(verbose) as teller:
        if url is None:
            from ..streamed import stream_here

            code = stream_here(payload, path, chosen, env_file, teller, json=json)
        else:
            from ..remote import stream_there

            code = stream_there(payload, url, key_env, env_file, teller, json=json)
    raise typer.Exit(code)
