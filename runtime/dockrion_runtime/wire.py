"""Requests and answers by hand, where Litestar's own objects for them cost more than the work does.

``Request.body`` and ``Response`` make a multi-dictionary of all headers, each time; on the way of every
run that is accepted this was a third of the whole.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, TypeAlias

import msgspec
from litestar import Request, Response
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.response.base import ASGIResponse
from litestar.types import Receive, Scope, Send

from .connection import connection_of
from .private import PRIVATE
from .problems import ClientLeft, Problem

AnyRequest: TypeAlias = Request[Any, Any, Any]

_JSON: Final = (b"content-type", b"application/json")


def header(request: AnyRequest, name: bytes) -> str | None:
    """Return the first header of this name, which is given in lower case."""
    for key, value in request.scope["headers"]:
        if key == name:
            return value.decode("latin-1")
    return None


def query(request: AnyRequest, name: str) -> str | None:
    """Return a parameter of the query string, if it is there."""
    value: str | None = request.query_params.get(name) if request.scope["query_string"] else None
    return value


def body_at_hand(request: AnyRequest, limit: int) -> bytes | None:
    """Return the request's body where our server has all of it already; see `body_of`."""
    connection = connection_of(request.scope)
    body = None if connection is None else connection.take_body()
    if body is not None and len(body) > limit:
        raise RequestEntityTooLarge
    return body


async def body_of(request: AnyRequest, limit: int) -> bytes:
    """Return the request's body, which is read once.

    Raises `RequestEntityTooLarge` above ``limit`` bytes, and `ClientLeft` where it does not come to its end.
    """
    announced = header(request, b"content-length")
    if announced is not None and announced.isdecimal() and int(announced) > limit:
        raise RequestEntityTooLarge
    parts: list[bytes] = []
    size = 0
    while True:
        message = await request.receive()
        if message["type"] != "http.request":
            raise ClientLeft
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > limit:
            raise RequestEntityTooLarge
        if not message.get("more_body", False):
            return b"".join(parts)


class Client:
    """The client of one request: ``call`` is called once it has left before its answer.

    Our server says so itself; another one is asked, in a task, which `forget` ends. The request's body
    must have been received.
    """

    def __init__(self, request: AnyRequest, call: Callable[[], None]) -> None:
        self._call = call
        self._left = False
        self._asking: asyncio.Task[None] | None = None
        self._connection = connection_of(request.scope)
        if self._connection is None:
            self._asking = asyncio.create_task(self._ask(request))
        elif self._connection.lost:
            call()
        else:
            self._connection.when_lost(call)

    @property
    def left(self) -> bool:
        """Whether it has left."""
        return self._left if self._connection is None else self._connection.lost

    def forget(self) -> None:
        """Call nobody any more."""
        if self._connection is not None:
            self._connection.when_lost(None)
        if self._asking is not None:
            self._asking.cancel()

    async def _ask(self, request: AnyRequest) -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        self._left = True
        self._call()


def refuse_other_bodies(request: AnyRequest, body: bytes) -> None:
    """Raise `Problem` 415 where a body that could not be read is compressed, or was not meant as JSON.

    A body that can be read is taken, whatever it is called: ``curl -d`` calls everything a form.
    """
    if body.lstrip()[:1] in (b"{", b"[", b'"'):
        return
    encoding = header(request, b"content-encoding")
    if encoding is not None and encoding.strip().lower() not in ("", "identity"):
        told = f"the body is compressed ({encoding[:64]}); send it as it is, without Content-Encoding"
        raise Problem(415, "UNSUPPORTED_ENCODING", told, headers={"Accept-Encoding": "identity"})
    media_type = (header(request, b"content-type") or "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        told = f"the body is {media_type[:64]}; it has to be JSON, sent as application/json"
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", told, headers={"Accept-Post": "application/json"})


class Answer(Response[Any]):
    """A JSON answer, encoded at once or JSON already; ``headers`` are in bytes and in lower case."""

    def __init__(
        self, content: dict[str, Any] | msgspec.Struct | bytes, status: int, *headers: tuple[bytes, bytes]
    ) -> None:
        body = content if isinstance(content, bytes) else msgspec.json.encode(content)
        self._sent = _Sent(body, status, headers)

    def to_asgi_response(self, *_: Any, **__: Any) -> ASGIResponse:
        return self._sent


class _Sent(ASGIResponse):
    __slots__ = ("_own_headers",)

    def __init__(self, body: bytes, status: int, headers: tuple[tuple[bytes, bytes], ...]) -> None:
        self.body = body
        self.status_code = status
        self._own_headers = headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        length = (b"content-length", b"%d" % len(self.body))
        headers = [_JSON, *PRIVATE, length, *self._own_headers]
        if scope["litestar_app"].state.direct_answers:
            connection = connection_of(scope)
            if connection is not None and connection.answer(self.status_code, headers, self.body):
                return
        await send({"type": "http.response.start", "status": self.status_code, "headers": headers})
        await send({"type": "http.response.body", "body": self.body, "more_body": False})
