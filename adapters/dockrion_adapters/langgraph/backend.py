"""One execution of a graph: its parts to events, and users' events through its own stream.

Shapes of the parts (LangGraph's ``astream`` with a list of modes and ``subgraphs=True``):
``(namespace, mode, data)``, where the namespace is a tuple of ``"node:task-id"``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Generator, Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeAlias

from langchain_core.messages import AIMessage
from langchain_core.runnables.config import var_child_runnable_config
from pydantic import BaseModel

from dockrion_events import (
    MANDATORY,
    AnyEvent,
    CustomEvent,
    Event,
    EventsFilter,
    HeartbeatEvent,
    StepEvent,
    TokenEvent,
)

Part: TypeAlias = "tuple[tuple[str, ...], str, Any]"
Parts: TypeAlias = "AsyncGenerator[Any, None] | Generator[Any, None, None]"

RUNTIME_KEY: Final = "__pregel_runtime"  # where LangGraph keeps the Runtime in a node's config
INTERRUPT_KEY: Final = "__interrupt__"
_USER_EVENTS = ("token", "step", "progress", "checkpoint")
_NOT_WRITTEN = MANDATORY | {HeartbeatEvent.type}
_WHOLE = ("__root__", "__end__", "__return__")  # channels of a single value: a state, an output, a task's


def stream_modes(events_filter: EventsFilter) -> list[str]:
    """Return the modes that produce what the filter allows, and nothing besides.

    ``updates`` and ``values`` are always among them: they make up the output, as in ``ainvoke``.
    """
    modes = ["updates", "values"]
    if events_filter.is_allowed("token"):
        modes.append("messages")
    if events_filter.is_allowed("step"):
        modes.append("tasks")
    if events_filter.allows_any_custom() or any(map(events_filter.is_allowed, _USER_EVENTS)):
        modes.append("custom")
    return modes


class _Emitted:
    """An event on its way through the graph's stream; tells it from what user code writes there."""

    __slots__ = ("event",)

    def __init__(self, event: AnyEvent) -> None:
        self.event = event


class LangGraphBackend:
    """The streaming backend of one execution of a graph.

    ``emit`` passes events through the graph's own stream writer, so that they keep their place
    between tokens and steps. It takes an event only where that writer leads to this execution's
    stream: not outside a node, not in a bare thread, and not within a graph that a node runs
    apart from this one (with a stream or a thread of its own).

    ``event`` turns a part of the graph's stream into the event it means, and keeps the output.
    """

    def __init__(self, events_filter: EventsFilter) -> None:
        self.modes = stream_modes(events_filter)
        self._custom = "custom" in self.modes
        self._filter = events_filter
        self._parts: Parts | None = None
        self._writer: Any = None
        self._own: tuple[str, ...] | None = None
        self._started: dict[str, tuple[float, list[str] | None]] = {}
        self._latest: Any = None
        self._interrupts: list[Any] = []

    # -- users' events, inward -----------------------------------------------------------------

    @property
    def name(self) -> str:
        return "langgraph"

    def is_available(self) -> bool:
        """Whether the calling code runs in a node of this execution, with custom events streamed."""
        return self._current_writer() is not None

    def emit(self, event: AnyEvent) -> bool:
        """Pass the event through the graph's stream; False where that does not lead here."""
        writer = self._current_writer()
        if writer is None:
            return False
        try:
            writer(_Emitted(event))
        except (RuntimeError, KeyError):  # its event loop is closed; a config without a namespace
            return False
        return True

    def _current_writer(self) -> Any:
        config = var_child_runnable_config.get()
        if config is None or not self._custom:
            return None
        runtime = config.get("configurable", {}).get(RUNTIME_KEY)
        writer = getattr(runtime, "stream_writer", None)
        if self._writer is None:
            self._writer = _writer_of(self._parts)
        return writer if writer is not None and writer is self._writer else None

    # -- the graph's parts, outward ------------------------------------------------------------

    def watch(self, parts: Parts) -> None:
        """Say which stream this execution is."""
        self._parts = parts

    def event(self, part: Part) -> AnyEvent | None:
        """Return the event that a part means, or None for one that only makes up the output."""
        namespace, mode, data = part
        if mode == "messages":
            return self._token(namespace, data[0], data[1])
        if mode == "custom":
            return data.event if type(data) is _Emitted else self._written(data)
        if self._own is None:
            self._own = namespace  # the first is a graph's own; it is not () within another graph's node
        if mode == "tasks":
            return self._task(namespace, data)
        if namespace == self._own:
            self._keep(mode, data)
        return None

    def output(self) -> Any:
        """Return what ``ainvoke`` would have returned, interrupts included."""
        if not self._interrupts:
            return self._latest
        values = self._latest if isinstance(self._latest, dict) else {}
        return {**values, INTERRUPT_KEY: self._interrupts}

    def _keep(self, mode: str, data: Any) -> None:
        if mode == "values":
            self._latest = data
        elif isinstance(data, dict) and data.get(INTERRUPT_KEY) is not None:
            self._interrupts.extend(data[INTERRUPT_KEY])

    def _written(self, data: Any) -> Event | None:
        """Return the event that data written by LangGraph's own writer means.

        An event, read from another stream say, is one here too; but the life cycle is not the
        agent's, and the object stays with whoever wrote it.
        """
        if not isinstance(data, Event):
            return (
                CustomEvent("custom:langgraph", data) if self._filter.is_allowed("custom:langgraph") else None
            )
        if data.type in _NOT_WRITTEN or not self._filter.is_allowed(data.type):
            return None
        return copy(data)

    def _token(
        self, namespace: tuple[str, ...], message: Any, metadata: Mapping[str, Any]
    ) -> TokenEvent | None:
        if not isinstance(message, AIMessage):  # AIMessageChunk is one
            return None
        content = message.content
        text = content if type(content) is str else str(message.text)
        response = message.response_metadata
        finish = (response.get("finish_reason") or response.get("stop_reason")) if response else None
        if not text and finish is None:
            return None
        return TokenEvent(
            text,
            finish,
            metadata.get("langgraph_node"),
            self._relative(namespace) if namespace else None,
            message.id,
        )

    def _task(self, namespace: tuple[str, ...], task: dict[str, Any]) -> StepEvent | None:
        """A start is noted; an end is a step, unless the node failed or was interrupted."""
        identifier = task["id"]
        if "result" not in task:
            self._started[identifier] = (time.monotonic(), _keys(task.get("input")))
            return None
        started, input_keys = self._started.pop(identifier, (None, None))
        if task.get("error") is not None or task.get("interrupts"):
            return None
        return StepEvent(
            task["name"],
            None if started is None else round((time.monotonic() - started) * 1000, 3),
            input_keys,
            _keys(_unwrapped(task["result"])),
            self._relative(namespace) if namespace else None,
        )

    def _relative(self, namespace: tuple[str, ...]) -> list[str] | None:
        own = self._own
        if own and namespace[: len(own)] == own:  # a graph with a thread of its own begins at the root
            namespace = namespace[len(own) :]
        return list(namespace) or None


def _writer_of(parts: Parts | None) -> Any:
    """Return the stream writer that LangGraph made for the stream ``parts``.

    It is a local of the generator and reachable in no other way. Comparing with it is what tells
    this stream from that of a graph which a node runs apart: there, LangGraph's current writer
    leads to another consumer, or silently nowhere.
    """
    frame = getattr(parts, "ag_frame", None) or getattr(parts, "gi_frame", None)
    return None if frame is None else frame.f_locals.get("stream_writer")


def _unwrapped(result: Any) -> Any:
    """Return what a node gave, without the name of the one channel that LangGraph put it in."""
    if isinstance(result, Mapping) and len(result) == 1:
        name, value = next(iter(result.items()))
        return value if name in _WHOLE else result
    return result


def _keys(state: Any) -> list[str] | None:
    """Return the names of a state's fields; None for what has none."""
    if isinstance(state, Mapping):
        return [str(key) for key in state]
    if isinstance(state, BaseModel):
        return list(type(state).model_fields)
    if is_dataclass(state) and not isinstance(state, type):
        return [field.name for field in fields(state)]
    return None
