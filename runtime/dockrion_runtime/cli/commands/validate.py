"""`dockrion validate`: check the Dockfile and load its agent."""

from __future__ import annotations

import typer

from ..failure import told
from ..options import HERE, AsJSON, DockfilePath, EnvFile, Verbose


def validate(
    path: DockfilePath = HERE, env_file: EnvFile = None, json: AsJSON = False, verbose: Verbose = False
) -> None:
    """Check the Dockfile and load the agent; tell every problem."""
    with told(verbose, json) as teller:
        from ..validating import validated

        code = validated(path, env_file, teller, json=json)
    raise typer.Exit(code)
