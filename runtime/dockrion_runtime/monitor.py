"""A port of one process's own, for whoever watches it: its metrics and probes.

Processes that share a port cannot be told apart there, and one that only executes has none.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from .auth import Authenticator
from .forks import ForkSafeServer
from .front import AgentApp, FrontDoor
from .observability.exposition import metrics_route
from .private import PRIVATE_HEADERS
from .problems import EXCEPTION_HANDLERS
from .routes import probe_routes
from .runs.service import Runs
from .server import server_config
from .service import Service
from .version import VERSION


@asynccontextmanager
async def monitored(
    sock: socket.socket, service: Service, runs: Runs | None, guard: Authenticator | None
) -> AsyncIterator[None]:
    """Serve ``/health``, ``/ready`` and ``/metrics`` on a listening socket within the block."""
    app = AgentApp(
        [*probe_routes(service), metrics_route(service, runs, VERSION)],
        guards=[guard] if guard else None,
        exception_handlers=EXCEPTION_HANDLERS,
        response_headers=PRIVATE_HEADERS,
        openapi_config=None,
        logging_config=None,
        debug=False,
    )
    app.state.service = service
    app.entrance = FrontDoor(app.answer, service)
    server = _Beside(server_config(app))
    serving = asyncio.create_task(server.serve(sockets=[sock]))
    try:
        yield
    finally:
        server.should_exit = True
        await serving


class _Beside(ForkSafeServer):
    """A server beside what the process is there for; signals are for that to hear."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield
