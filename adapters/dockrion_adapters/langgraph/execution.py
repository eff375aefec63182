"""One execution of a graph, driven from an event loop."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from dockrion_events import Exit, StreamContext

from ..report import reporter
from .backend import LangGraphBackend
from .surroundings import Graph

INTERRUPT_KEY: Final = "__interrupt__"


class Execution:
    """Runs a graph once; what it reports goes into the exit."""

    def __init__(
        self,
        graph: Graph,
        config: Mapping[str, Any] | None,
        options: dict[str, Any],
        context: StreamContext,
        backend: LangGraphBackend,
        exit_: Exit,
    ) -> None:
        self._graph = graph
        self._context = context
        self._config = backend.hooked(graph, config, reporter(exit_))
        self._latest: Any = None
        self._interrupts: list[Any] = []
        # As ``ainvoke`` has it; between two parts the consumer may have the graph wait.
        self._options: dict[str, Any] = {
            "output_keys": graph.output_channels,
            **options,
            "stream_mode": ["updates", "values"],
        }

    async def run(self, payload: Any) -> Any:
        """Run the graph on this event loop and return its output."""
        parts = self._graph.astream(payload, self._config, **self._options)
        queue = self._context.queue
        try:
            async for mode, data in parts:
                self._keep(mode, data)
                if queue.crowded:
                    await queue.room()
        finally:
            await parts.aclose()  # type: ignore[attr-defined]  # declared as an iterator only
        return self._output()

    def _keep(self, mode: str, data: Any) -> None:
        if mode == "values":
            self._latest = data
        elif isinstance(data, dict) and data.get(INTERRUPT_KEY) is not None:
            self._interrupts.extend(data[INTERRUPT_KEY])

    def _output(self) -> Any:
        """Return what ``ainvoke`` would have returned, interrupts included."""
        if not self._interrupts:
            return self._latest
        values = self._latest if isinstance(self._latest, dict) else {}
        return {**values, INTERRUPT_KEY: self._interrupts}
