"""`dockrion runs`: the runs of a server."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Annotated, Any, Final

import msgspec
import typer
from rich.console import Console
from rich.text import Text

from dockrion_events import DockrionError, encode_json
from dockrion_sdk import SyncClient
from dockrion_sdk.client import Run

from .failure import told
from .options import AsJSON, AsJSONLines
from .plain import printable
from .project import KEY_VARIABLE
from .remote import LOCAL, KeyFile, KeyVariable, ServerURL, api_key, connected, show_events
from .steps import duration

FOLLOWING_SECONDS: Final = 60.0
"""How long a server may be away before `watch` gives up."""

_STYLES: Final = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}

runs = typer.Typer(help="List, show, watch and cancel the runs of a server.", no_args_is_help=True)


def _known_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs that begin so: for a shell, which does not wait for long."""
    url, variable = ctx.params.get("url") or LOCAL, ctx.params.get("key_env") or KEY_VARIABLE
    try:
        with SyncClient(url, api_key=api_key(variable, None), timeout=1, patience=0) as client:
            newest = islice(client.runs.list(page_size=100), 100)
            return [run.run_id for run in newest if run.run_id.startswith(incomplete)]
    except (DockrionError, ValueError):
        return []


RunId = Annotated[str, typer.Argument(metavar="RUN_ID", help="The run.", autocompletion=_known_runs)]


@runs.command("list")
def list_runs(
    limit: Annotated[int, typer.Option(metavar="N", min=1, help="How many at the most.")] = 20,
    url: ServerURL = LOCAL,
    key_env: KeyVariable = KEY_VARIABLE,
    env_file: KeyFile = None,
    json: AsJSONLines = False,
) -> None:
    """List your runs, newest first."""
    with told(as_json=json) as teller, connected(url, api_key(key_env, env_file), teller) as client:
        found = list(islice(client.runs.list(page_size=min(limit, 500)), limit))
        if json:
            for run in found:
                typer.echo(encode_json(_document(run)))
        elif found:
            _print_table(found)
        else:
            teller.say("there are no runs")


@runs.command("show")
def show(
    run_id: RunId,
    url: ServerURL = LOCAL,
    key_env: KeyVariable = KEY_VARIABLE,
    env_file: KeyFile = None,
    json: AsJSON = False,
) -> None:
    """Show a run: its status, its times, its output or error."""
    with told(as_json=json) as teller, connected(url, api_key(key_env, env_file), teller) as client:
        run = client.runs.get(run_id)
        if json:
            typer.echo(encode_json(_document(run)))
        else:
            _print_run(run)


@runs.command("watch")
def watch(
    run_id: RunId,
    from_sequence: Annotated[int, typer.Option(metavar="N", min=0, help="Begin with this event.")] = 0,
    url: ServerURL = LOCAL,
    key_env: KeyVariable = KEY_VARIABLE,
    env_file: KeyFile = None,
    json: AsJSONLines = False,
) -> None:
    """Show a run's events from the beginning on, and then as they come, to its end.

    Connections that break and servers that go down are bridged. Ctrl-C ends the watching, not the run.
    """
    with told() as teller:
        key = api_key(key_env, env_file)
        with connected(url, key, teller) as client:
            client.runs.get(run_id)  # an address or a name that is wrong shows at once
        with connected(url, key, teller, patience=FOLLOWING_SECONDS) as client:
            events = client.runs.events(run_id, from_sequence=from_sequence)
            code, last, interrupted = show_events(events, sys.stdout, json=json)
        if interrupted:
            teller.say(f"the run goes on: dockrion runs watch {run_id} --from-sequence {last + 1}")
    raise typer.Exit(code)


@runs.command("cancel")
def cancel(
    run_id: RunId,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Why; its readers see it.")] = None,
    url: ServerURL = LOCAL,
    key_env: KeyVariable = KEY_VARIABLE,
    env_file: KeyFile = None,
    json: AsJSON = False,
) -> None:
    """Cancel a run."""
    with told(as_json=json) as teller, connected(url, api_key(key_env, env_file), teller) as client:
        client.runs.cancel(run_id, reason=reason)
        if json:
            typer.echo(encode_json({"run_id": run_id, "status": "cancelled"}))
        else:
            typer.echo(f"{run_id} is cancelled")


def _document(run: Run) -> dict[str, Any]:
    """Return a run as `GET /runs/{id}` shows it."""
    shown: dict[str, Any] = msgspec.to_builtins(run)
    unset = {name for name, value in shown.items() if value is None}
    if run.status == "completed":
        unset.discard("output")
    return {name: value for name, value in shown.items() if name not in unset}


def _print_run(run: Run) -> None:
    rows = [("run", run.run_id), ("status", run.status), ("created", _time(run.created_at))]
    if run.started_at is not None:
        rows.append(("started", _time(run.started_at)))
    if run.ended_at is not None:
        rows.append(("ended", f"{_time(run.ended_at)}, after {_took(run)}"))
    rows.append(
        ("events", f"{run.first_sequence} to {run.last_sequence}" if run.last_sequence else "none yet")
    )
    if run.attempt > 1:
        rows.append(("attempt", str(run.attempt)))
    if run.reason is not None:
        rows.append(("reason", run.reason))
    if run.error is not None:
        rows.append(("error", f"{run.error.get('code')}: {run.error.get('error')}"))
    for name, value in rows:
        typer.echo(f"{name:8} {printable(value)}")
    if run.status == "completed":
        typer.echo(msgspec.json.format(encode_json(run.output), indent=2))


def _print_table(found: Iterable[Run]) -> None:
    header = ("RUN", "STATUS", "CREATED", "TOOK", "EVENTS")
    rows = [
        (run.run_id, run.status, _time(run.created_at), _took(run), str(run.last_sequence)) for run in found
    ]
    widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
    console = Console(highlight=False)
    for row in (header, *rows):
        cells = [
            Text(cell.ljust(width), _STYLES.get(cell, "")) for cell, width in zip(row, widths, strict=True)
        ]
        line = Text("  ").join(cells)
        line.rstrip()
        console.print(line, soft_wrap=True)


def _time(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%SZ")


def _took(run: Run) -> str:
    if run.started_at is None:
        return "-"
    return duration(((run.ended_at or datetime.now(UTC)) - run.started_at).total_seconds() * 1000)
