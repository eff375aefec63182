"""One execution of a graph as events: what models say, steps and what user code emits.

The execution reports while it runs, on the line where it happens: the config that `hooked` returns
carries LangGraph's own handler of messages, the place where a subgraph sends its parts, and the
stream writer. So the events are in the order of their happening, in subgraphs too, and take no way
round through the merged stream that ``astream`` would give.

Shapes of the parts, as in ``astream`` with a list of modes and ``subgraphs=True``:
``(namespace, mode, data)``, where the namespace is a tuple of ``"node:task-id"``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from copy import copy
from dataclasses import fields, is_dataclass
from typing import Any, TypeAlias, cast

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.pregel.protocol import StreamProtocol
from langgraph.runtime import Runtime
from pydantic import BaseModel

from dockrion_events import (
    CONFIGURABLE,
    MANDATORY,
    AnyEvent,
    CustomEvent,
    Event,
    EventsFilter,
    HeartbeatEvent,
    StepEvent,
    StepStartedEvent,
)

from ..langchain.callbacks import added
from ..langchain.speech import MESSAGE_EVENTS, Sink
from .messages import message_handler
from .surroundings import RUNTIME_KEY, STREAM_KEY, Graph, configurable_of, saver_of

Part: TypeAlias = "tuple[tuple[str, ...], str, Any]"

_NOT_EMITTED = ("heartbeat", "custom")  # the one is no event of the graph, the other no type
_USER_EVENTS = tuple(name for name in CONFIGURABLE if name not in _NOT_EMITTED)
_TASK_EVENTS = ("step", "step_started")
_NOT_WRITTEN = MANDATORY | {HeartbeatEvent.type}
_WHOLE = ("__root__", "__end__", "__return__")  # channels of a single value: a state, an output, a task's


def stream_modes(events_filter: EventsFilter) -> set[str]:
    """Return the modes of LangGraph's that produce what the filter allows, and nothing besides."""
    modes = set()
    if any(map(events_filter.is_allowed, MESSAGE_EVENTS)):
        modes.add("messages")
    if any(map(events_filter.is_allowed, _TASK_EVENTS)):
        modes.add("tasks")
    if events_filter.allows_any_custom() or any(map(events_filter.is_allowed, _USER_EVENTS)):
        modes.add("custom")
    return modes


class LangGraphBackend:
    """The streaming backend of one execution of a graph.

    ``emit`` takes an event where LangGraph's current stream writer is this execution's: not outside
    a node, not in a bare thread, and not within a graph that a node runs apart from this one (with a
    stream or a thread of its own).

    `hooked` makes an execution report here, from any thread; each event goes to ``sink`` at once, until
    `detach`.
    """

    def __init__(self, events_filter: EventsFilter) -> None:
        self.modes: set[str] = stream_modes(events_filter)
        self._filter = events_filter
        self._choosing = events_filter.chooses_sources
        self._steps, self._starts = map(events_filter.is_allowed, _TASK_EVENTS)
        self._sink: Sink | None = None
        self._own: tuple[str, ...] | None = None
        self._started: dict[str, tuple[float, list[str] | None]] = {}

    # -- users' events -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        return "langgraph"

    def is_available(self) -> bool:
        """Whether the calling code runs in a node of this execution, with custom events wanted."""
        config = var_child_runnable_config.get()
        if config is None:
            return False
        runtime = config.get("configurable", {}).get(RUNTIME_KEY)
        writer = getattr(runtime, "stream_writer", None)
        return getattr(writer, "__self__", None) is self

    def emit(self, event: AnyEvent) -> bool:
        """Pass the event on; False where the calling code does not belong to this execution."""
        sink = self._sink
        if sink is None or not self.is_available():
            return False
        sink(event)
        return True

    def _write(self, data: Any) -> None:
        """Take what user code writes with LangGraph's own stream writer."""
        event, sink = self._written(data), self._sink
        if event is not None and sink is not None:
            sink(event)

    def detach(self) -> None:
        """Take and make no events any more: the execution is over, and the sink leads back to here."""
        self._sink = None

    # -- the graph's own reports ---------------------------------------------------------------

    def hooked(self, graph: Graph, config: Mapping[str, Any] | None, sink: Sink) -> RunnableConfig | None:
        """Return ``config`` such that the execution of ``graph`` with it reports to ``sink``."""
        around = configurable_of(graph, config)
        if not self.modes or (saver_of(graph, config) and not around):  # LangGraph refuses the latter itself
            return cast("RunnableConfig | None", config)
        self._sink = sink
        hooked: dict[str, Any] = dict(config or {})
        hooked["configurable"] = {
            **(hooked.get("configurable") or {}),
            STREAM_KEY: self._stream(around),
            RUNTIME_KEY: self._runtime(graph, around),
        }
        if "messages" in self.modes or self._filter.allows_any_custom():
            wanted = [name for name in MESSAGE_EVENTS if self._filter.is_allowed(name)]
            handler = message_handler(wanted, sink, self._relative, self._filter)
            hooked["callbacks"] = added(hooked.get("callbacks"), handler)
        return cast("RunnableConfig", hooked)

    def _stream(self, around: Mapping[str, Any]) -> StreamProtocol:
        """Return the stream for the parts: to here, and to the graph whose node this runs in."""
        # The run's own namespace is not () within a node; the first of its tasks shows it.
        own: set[Any] = {"tasks"} if self.modes & {"tasks", "messages"} else set()
        outer = around.get(STREAM_KEY)
        if outer is None:
            return StreamProtocol(self._take, own)

        def both(part: Part) -> None:
            if part[1] in own:
                self._take(part)
            if part[1] in outer.modes:
                outer(part)

        return StreamProtocol(both, own | outer.modes)

    def _runtime(self, graph: Graph, around: Mapping[str, Any]) -> Runtime[Any]:
        """Return the runtime of the surroundings, or the one LangGraph would begin with, with our writer."""
        found = around.get(RUNTIME_KEY)
        if found is None:
            found = Runtime(store=graph.store)
        elif not isinstance(found, Runtime):  # LangGraph takes the context and the store of whatever is there
            found = Runtime(context=getattr(found, "context", None), store=found.store)
        return found.override(stream_writer=self._write) if "custom" in self.modes else found

    def _take(self, part: Part) -> None:
        namespace, mode, data = part
        if mode != "tasks":
            return
        if self._own is None:
            self._own = namespace  # a graph's own tasks precede those of its subgraphs
        sink = self._sink
        event = self._task(namespace, data, sink) if "tasks" in self.modes else None
        if event is not None and sink is not None:
            sink(event)

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

    def _task(self, namespace: tuple[str, ...], task: dict[str, Any], sink: Sink | None) -> Event | None:
        """A node's end is a step, unless the node failed or was interrupted."""
        identifier = task["id"]
        path = self._relative(namespace) if namespace else None
        if self._choosing and not self._filter.allows_source(_names(path, task["name"])):
            return None
        if "result" not in task:
            self._started[identifier] = (time.monotonic(), _keys(task.get("input")) if self._steps else None)
            return StepStartedEvent(task["name"], path) if self._starts else None
        started, input_keys = self._started.pop(identifier, (None, None))
        if started is None and self._starts and sink is not None:
            sink(StepStartedEvent(task["name"], path))  # LangGraph does not tell when error handlers begin
        if not self._steps or task.get("error") is not None or task.get("interrupts"):
            return None
        return StepEvent(
            task["name"],
            None if started is None else round((time.monotonic() - started) * 1000, 3),
            input_keys,
            _keys(_unwrapped(task["result"])),
            path,
        )

    def _relative(self, namespace: tuple[str, ...]) -> list[str] | None:
        own = self._own
        if own and namespace[: len(own)] == own:  # a graph with a thread of its own begins at the root
            namespace = namespace[len(own) :]
        return list(namespace) or None


def _names(path: list[str] | None, node: str) -> list[str]:
    """Return the names of the nodes around a task, and its own."""
    return [*(part.partition(":")[0] for part in path or ()), node]


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
