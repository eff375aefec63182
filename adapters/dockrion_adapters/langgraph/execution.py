"""One execution of a graph, driven from an event loop or, where it has to be, from a thread."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final

import msgspec

from dockrion_events import (
    AnyEvent,
    Event,
    EventError,
    Exit,
    ReasoningEvent,
    StreamContext,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
)

from ..threads import WorkerPool, run_in_thread
from .backend import LangGraphBackend
from .surroundings import Graph

INTERRUPT_KEY: Final = "__interrupt__"


class Execution:
    """Runs a graph once; what it reports goes into the exit, and without one nowhere."""

    def __init__(
        self,
        graph: Graph,
        config: Mapping[str, Any] | None,
        options: dict[str, Any],
        context: StreamContext,
        backend: LangGraphBackend,
        exit_: Exit | None = None,
    ) -> None:
        self._graph = graph
        self._context = context
        self._exit = exit_
        self._config = backend.hooked(graph, config, self._push)
        self._stopped = False
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

    async def run_apart(self, payload: Any, pool: WorkerPool) -> Any:
        """Run the graph in a worker thread and return its output.

        A cancelled caller does not wait: the graph stops behind the node that is running.
        """
        try:
            return await run_in_thread(pool, lambda: self._run_sync(payload))
        finally:
            self._stopped = True

    def _run_sync(self, payload: Any) -> Any:
        context = self._context
        parts = self._graph.stream(payload, self._config, **self._options)
        try:
            for mode, data in parts:
                if self._stopped:
                    break
                self._keep(mode, data)
                if context.queue.crowded:
                    context.queue.wait_for_room()
        finally:
            parts.close()  # type: ignore[attr-defined]  # declared as an iterator only
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

    def _push(self, event: AnyEvent) -> None:
        assert self._exit is not None  # without one, the filter lets nothing through
        try:
            self._exit.push(event)
        except EventError:
            # The graph made it where nobody could be told, so something is sent in its place.
            pieces = halves(event)
            if pieces:
                for piece in pieces:
                    self._push(piece)
            elif isinstance(event, Event):
                with suppress(EventError):
                    self._exit.push(stand_in(event))


_TEXTS: Final = ((TokenEvent, "content"), (ReasoningEvent, "content"), (ToolCallEvent, "arguments_delta"))
_VALUES: Final = (
    (Event, "data"),
    (ToolCallEvent, "arguments"),
    (ToolResultEvent, "content"),
    (UsageEvent, "details"),
)


def halves(event: AnyEvent) -> list[Event]:
    """Return the two halves of an event that is a piece of a text; nothing for any other."""
    for kind, field in _TEXTS:
        if isinstance(event, kind):
            text = getattr(event, field)
            middle = len(text or "") // 2
            if not middle:
                return []
            first = {field: text[:middle], **({"finish_reason": None} if kind is TokenEvent else {})}
            return [
                msgspec.structs.replace(event, **first),
                msgspec.structs.replace(event, **{field: text[middle:]}),
            ]
    return []


def stand_in(event: Event) -> Event:
    """Return an event in place of one that cannot be encoded: what it is, without what it carries."""
    for kind, field in _VALUES:
        value = getattr(event, field, None) if isinstance(event, kind) else None
        if value is not None:
            name = f"{type(value).__module__}.{type(value).__qualname__}"
            described = {"type": name, "repr": "<not serialisable>"}
            return msgspec.structs.replace(event, **{field: described})
    bulky = {name: None for name in ("input_keys", "output_keys") if hasattr(event, name)}
    return msgspec.structs.replace(event, **bulky)
