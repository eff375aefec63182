"""A new project: its files, what to do next, and its directory."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.resources import files
from pathlib import Path
from typing import Final

from .failure import Failure
from .spelling import flow

KEY_VARIABLE: Final = "DOCKRION_API_KEY"
STORE_VARIABLE: Final = "REDIS_URL"
STORE_URL: Final = f"${{{STORE_VARIABLE}}}"
STORE_SECRET: Final = {"name": STORE_VARIABLE, "description": "Redis connection URL"}
SET_STORE: Final = f"export {STORE_VARIABLE}=redis://localhost:6379"
RUNS_ARE_OFF: Final = "Runs are off, so that nothing is kept there yet: --async-runs turns them on."
GITIGNORE: Final = ".env\n.venv/\n__pycache__/\n"

_QUESTION: Final = '{"query": "2 + 3 * 4"}'


class Framework(StrEnum):
    """The frameworks there is a template for."""

    langgraph = "langgraph"


class Streaming(StrEnum):
    """How a new project streams."""

    sse = "sse"
    none = "none"


class Store(StrEnum):
    """Where runs are kept."""

    memory = "memory"
    redis = "redis"


class Auth(StrEnum):
    """Who may call a new project."""

    api_key = "api_key"


@dataclass(frozen=True)
class Project:
    """What was asked for; ``events`` is a preset or a list of names, ``store`` None where none was named."""

    name: str
    framework: Framework | None
    streaming: Streaming
    events: str | list[str]
    async_runs: bool
    store: Store | None
    auth: Auth | None

    def files(self) -> dict[str, str]:
        """Return the project's files: their names and what is in them."""
        template = f"{self.framework or 'handler'}.py.txt"
        agent = files(__package__).joinpath("templates", template).read_text("utf-8")
        made = {"Dockfile.yaml": self.dockfile(), "agent.py": agent, ".gitignore": GITIGNORE}
        if self.auth is not None:
            made[".env"] = f"{KEY_VARIABLE}={secrets.token_urlsafe(32)}\n"
        return made

    def next_commands(self) -> list[str]:
        """Return what to type next."""
        key = f'-H "X-API-Key: $(sed -n s/^{KEY_VARIABLE}=//p .env)" ' if self.auth else ""
        post = f"-H \"Content-Type: application/json\" {key}-d '{_QUESTION}'"
        call = f"curl -X POST localhost:8080/invoke {post}"
        if self.streaming is Streaming.sse:
            call = f"curl -N -X POST localhost:8080/invoke/stream {post}"
        commands = [f"cd {self.name}"]
        if self.store is Store.redis:
            commands.append(f"{SET_STORE}   # where yours is; it has to be given before the next step")
        commands += ["dockrion run", f"{call}   # in another terminal, in {self.name}/"]
        if self.async_runs:
            commands.append(f"curl -X POST localhost:8080/runs {post}")
            commands.append(f"dockrion runs list{' --env-file .env' if self.auth else ''}")
        return commands

    def dockfile(self) -> str:
        """Return the Dockfile's text."""
        agent = "  handler: agent:handle"
        if self.framework is not None:
            agent = f"  entrypoint: agent:build_graph\n  framework: {self.framework}"
        text = _DOCKFILE.format(
            name=self.name, agent=agent, streaming=self.streaming, runs=self._runs(), events=flow(self.events)
        )
        if self.auth is not None:
            text += _AUTH
        if self.store is Store.redis:
            text += f"\nsecrets:\n  required:\n    - {flow(STORE_SECRET)}\n"
        return text

    def _runs(self) -> str:
        lines = []
        if self.async_runs:
            lines.append("async_runs: true    # serves /runs: runs that outlive their connections")
        if self.store is not None:
            lines.append(f"backend: {self.store}    # where runs are kept: memory or redis")
        if self.store is Store.redis:
            lines.append(f"redis: {flow({'url': STORE_URL})}")
        return "".join(f"  {line}\n" for line in lines)


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
  host: 127.0.0.1    # this machine only; 0.0.0.0 is every interface: turn auth on first

streaming:
{runs}  events:
    allowed: {events}    # minimal, chat, debug, all, or a list such as [token, step, "custom:mine"]
"""
_AUTH: Final = f"""
auth:
  mode: api_key    # the keys are in {KEY_VARIABLE}; the file .env sets it
"""


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
