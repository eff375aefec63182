"""What an app offers, in a few lines."""

from __future__ import annotations

import ipaddress
from typing import Final, NamedTuple

from litestar import Litestar
from litestar.routes import HTTPRoute, WebSocketRoute

from dockrion_sdk import Dockfile

from ..playground import has_playground
from ..service import Service
from ..wires.routes import SUMMARY

EVERY_INTERFACE: Final = ("0.0.0.0", "::", "")

_OFFERED: Final = frozenset({"agent", "runs", "a2a"})
"""The tags of routes that clients are meant to call."""


class OfferedRoute(NamedTuple):
    """A route that clients are meant to call."""

    method: str
    path: str
    summary: str


def routes(app: Litestar) -> list[OfferedRoute]:
    """Return the routes about the agent, in the order they were registered; the method of sockets is WS."""
    offered = []
    for route in app.routes:
        path = route.path_format
        if isinstance(route, WebSocketRoute):
            offered.append(OfferedRoute("WS", path, route.route_handler.opt[SUMMARY]))
        elif isinstance(route, HTTPRoute):
            offered += [
                OfferedRoute(method, path, handler.summary or "")
                for handler in route.route_handlers
                if _OFFERED & set(handler.tags or ())
                for method in sorted(handler.http_methods - {"HEAD", "OPTIONS"})
            ]
    return offered


def auth_line(dockfile: Dockfile) -> str:
    """Say who may call."""
    if dockfile.auth.mode == "none":
        return "off: whoever reaches the port may call"
    keys = dockfile.auth.api_keys
    bearer = " or as a bearer token" if keys.allow_bearer else ""
    return f"API key in {keys.header}{bearer}; the keys are in {keys.env_var}"


def is_loopback(host: str) -> bool:
    """Say whether only programs on this machine reach what listens on ``host``."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def reach(host: str) -> str:
    """Say who reaches what listens on ``host``."""
    if is_loopback(host):
        return "this machine only"
    return "every interface of this machine" if host in EVERY_INTERFACE else "whoever reaches that address"


def address(host: str, port: int) -> str:
    """Return an address to listen on, as it is written."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def url(host: str, port: int) -> str:
    """Return where a browser on this machine finds the server."""
    return f"http://{address('localhost' if host in EVERY_INTERFACE else host, port)}"


def announcement(app: Litestar, host: str, port: int) -> str:
    """Return the lines that say where the agent is served and what to call."""
    service: Service = app.state.service
    dockfile = service.dockfile
    found_at = url(host, port)
    offered = routes(app)
    width = max((len(route.path) for route in offered), default=0)
    page = [f"  playground {found_at}/"] if has_playground(dockfile) else []
    return "\n".join(
        [
            f"{dockfile.agent.name} ({service.agent.adapter.framework}) is served at {found_at}",
            *(f"  {route.method:6} {route.path:{width}}  {route.summary}" for route in offered),
            *page,
            f"  docs {found_at}/docs{'' if dockfile.auth.mode == 'none' else ', which needs a key as well'}",
            f"  listens on {address(host, port)}: {reach(host)}",
            f"  auth {auth_line(dockfile)}",
        ]
    )
