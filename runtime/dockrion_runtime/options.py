"""Answers to OPTIONS: which methods an address takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from litestar.handlers import BaseRouteHandler, HTTPRouteHandler

from .problems import with_head


def options_routes(handlers: Iterable[BaseRouteHandler]) -> list[BaseRouteHandler]:
    """Return the handlers, which have to be registered before the others.

    The one that Litestar adds by itself knows the methods of the first handler only, and no HEAD.
    """
    methods: dict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for handler in handlers:
        if isinstance(handler, HTTPRouteHandler):
            for path in handler.paths:
                methods[path] |= handler.http_methods
    return [_options(path, with_head(", ".join(methods[path]))) for path in methods]


def _options(path: str, allowed: str) -> BaseRouteHandler:
    @HTTPRouteHandler(
        path,
        http_method="OPTIONS",
        status_code=204,
        response_headers={"Allow": allowed},
        include_in_schema=False,
    )
    async def options() -> None:
        """Answer by the header alone."""

    return options
