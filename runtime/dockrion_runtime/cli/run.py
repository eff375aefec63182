"""`dockrion run`: serve the agent until told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from .failure import told
from .options import HERE, DockfilePath, EnvFile, Verbose
from .reload import supervise
from .serving import Settings, serve_agent


def run(
    path: DockfilePath = HERE,
    host: Annotated[
        str | None, typer.Option(help="In place of expose.host of the Dockfile.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=65535, help="In place of expose.port; 0 takes any free one.", show_default=False
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a *.py file or the Dockfile changes.")
    ] = False,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Serve the agent over HTTP until Ctrl-C or SIGTERM."""
    settings = Settings(path, env_file, host, port, verbose)
    with told(verbose) as teller:
        code = supervise(settings, teller) if reload else serve_agent(settings, teller)
    raise typer.Exit(code)
