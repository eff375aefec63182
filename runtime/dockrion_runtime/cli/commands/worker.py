"""`dockrion worker`: execute runs, and serve nobody."""

from __future__ import annotations

import typer

from ..failure import told
from ..options import HERE, DockfilePath, EnvFile, MetricsPort, Verbose


def worker(
    path: DockfilePath = HERE,
    metrics_port: MetricsPort = None,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Execute runs that servers on the same Redis accept, until Ctrl-C or SIGTERM."""
    with told(verbose) as teller:
        from ..working import work

        code = work(path, env_file, teller, metrics_port)
    raise typer.Exit(code)
