"""What operators see: metrics, traces, and the ids that tell lines of the log apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..stream import Watcher
from .meter import Kind, Meter

if TYPE_CHECKING:
    from .tracing.spans import Tracing


class Observability:
    """What watches one app's executions: a meter, where ``metered``, and traces, where there is ``tracing``.

    The meter is there in any case; without ``metered`` nobody looks at what single executions do.
    """

    def __init__(self, *, metered: bool = False, tracing: Tracing | None = None) -> None:
        self.meter = Meter()
        self.metered = metered
        self.tracing = tracing

    def current_trace(self) -> dict[str, str] | None:
        """Return the W3C trace context of what is being done now, if there is any."""
        return None if self.tracing is None else self.tracing.current()

    def watch(
        self, kind: Kind, identifier: str, *, attempt: int = 1, trace: dict[str, str] | None = None
    ) -> tuple[list[Watcher], str | None]:
        """Return what watches an execution that begins now, and the id of its trace, if it has one.

        ``trace`` is the W3C trace context that it belongs to, where that is not the current one.
        """
        watchers: list[Watcher] = []
        if self.metered:
            watchers.append(self.meter.watch(kind))
        if self.tracing is None:
            return watchers, None
        span = self.tracing.execution(kind, identifier, attempt=attempt, trace=trace)
        watchers.append(span)
        return watchers, span.trace_id
