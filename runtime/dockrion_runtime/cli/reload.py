"""`dockrion run --reload`: one process watches the files, another serves and is replaced."""

from __future__ import annotations

import os
import socket
import sys
from dataclasses import dataclass
from typing import Final

import typer
import uvicorn
from litestar.enums import ScopeType
from litestar.types import Receive, Scope, Send
from uvicorn.supervisors import ChangeReload

from ..forks import keep_from_children
from ..output import allow_waiting, unblocked_output
from ..problems import PROBLEM_HEADERS, overloaded, problem_body
from ..process import handling
from .agent import checked_dockfile
from .environment import environment_file, unset_variables
from .failure import Teller, told
from .logs import log_to_stderr
from .serving import Settings, listen, serve_agent

RELOAD_GRACE: Final = 1.0
"""Seconds that open streams get before the process that serves them is replaced."""


NOT_LOADED: Final = overloaded(
    "the agent does not load; the terminal says why, and waits for a change", code="NOT_LOADED"
)
"""What clients hear meanwhile; the failure itself is for the terminal."""

NOT_WATCHED: Final = (".venv", "venv", "node_modules")


@dataclass(frozen=True)
class Worker:
    """What the serving process runs; it is pickled on the way there."""

    settings: Settings

    def __call__(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until told to stop. A failure is told, and the watcher waits for the next change."""
        # Cached bytecode is told from its source by second and size: two quick edits may look alike.
        sys.dont_write_bytecode = True
        assert sockets
        with sockets[0].dup() as spare:  # serving closes the one it is given
            keep_from_children(spare)
            try:
                with told(self.settings.verbose) as teller:
                    serve_agent(self.settings, teller, listening=sockets[0], grace=RELOAD_GRACE)
            except typer.Exit:
                print("waiting for a change", file=sys.stderr, flush=True)
                config = uvicorn.Config(not_loaded, lifespan="off", log_config=None, access_log=False)
                uvicorn.Server(config).run(sockets=[spare])


async def not_loaded(scope: Scope, _: Receive, send: Send) -> None:
    """Answer all requests while the agent does not load: a browser would wait for ever otherwise."""
    if scope["type"] == ScopeType.WEBSOCKET:
        await send({"type": "websocket.close", "code": 1013, "reason": NOT_LOADED.detail})
        return
    headers = [*PROBLEM_HEADERS]
    headers += [(name.lower().encode(), value.encode()) for name, value in NOT_LOADED.headers.items()]
    await send({"type": "http.response.start", "status": NOT_LOADED.status, "headers": headers})
    await send({"type": "http.response.body", "body": problem_body(NOT_LOADED), "more_body": False})


def supervise(settings: Settings, teller: Teller) -> int:
    """Serve in a process of its own that is replaced whenever a file changes; return the exit code.

    The agent is loaded there and never here. The socket stays, so nobody is refused in between.
    """
    log_to_stderr(teller)
    env_file = environment_file(settings.path, settings.env_file)
    dockfile = checked_dockfile(settings.path, {**unset_variables(env_file), **os.environ}, teller)
    expose = dockfile.expose
    sock = listen(
        expose.host if settings.host is None else settings.host,
        expose.port if settings.port is None else settings.port,
    )
    config = uvicorn.Config(
        "dockrion",  # never imported here: what is served is the worker's
        reload=True,
        reload_dirs=[str(dockfile.directory)],
        log_config=None,
    )
    # Set here, because uvicorn resolves the patterns it is given in the working directory.
    config.reload_includes = ["*.py", *(file.name for file in (dockfile.file, env_file) if file is not None)]
    config.reload_excludes = [str(dockfile.directory / name) for name in NOT_WATCHED]
    with unblocked_output():
        allow_waiting(dockfile.expose.limits.output_bytes)
        watcher = ChangeReload(config, target=Worker(settings), sockets=[sock])
        with handling(watcher.signal_handler):  # uvicorn itself does not know a hang-up
            watcher.run()
    return 0
