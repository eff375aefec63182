"""The ASGI application before the routes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from litestar import Litestar
from litestar.enums import ScopeType
from litestar.types import (
    ASGIApp,
    LifeSpanReceive,
    LifeSpanScope,
    LifeSpanSend,
    Message,
    Receive,
    Scope,
    Send,
)

from ..problems import PROBLEM_HEADERS, Problem, problem_body
from ..service import Service
from .hosts import Hosts
from .origins import Origins
from .prefix import FORWARDED_PREFIX, FORWARDED_PROTO, Place

_LOOKED_AT: Final = frozenset(
    {
        b"host",
        b"origin",
        b"sec-fetch-site",
        b"sec-fetch-mode",
        b"sec-fetch-dest",
        FORWARDED_PREFIX,
        FORWARDED_PROTO,
    }
)
_LONGEST_SHOWN: Final = 200

REFUSED: Final = 1008
"""The code of a WebSocket's close where the server cannot answer the handshake with a document."""


class AgentApp(Litestar):
    """One agent's server: an ASGI application that runs by itself or is mounted in another one.

    Mounted, its lifespan is the other application's to run: ``async with app.lifespan(): ...``.
    """

    __slots__ = ("entrance",)

    entrance: ASGIApp
    """What requests go to first; it leads to `answer`."""

    async def __call__(
        self,
        scope: Scope | LifeSpanScope,
        receive: Receive | LifeSpanReceive,
        send: Send | LifeSpanSend,
    ) -> None:
        """Answer a request, or follow a server's lifespan."""
        if scope["type"] == "lifespan":
            await super().__call__(scope, receive, send)
        else:
            await self.entrance(scope, receive, send)  # type: ignore[arg-type]

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request that may pass."""
        await super().__call__(scope, receive, send)


class FrontDoor:
    """Refuses requests for hosts and from pages that are not the server's, and finds the path below it.

    What was sent by a program, without ``Origin`` and ``Sec-Fetch-Site``, passes with a look at its headers.
    """

    def __init__(self, app: ASGIApp, service: Service) -> None:
        dockfile = service.dockfile
        self._app = app
        self._problems = service.observability.meter.problems
        self._auth = dockfile.auth.mode != "none"
        self._hosts = Hosts(dockfile)
        self._origins = Origins(dockfile)
        self._place = Place(dockfile)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the application answer the request, or refuse it."""
        headers = {name: value for name, value in scope["headers"] if name in _LOOKED_AT}
        try:
            self._check(scope, headers)
            if self._place.always or scope.get("root_path") or "litestar_app" in scope:
                scope = self._place.placed(scope, headers)
        except Problem as problem:
            self._problems[str(problem.status)] += 1
            await refuse(problem, scope, receive, send)
            return
        if scope.get("method") == "HEAD":
            await _without_body(self._app, scope, send)
        else:
            await self._app(scope, receive, send)

    def _check(self, scope: Scope, headers: Mapping[bytes, bytes]) -> None:
        """Raise `Problem` 421 or 403. Only browsers can be misled, and they always send ``Host``."""
        host = headers.get(b"host")
        if host is not None and not self._hosts.allows(host):
            raise Problem(421, "HOST_NOT_ALLOWED", self._told_of_host(_shown(host)))
        if b"origin" not in headers and b"sec-fetch-site" not in headers:
            return  # no browser's
        method = str(scope.get("method", "GET"))  # a WebSocket has none
        # OPTIONS executes nothing: it is how a browser asks which pages may call.
        if method != "OPTIONS" and not self._origins.allows(method, headers):
            origin = headers.get(b"origin")
            page = "a page of another site" if origin in (None, b"null") else f"a page of {_shown(origin)}"
            raise Problem(
                403,
                "ORIGIN_NOT_ALLOWED",
                f"{page} may not call this server; the origins that may are the server's own and those in "
                "expose.cors.origins",
            )

    def _told_of_host(self, host: str) -> str:
        why = "" if self._auth else " while auth.mode is none"
        return (
            f"{host!r} is not a name of this server{why}; it answers to localhost, to IP addresses and to "
            "the names in expose.allowed_hosts"
        )


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request, or the handshake of a WebSocket, with a problem document.

    Where the server cannot do that for a handshake, the socket is closed.
    """
    headers = [*PROBLEM_HEADERS, *_encoded(problem.headers)]
    messages: list[Any] = [
        {"type": "http.response.start", "status": problem.status, "headers": headers},
        {"type": "http.response.body", "body": problem_body(problem), "more_body": False},
    ]
    if scope["type"] == ScopeType.WEBSOCKET:
        await receive()  # the request itself
        if "websocket.http.response" not in (scope.get("extensions") or {}):
            messages = [{"type": "websocket.close", "code": REFUSED, "reason": problem.code}]
        for message in messages:
            message["type"] = message["type"].replace("http.", "websocket.http.", 1)
    for message in messages:
        await send(message)


def _encoded(headers: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    return [(name.lower().encode(), value.encode()) for name, value in headers.items()]


async def _without_body(app: ASGIApp, scope: Scope, send: Send) -> None:
    """Answer ``HEAD`` as ``GET`` would, without the body.

    The application is told that its reader has gone: a stream ends there, before anything is followed.
    """
    asked: Any = {**scope, "method": "GET", "extensions": {}}
    ended = False

    async def gone() -> Any:
        return {"type": "http.disconnect"}

    async def head(message: Message) -> None:
        nonlocal ended
        if message["type"] == "http.response.start":
            await send(message)
        elif not ended:
            ended = True
            await send({"type": "http.response.body", "body": b"", "more_body": False})

    await app(asked, gone, head)
    if not ended:
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _shown(value: bytes) -> str:
    return value.decode("latin-1")[:_LONGEST_SHOWN]
