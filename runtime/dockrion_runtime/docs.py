"""The OpenAPI page, with its assets out of an installed package: it works without a network."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.plugins import JsonRenderPlugin, SwaggerRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router

ASSETS: Final = "/docs/assets"


def openapi_config(title: str, version: str, description: str) -> OpenAPIConfig:
    """Describe the API at ``/docs/openapi.json``, with a page at ``/docs``."""
    page = SwaggerRenderPlugin(
        js_url=f"{ASSETS}/swagger-ui-bundle.js",
        css_url=f"{ASSETS}/swagger-ui.css",
        standalone_preset_js_url=f"{ASSETS}/swagger-ui-standalone-preset.js",
        path="/",
        favicon='<link rel="icon" href="data:,">',
    )
    return OpenAPIConfig(
        title=title,
        version=version,
        description=description or None,
        path="/docs",
        render_plugins=[page, JsonRenderPlugin(path="/openapi.json")],
        use_handler_docstrings=False,
    )


def assets_router() -> Router | HTTPRouteHandler:
    """Serve the page's assets from the package that ships them."""
    spec = find_spec("swagger_ui")
    assert spec is not None
    assert spec.origin is not None
    return create_static_files_router(
        path=ASSETS, directories=[Path(spec.origin).parent / "static"], include_in_schema=False
    )
