"""The protocols that ``expose.protocols`` names: a line in a table each, and a room of their own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from litestar.handlers import BaseRouteHandler

from dockrion_sdk import DockfileError
from dockrion_sdk import Problem as Fault

from ..runs.service import Runs
from ..service import Service


class Protocol(NamedTuple):
    """``module`` has ``protocol_routes(service, runs)``; ``extra`` brings the package that it ``needs``."""

    module: str
    needs: str
    extra: str


PROTOCOLS: Final = {
    "a2a": Protocol("a2a", needs="a2a", extra="a2a"),
}


def protocol_routes(service: Service, runs: Runs | None) -> list[BaseRouteHandler]:
    """Return the routes of the protocols that the Dockfile names. Raises `DockfileError`."""
    handlers: list[BaseRouteHandler] = []
    for name in service.dockfile.expose.protocols:
        assert runs is not None, "the Dockfile is refused without"
        handlers += _room(service, name)(service, runs)
    return handlers


def _room(service: Service, name: str) -> Callable[[Service, Runs], list[BaseRouteHandler]]:
    protocol = PROTOCOLS[name]
    try:
        importlib.import_module(protocol.needs)
        room: Any = importlib.import_module(f".{protocol.module}", __package__)
    except ImportError as error:
        told = f"{name} needs the extra {protocol.extra!r}, which is not installed whole: {error}"
        hint = f"pip install 'dockrion-sdk[{protocol.extra}]'"
        where = str(service.dockfile.file or "Dockfile")
        raise DockfileError(where, [Fault("expose.protocols", told, hint)]) from error
    routes: Callable[[Service, Runs], list[BaseRouteHandler]] = room.protocol_routes
    return routes
