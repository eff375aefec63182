"""The application: a Dockfile in, an ASGI app out."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig
from litestar.middleware import DefineMiddleware

from dockrion_events import BackendUnavailable
from dockrion_sdk import Dockfile, load_dockfile

from .assembly import alive, assemble, watching
from .auth import authenticator
from .front import AgentApp, FrontDoor
from .front.origins import normal_origin
from .observability.exposition import metrics_route
from .openapi import openapi_config
from .options import options_routes
from .playground import playground_routes
from .private import PRIVATE_HEADERS
from .problems import EXCEPTION_HANDLERS
from .routes import informing_routes, invoking_routes
from .runs.routes import handle_unavailable, run_routes
from .tickets.hiding import hide_tickets
from .tickets.routes import ticket_routes
from .version import VERSION
from .wires.protocols import protocol_routes
from .wires.routes import socket_routes

log = logging.getLogger("dockrion")


def create_app(
    dockfile: Dockfile | str | os.PathLike[str],
    *,
    env: Mapping[str, str] | None = None,
    executing: bool = True,
    monitor: socket.socket | None = None,
) -> Litestar:
    """Return the server of the Dockfile's agent; ``app.state.service`` is its `Service`.

    Takes a Dockfile, or a path as `load_dockfile` does. The ASGI application that is returned can be mounted
    below a path of FastAPI, Starlette or Litestar, several of them in one process. An application that
    mounts it has to run its lifespan (``async with app.lifespan(): ...``), which opens the agent and the
    store of its runs; until then what needs them is answered by 503 ``NOT_STARTED``.

    ``env`` stands in for the environment, for a Dockfile read here and for the API keys. ``executing`` says
    whether it executes the runs it accepts, or leaves that to others on its store.
    On ``monitor``, a listening socket, its metrics and probes are served as well.

    The agent is loaded here, so that a fault shows before anything listens. Raises `DockfileError`
    and the adapters' `LoadError`.
    """
    environ = os.environ if env is None else env
    if not isinstance(dockfile, Dockfile):
        dockfile = load_dockfile(dockfile, env=environ)
        for warning in dockfile.warnings:
            log.warning("%s", warning)
    guard = authenticator(dockfile, environ)
    secrets = tuple(guard.secrets) if guard else ()
    owners = guard.owners if guard else 1
    service, runs = assemble(dockfile, environ, secrets=secrets, owners=owners, executing=executing)

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            try:
                for warning in guard.warnings if guard else ():
                    log.warning("%s", warning)
                await stack.enter_async_context(alive(service, runs))
                stack.enter_context(watching(service, runs))
                if monitor is not None:
                    from .monitor import monitored  # here: who has a server needs no second one

                    await stack.enter_async_context(monitored(monitor, service, runs, guard))
            except Exception as error:
                app.state.startup_error = error
                raise
            yield

    expose = dockfile.expose
    cors = None
    if expose.cors.origins:
        cors = CORSConfig(
            allow_origins=[normal_origin(origin) or origin for origin in expose.cors.origins],
            allow_methods=list(expose.cors.methods),  # type: ignore[arg-type]  # checked by the Dockfile
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "X-Thread-ID", "Retry-After", "Warning"],
        )
    middleware: list[DefineMiddleware] = []
    if service.observability.tracing is not None:
        from .observability.tracing.requests import TraceRequests  # here: who does without needs no extra

        middleware.append(DefineMiddleware(TraceRequests, tracing=service.observability.tracing))
    handlers = [
        *invoking_routes(service),
        *(run_routes(service, runs) if runs is not None else ()),
        *(socket_routes(service, runs, guard) if "websocket" in expose.streaming else ()),
        *ticket_routes(service, runs, guard),
        *protocol_routes(service, runs),
        *informing_routes(service),
        *playground_routes(service),
        *([metrics_route(service, runs, VERSION)] if dockfile.observability.metrics else ()),
    ]
    app = AgentApp(
        [*options_routes(handlers), *handlers],
        guards=[guard] if guard else None,
        middleware=middleware,
        exception_handlers={**EXCEPTION_HANDLERS, BackendUnavailable: handle_unavailable},
        cors_config=cors,
        response_headers=PRIVATE_HEADERS,
        openapi_config=openapi_config(dockfile, VERSION, lambda: service.input_schema),
        request_max_body_size=expose.max_body_bytes,
        lifespan=[lifespan],
        logging_config=None,
        debug=False,
    )
    app.entrance = FrontDoor(app.answer, service)
    if guard is not None:
        app.entrance = hide_tickets(app.entrance)
    app.state.service = service
    app.state.direct_answers = cors is None and not middleware  # who else would see what is sent
    app.state.startup_error = None
    return app
