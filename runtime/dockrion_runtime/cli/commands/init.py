"""`dockrion init`: a project that runs at once."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Annotated, Final

import typer

from dockrion_events import encode_json

from ..failure import told
from ..options import EVENTS, AsJSON, chosen_events
from ..project import RUNS_ARE_OFF, Auth, Framework, Project, Store, Streaming, write_directory

_NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project, and the directory it gets.")],
    handler: Annotated[bool, typer.Option("--handler", help="A plain function; the default.")] = False,
    framework: Annotated[
        Framework | None, typer.Option(help="A graph instead of a function.", show_default=False)
    ] = None,
    streaming: Annotated[Streaming, typer.Option(help="How clients may stream.")] = Streaming.sse,
    streaming_events: Annotated[str, EVENTS] = "all",
    async_runs: Annotated[
        bool, typer.Option("--async-runs", help="Serve /runs: runs that outlive their connections.")
    ] = False,
    streaming_backend: Annotated[
        Store | None, typer.Option(help="Where runs are kept; memory by default.", show_default=False)
    ] = None,
    auth: Annotated[
        Auth | None, typer.Option(help="Ask clients for a key; one is generated.", show_default=False)
    ] = None,
    json: AsJSON = False,
) -> None:
    """Make a directory NAME with a Dockfile.yaml and an agent that runs at once."""
    if handler and framework is not None:
        raise typer.BadParameter("--handler and --framework exclude each other; keep one")
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{name!r} is no valid name: 1 to 64 letters, digits, '-' and '_', a letter first"
        )
    events = chosen_events(streaming_events)
    project = Project(name, framework, streaming, events, async_runs, streaming_backend, auth)
    with told(as_json=json):
        files = project.files()
        write_directory(Path(name), files)
        commands = project.next_commands()
        if json:
            made = {"name": name, "directory": str(Path(name).absolute())}
            typer.echo(encode_json({**made, "files": sorted(files), "next": commands}))
            return
        typer.echo(f"Made {name}/ with {', '.join(sorted(files))}")
        if project.auth is not None:
            typer.echo(f"A new API key is in {name}/.env, readable by you alone and ignored by git.")
        if project.store is not None and not project.async_runs:
            print(RUNS_ARE_OFF, file=sys.stderr)
        typer.echo("\n".join(["Next:", *(f"  {command}" for command in commands)]))
