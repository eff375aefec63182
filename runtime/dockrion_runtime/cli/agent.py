"""What `validate`, `test`, `stream` and `run` share: the Dockfile, its agent, and one loop for it."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, TextIO

from litestar import Litestar

from dockrion_sdk import Dockfile, load_dockfile

from ..assembly import alive
from ..auth import authenticator
from ..payload import compiled
from ..process import held_by, leave
from ..redaction import redactor
from ..service import Service
from .environment import environment_file, unset_variables
from .failure import INTERRUPTED, TRACEBACK_HINT, Failure, Teller, describe
from .payloads import payload_of, refused_as_failure, unchecked_payload_of


def read_dockfile(path: Path, env_file: Path | None, teller: Teller) -> Dockfile:
    """Read and check the Dockfile, after filling the environment in from its file; tell its warnings."""
    os.environ.update(unset_variables(environment_file(path, env_file)))
    return checked_dockfile(path, os.environ, teller)


def checked_dockfile(path: Path, env: Mapping[str, str], teller: Teller) -> Dockfile:
    """Read and check the Dockfile against ``env``; from here on the teller knows its secrets."""
    dockfile = load_dockfile(path, env)
    guard = authenticator(dockfile, env)
    teller.redact = redactor(dockfile, env, guard.secrets if guard else ())
    for warning in dockfile.warnings:
        teller.say(f"warning: {warning}")
    return dockfile


@asynccontextmanager
async def running(app: Litestar) -> AsyncIterator[Service]:
    """Hold the agent's lifetime. Its runs, and the store that a server keeps them in, are not needed here."""
    service: Service = app.state.service
    async with AsyncExitStack() as stack:
        try:
            await stack.enter_async_context(alive(service, None))
        except Exception as error:
            raise not_started(error) from error
        yield service


def not_started(error: BaseException) -> Failure:
    """Return the failure of an agent that loads and does not start."""
    return Failure(f"the agent cannot start: {describe(error)}", TRACEBACK_HINT)


def checked_payload(text: str, dockfile: Dockfile) -> Any:
    """Return the payload of ``-p``, held against ``io_schema.input`` if there is one."""
    schema = dockfile.io_schema.input
    return unchecked_payload_of(text) if schema is None else payload_of(text, compiled(schema))


async def check_input(service: Service, payload: Any, config: dict[str, Any]) -> None:
    """Hold a payload against what the agent takes, as a server does. Raises `Failure`."""
    with refused_as_failure():
        service.check_payload(payload)
        await service.check_input(payload, config)


def run_agent(main: Coroutine[Any, Any, int]) -> int:
    """Run a command's coroutine on a loop of its own and return its exit code.

    The first Ctrl-C cancels it, a second one ends it. Where cancelled code holds threads or tasks that
    nobody can stop, the process ends here and now.
    """
    interrupted = False
    with asyncio.Runner() as runner:
        try:
            code = runner.run(main)
        except KeyboardInterrupt:
            code, interrupted = INTERRUPTED, True
        if held_by(runner):
            if interrupted:
                print("interrupted", file=sys.stderr)
            leave(code)
    if interrupted:
        raise KeyboardInterrupt
    return code


@contextmanager
def own_stdout() -> Iterator[TextIO]:
    """Keep stdout for the command: whatever else is written there within goes to stderr."""
    sys.stdout.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    out = open(kept, "w", encoding="utf-8", errors="replace", closefd=False)  # noqa: SIM115 - closed below
    try:
        yield out
        out.flush()
    finally:
        with suppress(OSError):
            sys.stdout.flush()
        with suppress(OSError):
            out.close()
        os.dup2(kept, 1)
        os.close(kept)
