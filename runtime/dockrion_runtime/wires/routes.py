"""The routes of the WebSocket wire."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from litestar import websocket
from litestar.exceptions import WebSocketDisconnect
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from dockrion_events import BackendUnavailable

from ..auth import OPEN, Authenticator, owner_of
from ..front.door import refuse
from ..problems import Problem, not_started, unavailable
from ..runs.cursor import position, timeout
from ..runs.service import Runs
from ..service import Service
from ..tickets.signing import PURPOSE, Purpose
from .line import UNEXPECTED, UNSUPPORTED, AnySocket, Line
from .run_socket import RunSocket
from .session import Session

log = logging.getLogger("dockrion")

SUMMARY: Final = "summary"
"""What a socket is for, in a handler's ``opt``; Litestar keeps a summary of HTTP handlers only."""


def socket_routes(service: Service, runs: Runs | None, guard: Authenticator | None) -> list[BaseRouteHandler]:
    """Return the routes for WebSockets. Their keys are checked here, so that a refusal can say why."""

    events = service.dockfile.streaming.events
    heartbeat = events.heartbeat_interval if service.events_filter.is_allowed("heartbeat") else None

    @websocket(
        "/invoke/ws",
        opt={OPEN: True, PURPOSE: "socket", SUMMARY: "Execute, several at once, over one WebSocket"},
    )
    async def invoke(socket: AnySocket) -> None:
        if not await _admitted(socket, guard, "socket"):
            return
        await socket.accept(subprotocols=_subprotocol(socket))
        line = Line(socket, service.edge)
        session = Session(service, line, owner_of(socket))
        service.sockets.add(session)
        try:
            await _frames(socket, line, session.take)
        finally:
            service.sockets.discard(session)
            await asyncio.shield(asyncio.create_task(session.close()))

    @websocket(
        "/runs/{run_id:str}/ws",
        opt={OPEN: True, PURPOSE: "run", SUMMARY: "Follow a run's events over a WebSocket"},
    )
    async def follow(socket: AnySocket, run_id: FromPath[str]) -> None:
        assert runs is not None
        if not await _admitted(socket, guard, "run"):
            return
        line = Line(socket, service.edge)
        try:
            after, seconds = position(socket), timeout(socket, service)
            run = await runs.follow(
                owner_of(socket),
                run_id,
                after=after,
                view=lambda follower, closed: RunSocket(
                    follower,
                    run_id,
                    line,
                    service.observability.meter,
                    seconds=seconds,
                    heartbeat=heartbeat,
                    tells_epochs=socket.query_params.get("epochs") == "true",
                    on_close=closed,
                ),
            )
        except Problem as problem:
            await _refuse(socket, problem)
            return
        except BackendUnavailable as error:
            log.warning("%s", error)
            await _refuse(socket, unavailable(error) if service.ready else not_started())
            return
        tasks: list[asyncio.Task[None]] = []
        try:
            await socket.accept(subprotocols=_subprotocol(socket))
            tasks += [asyncio.create_task(run.run()), asyncio.create_task(_frames(socket, line, None))]
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            run.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    return [invoke] if runs is None else [invoke, follow]


async def _admitted(socket: AnySocket, guard: Authenticator | None, purpose: Purpose) -> bool:
    if guard is not None:
        try:
            guard.authenticate(socket, purpose)
        except Problem as problem:
            await _refuse(socket, problem)
            return False
    return True


def _subprotocol(socket: AnySocket) -> str | None:
    """Return the subprotocol that is spoken: the first that the client names, or none where it names none.

    There is only one way in which these sockets speak. A browser that names any closes a socket whose
    server selects none.
    """
    offered: list[str] = socket.scope.get("subprotocols") or []
    return offered[0] if offered else None


async def _refuse(socket: AnySocket, problem: Problem) -> None:
    await refuse(problem, socket.scope, socket.receive, socket.send)


async def _frames(socket: AnySocket, line: Line, take: Callable[[str], Awaitable[None]] | None) -> None:
    """Read the client's frames until it is gone."""
    with suppress(WebSocketDisconnect, ConnectionError):
        while True:
            message = await socket.receive()
            if message["type"] != "websocket.receive":
                return
            text = message.get("text")
            if text is None:
                await line.close(UNSUPPORTED, "text frames only")
                return
            if take is None:
                await line.close(UNEXPECTED, "nothing is expected from the follower of a run")
                return
            await take(text)
