"""`dockrion doctor`: look at everything that has to be right, and say how to mend what is not."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..failure import told
from ..options import AsJSON, EnvFile


def doctor(
    path: Annotated[
        Path | None,
        typer.Argument(metavar="PATH", help="The Dockfile, or the directory it is in.", show_default=False),
    ] = None,
    env_file: EnvFile = None,
    json: AsJSON = False,
) -> None:
    """Check the installation, the Dockfile, the agent, its secrets, its Redis and its port."""
    with told(as_json=json) as teller:
        from ..examining import examine

        code = examine(path, env_file, teller, json=json)
    raise typer.Exit(code)
