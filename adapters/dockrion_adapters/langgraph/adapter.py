"""The adapter: a wrapped graph behaves as the bare one, and can be watched."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Final, Literal, Self, cast, overload

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver

from dockrion_events import (
    EventsFilter,
    Exit,
    StreamContext,
    StreamEvent,
    context_scope,
    get_current_context,
)

from ..base import AgentGraph
from ..contexts import silent_context, stream_context
from ..entrypoint import load_entrypoint
from ..errors import LoadError
from ..stream import EventStream
from ..threads import WorkerPool, run_blocking
from .backend import LangGraphBackend
from .drawing import agent_graph
from .execution import Execution
from .progress import marked, read_progress
from .savers import Savers
from .source import GraphSource
from .surroundings import Graph, saver_of

_OURS: Final = ("stream_mode", "subgraphs", "version")


class LangGraphAdapter:
    """Wraps a LangGraph graph, given as an object or as ``module:attribute``.

    What ``graph.ainvoke`` would return or raise is what comes out: interrupts, ``Command`` inputs,
    resuming with None and time travel included. ``options`` go to LangGraph untouched
    (``durability``, ``interrupt_before``, ``output_keys`` …); its own ``context=`` is spelled
    ``runtime_context=`` here. ``stream_mode``, ``subgraphs`` and ``version`` are the adapter's and
    raise `TypeError`.

    ``recursion_limit`` holds where neither the graph nor the caller sets one. As an async context
    manager the adapter opens the graph's factory on entry and closes what it holds on exit.
    """

    framework: str = "langgraph"

    def __init__(self, graph: Any = None, *, recursion_limit: int | None = None) -> None:
        self.agent_name: str = "graph"
        self.recursion_limit = recursion_limit
        self._source: GraphSource | None = None
        self._pool: WorkerPool | None = None
        self._savers = Savers()
        if graph is not None:
            self.load(graph)

    # -- loading -------------------------------------------------------------------------------

    def load(self, target: Any) -> None:
        """Take a graph, a builder or a factory, or ``module:attribute`` of one. Raises `LoadError`."""
        shown = repr(target) if isinstance(target, str) else f"{target!r:.80}"
        found = load_entrypoint(target) if isinstance(target, str) else target
        self._source = GraphSource(found, shown)
        graph = self._source.ready
        name = graph.name if graph is not None else getattr(found, "__name__", "graph")
        self.agent_name = name if name not in ("LangGraph", "<lambda>") else "graph"

    def metadata(self) -> dict[str, Any]:
        graph = self._loaded().ready
        if graph is None:
            return {}
        saver = graph.checkpointer
        return {
            "nodes": [name for name in graph.nodes if not name.startswith("__")],
            "checkpointer": type(saver).__name__ if isinstance(saver, BaseCheckpointSaver) else None,
        }

    def graph(self) -> AgentGraph | None:
        """Return the graph's nodes and edges; None for a factory that makes one for each execution."""
        graph = self._loaded().ready
        return None if graph is None else agent_graph(graph)

    def chat_payload(self, message: str) -> Any:
        """Return the message as the state wants it, where the state has ``messages``."""
        graph = self._loaded().ready
        if graph is None or "messages" not in graph.channels:
            return None
        return {"messages": [{"role": "user", "content": message}]}

    @property
    def keeps_threads(self) -> bool:
        """Whether executions with the same ``thread_id`` may belong together; False where nothing is kept."""
        graph = self._loaded().ready
        return graph is None or bool(graph.checkpointer)

    @property
    def forgets_threads(self) -> bool:
        """Whether the checkpointer keeps conversations in the memory of this process alone."""
        module = sys.modules.get("langgraph.checkpoint.memory")  # who has one of its savers has imported it
        graph = self._loaded().ready
        return (
            module is not None and graph is not None and isinstance(graph.checkpointer, module.InMemorySaver)
        )

    async def __aenter__(self) -> Self:
        await self._loaded().open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Leave what the graph's factory had entered."""
        await self._loaded().aclose()

    # -- executing -----------------------------------------------------------------------------

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``graph.invoke``; a graph that only an event loop can make runs on one of its own."""
        options = _for_langgraph(options)
        context = context or get_current_context() or silent_context()
        graph = self._loaded().ready
        if graph is None:
            return run_blocking(lambda: self._ainvoke(payload, config, context, options, apart=True))
        with context_scope(context):
            return graph.invoke(payload, self._config(graph, config), **options)

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``graph.ainvoke``; the graph in a thread where the checkpointer is synchronous.

        Within a node of another graph, what this one emits is an event of that execution, unless it
        is given a context of its own.
        """
        options = _for_langgraph(options)
        context = context or get_current_context() or silent_context()
        return await self._ainvoke(payload, config, context, options)

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: Literal[False] = False,
        **options: Any,
    ) -> EventStream[StreamEvent]: ...

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: Literal[True],
        **options: Any,
    ) -> EventStream[str]: ...

    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        **options: Any,
    ) -> EventStream[Any]:
        """Return the stream of one execution: tokens, steps and users' events as they happen."""
        return self._stream(payload, config, context, events_filter, serialize, options)

    def run_stream(
        self,
        payload: Any,
        *,
        run: str,
        resume: bool = False,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
        **options: Any,
    ) -> EventStream[Any]:
        """Return the stream of one execution of ``run``; see `dockrion_adapters.Resumes`.

        What is resumed is the newest checkpoint of the thread, if ``run`` wrote it: nodes that are
        finished there are not executed again. A run that is finished there, or waits at an interrupt,
        executes nothing and has that as its output. In every other case it begins with the payload.
        """
        kept = self.keeps_threads
        config = marked(config, run) if kept else config
        resumed = run if kept and resume else None
        return self._stream(payload, config, context, events_filter, serialize, options, resumed)

    # -- inside --------------------------------------------------------------------------------

    def _stream(
        self,
        payload: Any,
        config: dict[str, Any] | None,
        context: StreamContext | None,
        events_filter: EventsFilter | None,
        serialize: bool,
        options: dict[str, Any],
        resumed: str | None = None,
    ) -> EventStream[Any]:
        """Return the stream of an execution, which goes on from where the run ``resumed`` has got to."""
        source = self._loaded()
        options = _for_langgraph(options)
        context = stream_context(context, events_filter)
        backend = LangGraphBackend(context.events_filter)
        context.attach(backend)

        async def run(exit_: Exit) -> Any:
            async with source.graph(_ensured(config)) as graph:
                given, merged = payload, self._config(graph, config)
                saver = saver_of(graph, config)
                apart = self._threads() if await self._savers.is_sync_only(saver) else None
                if resumed is not None and isinstance(saver, BaseCheckpointSaver):
                    progress = await read_progress(graph, merged or {}, resumed, options=options, apart=apart)
                    if progress is not None and progress.settled:
                        return progress.output
                    if progress is not None:
                        given, merged = None, progress.config
                execution = Execution(graph, merged, options, context, backend, exit_)
                try:
                    if apart is not None:
                        return await execution.run_apart(given, apart)
                    return await execution.run(given)
                finally:
                    backend.detach()

        return EventStream(
            run, context, agent_name=self.agent_name, framework=self.framework, serialize=serialize
        )

    async def _ainvoke(
        self,
        payload: Any,
        config: dict[str, Any] | None,
        context: StreamContext,
        options: dict[str, Any],
        *,
        apart: bool = False,
    ) -> Any:
        source = self._loaded()
        known = source.ready
        ready = None if known is None else nullcontext(known)  # the general way would only take time
        with context_scope(context):
            async with ready or source.graph(_ensured(config), apart=apart) as graph:
                merged = self._config(graph, config)
                if not await self._savers.is_sync_only(saver_of(graph, config)):
                    return await graph.ainvoke(payload, merged, **options)
                unwatched = LangGraphBackend(EventsFilter("minimal"))
                execution = Execution(graph, merged, options, context, unwatched)
                return await execution.run_apart(payload, self._threads())

    def _loaded(self) -> GraphSource:
        if self._source is None:
            raise LoadError("no graph is loaded; call load() first")
        return self._source

    def _threads(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool()
        return self._pool

    def _config(self, graph: Graph, config: dict[str, Any] | None) -> RunnableConfig | None:
        given = (config, graph.config, var_child_runnable_config.get())  # the last: a node's around us
        if any(one and one.get("recursion_limit") is not None for one in given):
            return cast("RunnableConfig | None", config)
        if self.recursion_limit is None:
            return cast("RunnableConfig | None", config)
        return cast("RunnableConfig", {**(config or {}), "recursion_limit": self.recursion_limit})


def _ensured(config: dict[str, Any] | None) -> RunnableConfig:
    return ensure_config(cast("RunnableConfig | None", config))


def _for_langgraph(options: dict[str, Any]) -> dict[str, Any]:
    refused = [name for name in _OURS if name in options]
    if refused:
        raise TypeError(f"{', '.join(refused)}: the adapter sets this itself; choose events by events_filter")
    names = {"runtime_context": "context"}
    # None is what LangGraph takes for "not given"; left out, it cannot stand in for our own default.
    return {names.get(name, name): value for name, value in options.items() if value is not None}
