"""`dockrion add`: change a Dockfile, and leave the rest of it as it is."""

from __future__ import annotations

import math
from typing import Annotated

import typer

from ..failure import told
from ..options import HERE, AsJSON, ChosenEvents, DockfilePath, EnvFile, chosen_events
from ..project import Store

add = typer.Typer(help="Add to a Dockfile, keeping its comments, order and layout.", no_args_is_help=True)

DryRun = Annotated[bool, typer.Option("--dry-run", help="Show what would change, and change nothing.")]


def _seconds(value: float | None) -> float | None:
    """Hold an option that counts seconds to what a Dockfile takes; whole ones are written so."""
    if value is None:
        return None
    if not 0 < value < math.inf:
        raise typer.BadParameter("expected a number greater than 0")
    return int(value) if value.is_integer() else value


@add.command("streaming")
def streaming(
    path: DockfilePath = HERE,
    events: ChosenEvents = None,
    async_runs: Annotated[
        bool, typer.Option("--async-runs", help="Serve /runs: runs that outlive their connections.")
    ] = False,
    backend: Annotated[Store | None, typer.Option(help="Where runs are kept.", show_default=False)] = None,
    heartbeat: Annotated[
        float | None,
        typer.Option(metavar="N", callback=_seconds, help="Seconds of silence before a heartbeat."),
    ] = None,
    max_duration: Annotated[
        float | None, typer.Option(metavar="N", callback=_seconds, help="Seconds that an execution may take.")
    ] = None,
    dry_run: DryRun = False,
    env_file: EnvFile = None,
    json: AsJSON = False,
) -> None:
    """Stream events by SSE, and set how; options that are not given leave what is there."""
    chosen = None if events is None else chosen_events(events)
    with told(as_json=json) as teller:
        from ..adding import Target, add_streaming

        wanted = {
            ("streaming", "async_runs"): async_runs or None,
            ("streaming", "backend"): backend and str(backend),
            ("streaming", "events", "allowed"): chosen,
            ("streaming", "events", "heartbeat_interval"): heartbeat,
            ("streaming", "events", "max_run_duration"): max_duration,
        }
        target = Target(path, env_file, teller, dry_run, json)
        add_streaming(target, wanted, store=backend is Store.redis)


@add.command("auth")
def auth(
    path: DockfilePath = HERE,
    dry_run: DryRun = False,
    env_file: EnvFile = None,
    json: AsJSON = False,
) -> None:
    """Ask clients for an API key."""
    with told(as_json=json) as teller:
        from ..adding import Target, add_auth

        add_auth(Target(path, env_file, teller, dry_run, json))
