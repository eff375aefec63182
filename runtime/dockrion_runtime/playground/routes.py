"""The routes of the page: its files, open to all, each with a policy that lets nothing foreign in."""

from __future__ import annotations

import hashlib
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any, Final, NamedTuple

from litestar import Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath

from dockrion_sdk import Dockfile

from ..auth import OPEN
from ..service import Service

PAGE: Final = "index.html"

_MEDIA: Final = {
    ".html": "text/html",
    ".js": "text/javascript",
    ".css": "text/css",
    ".svg": "image/svg+xml",
}

_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'self'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
        "object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    # A server that was updated has a page whose modules fit each other, at the price of a 304 for each.
    "Cache-Control": "no-cache",
}


class _File(NamedTuple):
    body: bytes
    media_type: str
    etag: str


def has_playground(dockfile: Dockfile) -> bool:
    """Say whether the page is served; it is nothing without what ``expose.rest`` tells of the agent."""
    return dockfile.expose.playground and dockfile.expose.rest


def playground_routes(service: Service) -> list[BaseRouteHandler]:
    """Return the routes of the page, where the Dockfile exposes it; the files are read here."""
    if not has_playground(service.dockfile):
        return []
    folder = files(__package__).joinpath("static")
    found = {entry.name: _read(entry) for entry in folder.iterdir()}

    @get("/", opt={OPEN: True}, include_in_schema=False)
    async def page(request: Request[Any, Any, Any]) -> Response[bytes]:
        return _answer(request, found[PAGE])

    @get("/playground/{name:str}", opt={OPEN: True}, include_in_schema=False)
    async def file(request: Request[Any, Any, Any], name: FromPath[str]) -> Response[bytes]:
        if name not in found:
            raise NotFoundException
        return _answer(request, found[name])

    return [page, file]


def _read(entry: Traversable) -> _File:
    body = entry.read_bytes()
    media_type = _MEDIA[entry.name[entry.name.rindex(".") :]]
    return _File(body, media_type, f'"{hashlib.sha256(body).hexdigest()[:32]}"')


def _answer(request: Request[Any, Any, Any], file: _File) -> Response[bytes]:
    headers = {**_POLICY, "ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(b"", status_code=304, headers=headers)
    return Response(file.body, media_type=file.media_type, headers=headers)
