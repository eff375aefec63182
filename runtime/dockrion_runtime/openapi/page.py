"""The document's frame, and the page that shows it: its assets come out of an installed package, so that
it works without a network."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.openapi.spec import Components, Reference, SecurityScheme
from litestar.router import Router
from litestar.static_files import create_static_files_router

from dockrion_sdk import Dockfile

from .schemas import components

ASSETS: Final = "/docs/assets"


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
    page = SwaggerRenderPlugin(
        js_url=f"{ASSETS}/swagger-ui-bundle.js",
        css_url=f"{ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
        path="/",
        favicon='<link rel="icon" href="data:,">',
    )
    schemes = _security_schemes(dockfile)
    return OpenAPIConfig(
        title=dockfile.agent.name,
        version=version,
        description=dockfile.agent.description or None,
        path="/docs",
        render_plugins=[page, JsonRenderPlugin(path="/openapi.json")],
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


def assets_router() -> Router | HTTPRouteHandler:
    """Serve the page's assets from the package that ships them."""
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return create_static_files_router(
        path=ASSETS, directories=[Path(spec.origin).parent / "static"], include_in_schema=False
    )
