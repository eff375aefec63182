"""The document's frame, and the page that shows it: its assets come out of an installed package, so that
it works without a network."""

from __future__ import annotations

import html
from collections.abc import Callable
from functools import cache
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from litestar import MediaType, Request, Response, get
from litestar.exceptions import NotFoundException
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, OpenAPIRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.params import FromPath
from litestar.router import Router

from dockrion_sdk import Dockfile

from ..front.prefix import prefix_of
from .schemas import components

DOCS: Final = "/docs"
_OURS: Final = "page.js"
_ASSETS: Final = {
    _OURS: "text/javascript",
    "swagger-ui-bundle.js": "text/javascript",
    "swagger-ui.css": "text/css",
}
"""The files that the page loads, of the many that the package ships, and their media types."""

_POLICY: Final = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Referrer-Policy": "no-referrer",
}

_HTML: Final = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{docs}/assets/swagger-ui.css">
<script src="{docs}/assets/swagger-ui-bundle.js" defer></script>
<script src="{docs}/assets/page.js" defer></script>
</head>
<body><div id="page" data-document="{docs}/openapi.json"></div></body>
</html>
"""


class _Page(OpenAPIRenderPlugin):
    """The page, in Swagger UI. All its addresses are below the prefix at which the client has found it."""

    def __init__(self) -> None:
        super().__init__(path="/", media_type=MediaType.HTML)

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        title = openapi_schema["info"]["title"]
        docs = prefix_of(request.scope) + DOCS
        return _HTML.format(title=html.escape(title), docs=html.escape(docs)).encode()


class _Document(JsonRenderPlugin):
    """The document, with the address at which the client has found the server."""

    def __init__(self, public_url: str | None) -> None:
        super().__init__(path="/openapi.json")
        self._public_url = public_url

    def render(self, request: Request[Any, Any, Any], openapi_schema: dict[str, Any]) -> bytes:
        url = self._public_url or prefix_of(request.scope) or "/"
        return super().render(request, {**openapi_schema, "servers": [{"url": url}]})


class _Components(Components):
    """Litestar puts the schemas of the handlers' annotations in ``schemas``; ours come on top of them."""

    def __init__(
        self, documents: Callable[[], dict[str, Any]], security: dict[str, SecurityScheme | Reference]
    ) -> None:
        super().__init__(security_schemes=security or None)
        self._documents = documents

    def to_schema(self) -> dict[str, Any]:
        document = super().to_schema()
        document["schemas"] = {**document["schemas"], **self._documents()}
        return document


def openapi_config(
    dockfile: Dockfile, version: str, payload: Callable[[], dict[str, Any] | None]
) -> OpenAPIConfig:
    """Describe the API at ``/docs/openapi.json``, with a page at ``/docs``.

    ``payload`` returns the agent's input schema; it is asked when somebody asks for the document.
    """
    schemes = _security_schemes(dockfile)
    return OpenAPIConfig(
        title=dockfile.agent.name,
        version=version,
        description=dockfile.agent.description or None,
        path=DOCS,
        openapi_router=Router(
            DOCS, route_handlers=[_asset_route()], include_in_schema=False, response_headers=_POLICY
        ),
        render_plugins=[_Page(), _Document(dockfile.expose.public_url)],
        components=_Components(lambda: components(dockfile, payload()), schemes),
        security=[{name: []} for name in schemes] or None,
        use_handler_docstrings=False,
    )


def _security_schemes(dockfile: Dockfile) -> dict[str, SecurityScheme | Reference]:
    if dockfile.auth.mode == "none":
        return {}
    keys = dockfile.auth.api_keys
    schemes: dict[str, SecurityScheme | Reference] = {
        "apiKey": SecurityScheme(type="apiKey", name=keys.header, security_scheme_in="header")
    }
    if keys.allow_bearer:
        schemes["bearer"] = SecurityScheme(type="http", scheme="bearer")
    return schemes


def _asset_route() -> Any:
    @get("/assets/{name:str}")
    async def asset(name: FromPath[str]) -> Response[bytes]:
        if name not in _ASSETS:
            raise NotFoundException
        # A server that was updated has another version of them, under the same names.
        return Response(_asset(name), media_type=_ASSETS[name], headers={"Cache-Control": "no-cache"})

    return asset


@cache
def _asset(name: str) -> bytes:
    if name == _OURS:
        return files(__package__).joinpath(name).read_bytes()
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return (Path(spec.origin).parent / "static" / name).read_bytes()
