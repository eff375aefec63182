"""What an app offers, in a few lines."""

from __future__ import annotations

from typing import Final, NamedTuple

from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from dockrion_sdk import Dockfile

from ..playground import has_playground
from ..service import Service

_OFFERED: Final = frozenset({"agent", "runs", "a2a"})
"""The tags of routes that clients are meant to call."""


class OfferedRoute(NamedTuple):
    """A route that clients are meant to call."""

    method: str
    path: str
    summary: str


def routes(app: Litestar) -> list[OfferedRoute]:
    """Return the routes about the agent, in the order they were registered."""
    return [
        OfferedRoute(method, path.replace(":str}", "}"), handler.summary or "")
        for route in app.routes
        for handler in getattr(route, "route_handlers", ())
        if isinstance(handler, HTTPRouteHandler) and _OFFERED & set(handler.tags or ())
        for method in sorted(handler.http_methods - {"HEAD", "OPTIONS"})
        for path in sorted(handler.paths)
    ]


def auth_line(dockfile: Dockfile) -> str:
    """Say who may call."""
    if dockfile.auth.mode == "none":
        return "off: whoever reaches the port may call"
    keys = dockfile.auth.api_keys
    bearer = " or as a bearer token" if keys.allow_bearer else ""
    return f"API key in {keys.header}{bearer}; the keys are in {keys.env_var}"


def url(host: str, port: int) -> str:
    """Return where a browser on this machine finds the server."""
    if host in ("0.0.0.0", "::", ""):
        host = "localhost"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def announcement(app: Litestar, host: str, port: int) -> str:
    """Return the lines that say where the agent is served and what to call."""
    service: Service = app.state.service
    dockfile = service.dockfile
    address = url(host, port)
    offered = routes(app)
    width = max((len(route.path) for route in offered), default=0)
    page = [f"  playground {address}/"] if has_playground(dockfile) else []
    return "\n".join(
        [
            f"{dockfile.agent.name} ({service.agent.adapter.framework}) is served at {address}",
            *(f"  {route.method:6} {route.path:{width}}  {route.summary}" for route in offered),
            *page,
            f"  docs {address}/docs",
            f"  auth {auth_line(dockfile)}",
        ]
    )
