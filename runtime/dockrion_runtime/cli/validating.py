"""What `dockrion validate` does: the Dockfile is checked and its agent loaded."""

from __future__ import annotations

import logging
from pathlib import Path

from litestar import Litestar

from dockrion_events import encode_json
from dockrion_sdk import Dockfile

from ..app import create_app
from ..service import Service
from .agent import own_stdout, read_dockfile, run_agent, running
from .announce import auth_line, routes
from .failure import Teller
from .logs import log_to_stderr
from .waiting import waiting


def validated(path: Path, env_file: Path | None, teller: Teller, *, json: bool) -> int:
    """Check the Dockfile, load its agent, print what it offers, and return the exit code."""
    with own_stdout() as out:
        log_to_stderr(teller, level=logging.WARNING)
        dockfile = read_dockfile(path, env_file, teller)
        with waiting("loading the agent"):
            app = create_app(dockfile)

        async def main() -> int:
            async with running(app):
                out.write(_json(dockfile, app) if json else _summary(dockfile, app))
            return 0

        return run_agent(main())


def _json(dockfile: Dockfile, app: Litestar) -> str:
    service: Service = app.state.service
    shown = {
        "file": str(dockfile.file),
        "agent": {"name": dockfile.agent.name, "framework": service.agent.adapter.framework},
        "routes": [route._asdict() for route in routes(app)],
        "host": dockfile.expose.host,
        "port": dockfile.expose.port,
        "events": list(service.events_filter.allowed),
        "auth": dockfile.auth.mode,
        "warnings": list(dockfile.warnings),
    }
    return encode_json(shown).decode() + "\n"


def _summary(dockfile: Dockfile, app: Litestar) -> str:
    service: Service = app.state.service
    agent = dockfile.agent
    expose = dockfile.expose
    kind = service.agent.adapter.framework
    lines = [
        f"OK: {dockfile.file}",
        f"  agent   {agent.name} ({kind})",
        f"  serves  {', '.join(f'{r.method} {r.path}' for r in routes(app)) or 'nothing'}",
        f"  on      {expose.host}:{expose.port}",
        f"  events  {', '.join(service.events_filter.allowed) or 'the mandatory ones'}",
        f"  auth    {auth_line(dockfile)}",
    ]
    return "\n".join(lines) + "\n"
