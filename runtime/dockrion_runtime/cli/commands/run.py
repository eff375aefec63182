"""`dockrion run`: serve the agent until told to stop."""

from __future__ import annotations

from typing import Annotated

import typer

from ..failure import USAGE, Failure, told
from ..options import HERE, LAST_PORT, DockfilePath, EnvFile, MetricsPort, Verbose


def run(
    path: DockfilePath = HERE,
    host: Annotated[
        str | None, typer.Option(help="In place of expose.host of the Dockfile.", show_default=False)
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(
            min=0, max=LAST_PORT, help="In place of expose.port; 0 takes any free one.", show_default=False
        ),
    ] = None,
    reload: Annotated[
        bool, typer.Option("--reload", help="Start again when a *.py file or the Dockfile changes.")
    ] = False,
    workers: Annotated[int, typer.Option(min=1, max=256, help="Processes that serve.")] = 1,
    executor: Annotated[
        bool, typer.Option("--executor/--no-executor", help="Execute runs here, or leave that to workers.")
    ] = True,
    playground: Annotated[
        bool | None,
        typer.Option(
            "--playground/--no-playground",
            help="In place of expose.playground: the page at /.",
            show_default=False,
        ),
    ] = None,
    metrics_port: MetricsPort = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Serve the agent over HTTP until Ctrl-C or SIGTERM."""
    with told(verbose) as teller:
        from ..reload import supervise
        from ..serving import Settings, serve_agent
        from ..workers import serve_by

        settings = Settings(path, env_file, host, port, verbose, executor, playground, metrics_port, workers)
        if metrics_port is not None and workers > 1 and not 0 < metrics_port <= LAST_PORT + 1 - workers:
            what = f"--metrics-port {metrics_port}: {workers} processes take that one and those that follow"
            raise Failure(what, f"give one from 1 to {LAST_PORT + 1 - workers}", code=USAGE)
        if reload and workers > 1:
            raise Failure("--reload serves by one process", "leave --workers out", code=USAGE)
        if reload:
            code = supervise(settings, teller)
        elif workers > 1:
            code = serve_by(workers, settings, teller)
        else:
            code = serve_agent(settings, teller)
    raise typer.Exit(code)
