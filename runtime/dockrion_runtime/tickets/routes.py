"""The routes that give tickets; they take a key, and never a ticket."""

from __future__ import annotations

from litestar import post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from ..answers import RunTicket, SocketTicket
from ..auth import Authenticator, owner_of
from ..front.prefix import prefix_of
from ..openapi import Describer, Headers, answer, header
from ..runs.described import RUN_ID, STORE
from ..runs.service import Runs
from ..service import Service
from ..wire import Answer, AnyRequest
from .signing import SECONDS


def ticket_routes(service: Service, runs: Runs | None, guard: Authenticator | None) -> list[BaseRouteHandler]:
    """Return the routes for tickets to what is served.

    The answer names the addresses to open, with the ticket in them. Where authentication is off, the same
    addresses open without one, and the ticket is null.
    """
    sockets = "websocket" in service.dockfile.expose.streaming

    describe = Describer(service.dockfile)
    kept: Headers = {"Cache-Control": header("`no-store`")}

    @post(
        "/runs/{run_id:str}/ticket",
        tags=["tickets"],
        summary="A ticket to follow one run for a minute",
        operation_id="ticket_for_run",
        operation_class=describe(
            {201: answer(RunTicket, "The ticket.", kept)},
            parameters=[RUN_ID],
            refusals={404: ("RUN_NOT_FOUND",), 503: (STORE,)},
        ),
    )
    async def for_run(request: AnyRequest, run_id: FromPath[str]) -> Answer:
        assert runs is not None
        owner = owner_of(request)
        await runs.get(owner, run_id)
        ticket = guard.tickets.make("run", owner, run_id) if guard else None
        run = f"{prefix_of(request.scope)}/runs/{run_id}"
        given = RunTicket(
            ticket=ticket, expires_in=_seconds(ticket), events_url=_with(ticket, f"{run}/events")
        )
        if sockets:
            given.ws_url = _with(ticket, f"{run}/ws")
        return Answer(given, 201)

    @post(
        "/ticket",
        tags=["tickets"],
        summary="A ticket for one WebSocket session, once, within a minute",
        operation_id="ticket_for_socket",
        operation_class=describe({201: answer(SocketTicket, "The ticket.", kept)}),
    )
    async def for_socket(request: AnyRequest) -> Answer:
        ticket = guard.tickets.make("socket", owner_of(request)) if guard else None
        address = f"{prefix_of(request.scope)}/invoke/ws"
        given = SocketTicket(ticket=ticket, expires_in=_seconds(ticket), ws_url=_with(ticket, address))
        return Answer(given, 201)

    handlers: list[BaseRouteHandler] = []
    if runs is not None:
        handlers.append(for_run)
    if sockets:
        handlers.append(for_socket)
    return handlers


def _with(ticket: str | None, address: str) -> str:
    return address if ticket is None else f"{address}?ticket={ticket}"


def _seconds(ticket: str | None) -> int | None:
    return None if ticket is None else SECONDS
