"""The span of a request, in the trace that its client names (W3C ``traceparent``)."""

from __future__ import annotations

from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from .spans import Tracing

_w3c = TraceContextTextMapPropagator()

TRACED: Final = frozenset({"agent", "runs", "a2a"})
"""The tags of the routes whose requests are spans."""


class TraceRequests:
    """ASGI middleware: a span for each request and each socket of the routes that are about the agent."""

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracer = tracing.tracer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked: Any = scope
        if asked["type"] == "http" and TRACED.isdisjoint(asked["route_handler"].tags or ()):
            await self._app(scope, receive, send)
            return
        method, route = asked.get("method", "WEBSOCKET"), asked["path_template"]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in asked["headers"]}
        with self._tracer.start_as_current_span(
            f"{method} {route}",
            context=_w3c.extract(headers),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "http.route": route, "url.path": asked["path"]},
            record_exception=False,
        ) as span:
            await self._app(scope, receive, _seen(span, send))


def _seen(span: Span, send: Send) -> Send:
    """Return ``send``, and note the status that is sent."""

    async def noting(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            status: int = message["status"]
            span.set_attribute("http.response.status_code", status)
            if status >= 500:
                span.set_status(Status(StatusCode.ERROR))
        await send(message)

    return noting
