"""Where spans go: to the process's own tracer provider, or to a collector by OTLP over HTTP."""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Final

from opentelemetry import trace
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

FLUSH_SECONDS: Final = 0.5
"""How long the end of the process waits for the collector to take the last spans."""


def tracer_provider(service_name: str) -> TracerProvider:
    """Return the global provider: the one that the process has, or a new one.

    An agent's module, or ``opentelemetry-instrument``, may have set one; its settings hold then. A new one
    follows the variables of OpenTelemetry (``OTEL_EXPORTER_OTLP_ENDPOINT``, ``OTEL_TRACES_SAMPLER``,
    ``OTEL_SERVICE_NAME`` …), and agents that use the global one write to it as well.
    """
    found = trace.get_tracer_provider()
    if isinstance(found, TracerProvider):
        return found
    resource = Resource.create({"service.name": service_name}).merge(OTELResourceDetector().detect())
    made = TracerProvider(resource=resource, shutdown_on_exit=False)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(made)
    return made


async def flush(provider: TracerProvider) -> None:
    """Send what waits, for as long as `FLUSH_SECONDS`.

    In a thread that the process does not wait for: a collector that is away would hold up its end.
    """
    loop = asyncio.get_running_loop()
    sent = asyncio.Event()

    def send() -> None:
        provider.force_flush()
        with suppress(RuntimeError):  # the loop is closed
            loop.call_soon_threadsafe(sent.set)

    threading.Thread(target=send, name="dockrion-flush", daemon=True).start()
    with suppress(TimeoutError):
        async with asyncio.timeout(FLUSH_SECONDS):
            await sent.wait()
