"""`dockrion runs`: the runs of a server."""

from __future__ import annotations

from itertools import islice
from typing import Annotated

import typer

from ..failure import Failure, told
from ..options import LOCAL, AsJSON, AsJSONLines, KeyFile, KeyVariable, ServerURL
from ..project import KEY_VARIABLE

runs = typer.Typer(help="List, show, watch and cancel the runs of a server.", no_args_is_help=True)


def _known_runs(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the names of runs that begin so: for a shell, which does not wait for long."""
    from dockrion_events import DockrionError
    from dockrion_sdk import SyncClient

    from ..remote import api_key

    url, variable = ctx.params.get("url") or LOCAL, ctx.params.get("key_env") or KEY_VARIABLE
    try:
        with SyncClient(
            url, api_key=api_key(variable, ctx.params.get("env_file")), timeout=1, patience=0
        ) as client:
            newest = list(islice(client.runs.list(page_size=100), 100))
            return [run.run_id for run in newest if run.run_id.startswith(incomplete)]
    except (DockrionError, Failure, ValueError):
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
    with told(as_json=json) as teller:
        from ..remote import Server
        from ..remote_runs import show_list

        show_list(Server(url, key_env, env_file, teller), limit, json=json)


@runs.command("show")
def show(
    run_id: RunId,
    url: ServerURL = LOCAL,
    key_env: KeyVariable = KEY_VARIABLE,
    env_file: KeyFile = None,
    json: AsJSON = False,
) -> None:
    """Show a run: its status, its times, its output or error."""
    with told(as_json=json) as teller:
        from ..remote import Server
        from ..remote_runs import show_run

        show_run(Server(url, key_env, env_file, teller), run_id, json=json)


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
        from ..remote import Server
        from ..remote_runs import watch_run

        code = watch_run(Server(url, key_env, env_file, teller), run_id, from_sequence, json=json)
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
    with told(as_json=json) as teller:
        from ..remote import Server
        from ..remote_runs import cancel_run

        cancel_run(Server(url, key_env, env_file, teller), run_id, reason, json=json)
