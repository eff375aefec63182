"""What `dockrion runs` prints: the runs of a server."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.text import Text

from dockrion_events import encode_json
from dockrion_sdk.client import Run

from .printable import escaped_json, printable_line
from .remote import Server, connected, show_events
from .steps import duration

FOLLOWING_SECONDS: Final = 60.0
"""How long a server may be away before `watch` gives up."""

_STYLES: Final = {"completed": "green", "failed": "red", "cancelled": "yellow", "running": "cyan"}


def show_list(server: Server, limit: int, *, json: bool) -> None:
    """Print the newest runs."""
    with connected(server) as client:
        found = list(islice(client.runs.list(page_size=min(limit, 500)), limit))
    if json:
        for run in found:
            print(escaped_json(encode_json(_document(run, listed=True)).decode()))
    elif found:
        _print_table(found)
    else:
        server.teller.say("there are no runs")


def show_run(server: Server, run_id: str, *, json: bool) -> None:
    """Print one run."""
    with connected(server) as client:
        run = client.runs.get(run_id)
    if json:
        print(escaped_json(encode_json(_document(run)).decode()))
    else:
        _print_run(run)


def watch_run(server: Server, run_id: str, from_sequence: int, *, json: bool) -> int:
    """Show a run's events to its end and return the exit code it stands for."""
    with connected(server) as client:
        client.runs.get(run_id)  # an address or a name that is wrong shows at once
    with connected(server, patience=FOLLOWING_SECONDS) as client:
        events = client.runs.events(run_id, from_sequence=from_sequence)
        code, last, interrupted = show_events(events, sys.stdout, json=json)
    if interrupted:
        server.teller.say(f"the run goes on: dockrion runs watch {run_id} --from-sequence {last + 1}")
    return code


def cancel_run(server: Server, run_id: str, reason: str | None, *, json: bool) -> None:
    """Cancel a run and say so."""
    with connected(server) as client:
        client.runs.cancel(run_id, reason=reason)
    if json:
        print(escaped_json(encode_json({"run_id": run_id, "status": "cancelled"}).decode()))
    else:
        print(f"{run_id} is cancelled")


def _document(run: Run, *, listed: bool = False) -> dict[str, Any]:
    """Return a run as the server shows it."""
    shown: dict[str, Any] = msgspec.to_builtins(run)
    unset = {name for name, value in shown.items() if value is None}
    if run.status == "completed" and not listed:
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
        print(f"{name:8} {printable_line(value)}")
    if run.status == "completed":
        print(escaped_json(msgspec.json.format(encode_json(run.output), indent=2).decode()))


def _print_table(found: Iterable[Run]) -> None:
    header = ("RUN", "STATUS", "CREATED", "TOOK", "EVENTS")
    rows = [
        (
            printable_line(run.run_id),
            printable_line(run.status),
            _time(run.created_at),
            _took(run),
            str(run.last_sequence),
        )
        for run in found
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
