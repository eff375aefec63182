"""The ``dockrion`` command."""

from __future__ import annotations

from typing import Annotated

import typer

from ..version import VERSION
from .commands.add import add
from .commands.doctor import doctor
from .commands.init import init
from .commands.run import run
from .commands.runs import runs
from .commands.stream import stream
from .commands.test import try_agent
from .commands.validate import validate
from .commands.worker import worker

app = typer.Typer(
    name="dockrion",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(asked: bool) -> None:
    if asked:
        typer.echo(f"dockrion {VERSION}")
        raise typer.Exit


@app.callback()
def _dockrion(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    """Serve an AI agent, unchanged, as one ordered stream of events."""


app.command("init")(init)
app.add_typer(add, name="add")
app.command("validate")(validate)
app.command("test")(try_agent)
app.command("stream")(stream)
app.command("run")(run)
app.command("worker")(worker)
app.add_typer(runs, name="runs")
app.command("doctor")(doctor)


def main() -> None:
    """Run the command that the command line names."""
    app(prog_name="dockrion")


__all__ = ["app", "main"]
