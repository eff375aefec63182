"""`dockrion test`: execute the agent once and print its output."""

from __future__ import annotations

from typing import Annotated

import typer

from ..failure import told
from ..options import HERE, DockfilePath, EnvFile, PayloadText, Verbose


def try_agent(
    payload: PayloadText,
    path: DockfilePath = HERE,
    json: Annotated[
        bool, typer.Option("--json", help="Print what POST /invoke answers, in one line.")
    ] = False,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Execute the agent once and print its output as JSON; nothing else goes to stdout."""
    with told(verbose, json) as teller:
        from ..once import execute_once

        code = execute_once(payload, path, env_file, teller, json=json)
    raise typer.Exit(code)
