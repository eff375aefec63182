"""`dockrion init`: a project that runs at once."""

from __future__ import annotations

import os
import re
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer

from .failure import Failure, told
from .options import chosen_events

KEY_VARIABLE: Final = "DOCKRION_API_KEY"
GITIGNORE: Final = ".env\n.venv/\n__pycache__/\n"

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
_QUESTION: Final = '{"query": "2 + 3 * 4"}'


class Framework(StrEnum):
    """The frameworks there is a template for."""

    langgraph = "langgraph"


class Streaming(StrEnum):
    """How a new project streams."""

    sse = "sse"
    none = "none"


class Auth(StrEnum):
    """Who may call a new project."""

    api_key = "api_key"


@dataclass(frozen=True)
class Project:
    """What was asked for; ``events`` is a preset or a list of names."""

    name: str
    framework: Framework | None
    streaming: Streaming
    events: str | list[str]
    auth: Auth | None

    def files(self) -> dict[str, str]:
        """Return the project's files: their names and what is in them."""
        template = f"{self.framework or 'handler'}.py.txt"
        agent = files(__package__).joinpath("templates", template).read_text("utf-8")
        made = {"Dockfile.yaml": self._dockfile(), "agent.py": agent, ".gitignore": GITIGNORE}
        if self.auth is not None:
            made[".env"] = f"{KEY_VARIABLE}={secrets.token_urlsafe(32)}\n"
        return made

    def next_commands(self) -> list[str]:
        """Return what to type next."""
        key = '-H "X-API-Key: $(cut -d= -f2 .env)" ' if self.auth else ""
        post = f"-H \"Content-Type: application/json\" {key}-d '{_QUESTION}'"
        call = f"curl -X POST localhost:8080/invoke {post}"
        if self.streaming is Streaming.sse:
            call = f"curl -N -X POST localhost:8080/invoke/stream {post}"
        return [f"cd {self.name}", "dockrion run", f"{call}   # in another terminal, in {self.name}/"]

    def _dockfile(self) -> str:
        agent = "  handler: agent:handle"
        if self.framework is not None:
            agent = f"  entrypoint: agent:build_graph\n  framework: {self.framework}"
        text = _DOCKFILE.format(name=self.name, agent=agent, streaming=self.streaming, events=self._allowed())
        return text if self.auth is None else text + _AUTH

    def _allowed(self) -> str:
        if isinstance(self.events, str):
            return self.events
        names = (f'"{name}"' if ":" in name else name for name in self.events)
        return f"[{', '.join(names)}]"


_DOCKFILE: Final = """\
version: "1.0"

agent:
  name: "{name}"
{agent}

io_schema:
  input:
    type: object
    properties:
      query: {{type: string, minLength: 1, maxLength: 200, description: Arithmetic to work out}}
    required: [query]

expose:
  streaming: {streaming}    # sse serves POST /invoke/stream, none does not; POST /invoke is there anyway
  port: 8080

streaming:
  events:
    allowed: {events}    # minimal, chat, debug, all, or a list such as [token, step, "custom:mine"]
"""
_AUTH: Final = f"""
auth:
  mode: api_key    # the keys are in {KEY_VARIABLE}; the file .env sets it
"""


def init(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The project, and the directory it gets.")],
    handler: Annotated[bool, typer.Option("--handler", help="A plain function; the default.")] = False,
    framework: Annotated[
        Framework | None, typer.Option(help="A graph instead of a function.", show_default=False)
    ] = None,
    streaming: Annotated[Streaming, typer.Option(help="How clients may stream.")] = Streaming.sse,
    streaming_events: Annotated[
        str, typer.Option(metavar="PRESET|LIST", help="Which events are streamed: chat, or token,step.")
    ] = "all",
    auth: Annotated[
        Auth | None, typer.Option(help="Ask clients for a key; one is generated.", show_default=False)
    ] = None,
) -> None:
    """Make a directory NAME with a Dockfile.yaml and an agent that runs at once."""
    if handler and framework is not None:
        raise typer.BadParameter("--handler and --framework exclude each other; keep one")
    if not _NAME.fullmatch(name):
        raise typer.BadParameter(
            f"{name!r} is no valid name: 1 to 64 letters, digits, '-' and '_', a letter first"
        )
    project = Project(name, framework, streaming, chosen_events(streaming_events), auth)
    with told():
        write_directory(Path(name), project.files())
        typer.echo(f"Made {name}/ with {', '.join(sorted(project.files()))}")
        if project.auth is not None:
            typer.echo(f"A new API key is in {name}/.env, readable by you alone and ignored by git.")
        typer.echo("\n".join(["Next:", *(f"  {command}" for command in project.next_commands())]))


def write_directory(target: Path, contents: Mapping[str, str]) -> None:
    """Make ``target`` with these files, or nothing at all. Raises `Failure`.

    An existing directory has to be empty. ``.env`` is readable by its owner alone.
    """
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise Failure(f"{target} exists and is no directory", "choose another name")
    if target.is_dir() and any(target.iterdir()):
        raise Failure(f"{target}/ exists and is not empty", "choose another name, or empty it first")
    building = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    try:
        building.mkdir()
        for name, text in contents.items():
            mode = 0o600 if name == ".env" else 0o666
            with open(os.open(building / name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode), "w") as file:
                file.write(text)
        building.rename(target)
    except OSError as error:
        reason = error.strerror or str(error)
        raise Failure(f"cannot make {target}/: {reason}", "go to a directory that you may write to") from None
    finally:
        shutil.rmtree(building, ignore_errors=True)
