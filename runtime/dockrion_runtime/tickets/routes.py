"""The routes that give tickets; they take a key, and never a ticket."""

from __future__ import annotations

from typing import Any, Final

from litestar import post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from ..auth import Authenticator, owner_of
from ..runs.service import Runs
from ..service import Service
from ..wire import Answer, AnyRequest
from .signing import SECONDS

_NO_STORE: Final = (b"cache-control", b"no-store")


def ticket_routes(service: Service, runs: Runs | None, guard: Authenticator | None) -> list[BaseRouteHandler]:
    """Return the routes for tickets to what is served.

    The answer names the addresses to open, with the ticket in them. Where authentication is off, the same
    addresses open without one, and the ticket is null.
    """
    sockets = "websocket" in service.dockfile.expose.streaming

    @post("/runs/{run_id:str}/ticket", tags=["tickets"], summary="A ticket to follow one run for a minute")
    async def for_run(request: AnyRequest, run_id: FromPath[str]) -> Answer:
        assert runs is not None
        owner = owner_of(request)
        await runs.get(owner, run_id)
        ticket = guard.tickets.make("run", owner, run_id) if guard else None
        answer = _answer(ticket, events_url=f"/runs/{run_id}/events")
        if sockets:
            answer |= _answer(ticket, ws_url=f"/runs/{run_id}/ws")
        return Answer(answer, 201, _NO_STORE)

    @post("/ticket", tags=["tickets"], summary="A ticket for one WebSocket session, once, within a minute")
    async def for_socket(request: AnyRequest) -> Answer:
        ticket = guard.tickets.make("socket", owner_of(request)) if guard else None
        return Answer(_answer(ticket, ws_url="/invoke/ws"), 201, _NO_STORE)

    handlers: list[BaseRouteHandler] = []
    if runs is not None:
        handlers.append(for_run)
    if sockets:
        handlers.append(for_socket)
    return handlers


def _answer(ticket: str | None, **addresses: str) -> dict[str, Any]:
    query = "" if ticket is None else f"?ticket={ticket}"
    told = {name: address + query for name, address in addresses.items()}
    return {"ticket": ticket, "expires_in": None if ticket is None else SECONDS, **told}
