"""Traces, by OpenTelemetry: a room that nobody enters who has not asked for them."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from dockrion_sdk import Dockfile, DockfileError, Problem

if TYPE_CHECKING:
    from .spans import Tracing


def open_tracing(dockfile: Dockfile) -> Tracing | None:
    """Return what makes traces, as the Dockfile says. Raises `DockfileError` where the extra is missing."""
    if dockfile.observability.tracing == "none":
        return None
    try:
        for needed in ("opentelemetry.sdk", "opentelemetry.exporter.otlp.proto.http"):
            importlib.import_module(needed)
    except ImportError as error:
        told = f"otel needs the extra 'otel', which is not installed whole: {error}"
        problem = Problem("observability.tracing", told, "pip install 'dockrion-sdk[otel]'")
        raise DockfileError(str(dockfile.file or "Dockfile"), [problem]) from error
    room: Any = importlib.import_module(".spans", __package__)
    tracing: Tracing = room.Tracing(dockfile.agent.name)
    return tracing
