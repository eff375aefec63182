"""The application: a Dockfile in, an ASGI app out."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager

from litestar import Litestar
from litestar.config.cors import CORSConfig

from dockrion_events import BackendUnavailable
from dockrion_sdk import Dockfile, load

from .auth import authenticator
from .docs import assets_router, openapi_config
from .problems import EXCEPTION_HANDLERS
from .redaction import redactor
from .routes import VERSION, informing_routes, invoking_routes
from .runs.ids import id_generator
from .runs.routes import handle_unavailable, run_routes
from .runs.service import Runs, event_backend
from .service import Service


def create_app(
    dockfile: Dockfile, *, env: Mapping[str, str] | None = None, executing: bool = True
) -> Litestar:
    """Return the server of the Dockfile's agent; ``app.state.service`` is its `Service`.

    ``executing`` says whether it executes the runs it accepts, or leaves that to others on its store.

    The agent is loaded here, so that a fault shows before anything listens. Raises `DockfileError`
    and the adapters' `LoadError`.
    """
    environ = os.environ if env is None else env
    guard = authenticator(dockfile, environ)
    adapter = load(dockfile)
    if getattr(adapter, "recursion_limit", 0) is None:
        adapter.recursion_limit = dockfile.agent.recursion_limit  # type: ignore[attr-defined]
    service = Service(
        dockfile,
        adapter,
        redact=redactor(dockfile, environ, guard.secrets if guard else ()),
    )

    runs: Runs | None = None
    if dockfile.streaming.async_runs:
        runs = Runs(service, event_backend(dockfile), id_generator(dockfile), executing=executing)
        service.runs = runs

    @asynccontextmanager
    async def lifespan(_: Litestar) -> AsyncIterator[None]:
        # Synchronous graph nodes run in the loop's own pool, whose usual size is a handful.
        asyncio.get_running_loop().set_default_executor(service.agent.pool)
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(service.agent.lifetime())
                if runs is not None:
                    stack.push_async_callback(runs.close)
                    await runs.open()
            except Exception as error:
                app.state.startup_error = error
                raise
            service.ready = True
            try:
                yield
            finally:
                service.ready = False

    expose = dockfile.expose
    cors = None
    if expose.cors.origins:
        cors = CORSConfig(
            allow_origins=list(expose.cors.origins),
            allow_methods=list(expose.cors.methods),  # type: ignore[arg-type]  # checked by the Dockfile
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
        )
    app = Litestar(
        [
            *invoking_routes(service),
            *(run_routes(service, runs) if runs is not None else ()),
            *informing_routes(service),
            assets_router(),
        ],
        guards=[guard] if guard else None,
        exception_handlers={**EXCEPTION_HANDLERS, BackendUnavailable: handle_unavailable},
        cors_config=cors,
        openapi_config=openapi_config(dockfile.agent.name, VERSION, dockfile.agent.description),
        request_max_body_size=expose.max_body_bytes,
        lifespan=[lifespan],
        logging_config=None,
        debug=False,
    )
    app.state.service = service
    app.state.startup_error = None
    return app
