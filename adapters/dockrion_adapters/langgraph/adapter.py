"""The adapter: a wrapped graph behaves as the bare one, and can be watched."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Final, Literal, Self, cast, overload

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config
from langgraph.checkpoint.base import BaseCheckpointSaver

from dockrion_events import (
    AnyEvent,
    Event,
    EventError,
    EventsFilter,
    Exit,
    StreamContext,
    context_scope,
)

from ..entrypoint import load_entrypoint
from ..errors import LoadError
from ..stream import EventStream, silent_context, stream_context
from ..threads import WorkerPool, run_blocking, run_in_thread
from .backend import LangGraphBackend, describe_refused, stream_modes
from .source import Graph, GraphSource

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

    framework = "langgraph"

    def __init__(self, graph: Any = None, *, recursion_limit: int | None = None) -> None:
        self.agent_name = "graph"
        self.recursion_limit = recursion_limit
        self._source: GraphSource | None = None
        self._pool: WorkerPool | None = None
        self._sync_only: dict[int, bool] = {}
        if graph is not None:
            self.load(graph)

    # -- loading -------------------------------------------------------------------------------

    def load(self, target: Any) -> None:
        """Take a graph, a builder or a factory, or ``module:attribute`` of one. Raises `LoadError`."""
        shown = repr(target) if isinstance(target, str) else f"{target!r:.80}"
        found = load_entrypoint(target) if isinstance(target, str) else target
        self._source = GraphSource(found, shown)
        self._sync_only.clear()
        graph = self._source.ready
        name = graph.name if graph is not None else getattr(found, "__name__", "graph")
        self.agent_name = "graph" if name in ("LangGraph", None) else str(name)

    def metadata(self) -> dict[str, Any]:
        graph = self._loaded().ready
        if graph is None:
            return {}
        return {
            "nodes": [name for name in graph.nodes if not name.startswith("__")],
            "checkpointer": type(graph.checkpointer).__name__ if graph.checkpointer else None,
        }

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
        graph = self._loaded().ready
        if graph is None:

            async def once() -> Any:
                async with self:
                    return await self.ainvoke(payload, config=config, context=context, **options)

            return run_blocking(once)
        options = _for_langgraph(options)
        with context_scope(context or silent_context()):
            return graph.invoke(payload, self._config(graph, config), **options)

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``graph.ainvoke``; ``graph.invoke`` in a thread where the checkpointer is synchronous."""
        options = _for_langgraph(options)
        with context_scope(context or silent_context()):
            async with self._loaded().graph(ensure_config(cast("RunnableConfig | None", config))) as graph:
                merged = self._config(graph, config)
                if await self._is_sync_only(graph):
                    return await run_in_thread(
                        self._threads(), lambda: graph.invoke(payload, merged, **options)
                    )
                return await graph.ainvoke(payload, merged, **options)

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
    ) -> EventStream[Event]: ...

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
        source = self._loaded()
        options = _for_langgraph(options)
        context = stream_context(context, events_filter)
        backend = LangGraphBackend(context.events_filter)
        context.attach(backend)

        async def run(exit_: Exit) -> Any:
            async with source.graph(ensure_config(cast("RunnableConfig | None", config))) as graph:
                merged = self._config(graph, config)
                execution = _Execution(graph, merged, options, exit_, backend)
                if await self._is_sync_only(graph):
                    await run_in_thread(self._threads(), lambda: execution.run_sync(payload))
                else:
                    await execution.run(payload)
            return backend.output()

        return EventStream(
            run, context, agent_name=self.agent_name, framework=self.framework, serialize=serialize
        )

    # -- inside --------------------------------------------------------------------------------

    def _loaded(self) -> GraphSource:
        if self._source is None:
            raise LoadError("no graph is loaded; call load() first")
        return self._source

    def _threads(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool()
        return self._pool

    def _config(self, graph: Graph, config: dict[str, Any] | None) -> RunnableConfig | None:
        limit = self.recursion_limit
        if limit is None or (config and "recursion_limit" in config):
            return cast("RunnableConfig | None", config)
        if graph.config and "recursion_limit" in graph.config:
            return cast("RunnableConfig | None", config)
        return cast("RunnableConfig", {**(config or {}), "recursion_limit": limit})

    async def _is_sync_only(self, graph: Graph) -> bool:
        """Ask the checkpointer, once, whether it can be used from an event loop."""
        saver = graph.checkpointer
        if not isinstance(saver, BaseCheckpointSaver):
            return False
        known = self._sync_only.get(id(saver))
        if known is None:
            known = self._sync_only[id(saver)] = await _refuses_async(saver)
        return known


async def _refuses_async(saver: BaseCheckpointSaver[Any]) -> bool:
    try:
        await saver.aget_tuple({"configurable": {"thread_id": "", "checkpoint_ns": ""}})
    except NotImplementedError:
        return True
    except Exception:  # noqa: BLE001 - any other fault is the execution's to report
        return False
    return False


class _Execution:
    """Runs a graph once and passes what it streams into the exit."""

    def __init__(
        self,
        graph: Graph,
        config: RunnableConfig | None,
        options: dict[str, Any],
        exit_: Exit,
        backend: LangGraphBackend,
    ) -> None:
        self._graph = graph
        self._config = config
        self._exit = exit_
        self._backend = backend
        self._options: dict[str, Any] = {
            "output_keys": graph.output_channels,
            **options,
            "stream_mode": stream_modes(exit_.context.events_filter),
            "subgraphs": True,
        }
        # Outside any graph the own namespace is known; within one it shows in the first part.
        around = ensure_config(config).get("configurable", {}).get("checkpoint_ns")
        self._own: tuple[str, ...] | None = None if around else ()

    async def run(self, payload: Any) -> None:
        parts = self._graph.astream(payload, self._config, **self._options)
        self._backend.watch(parts, self._own)  # type: ignore[arg-type]  # declared as an iterator only
        queue = self._exit.context.queue
        to_event = self._backend.event
        push = self._exit.push
        try:
            async for part in parts:
                event = to_event(part)
                if event is not None:
                    try:
                        push(event)
                    except EventError:
                        self._push_refused(event)
                    if queue.crowded:
                        await queue.room()
        finally:
            await parts.aclose()  # type: ignore[attr-defined]

    def run_sync(self, payload: Any) -> None:
        context = self._exit.context
        parts = self._graph.stream(payload, self._config, **self._options)
        self._backend.watch(parts, self._own)  # type: ignore[arg-type]  # declared as an iterator
        try:
            for part in parts:
                if context.cancelled:
                    return
                event = self._backend.event(part)
                if event is not None:
                    try:
                        self._exit.push(event)
                    except EventError:
                        self._push_refused(event)
                    if context.queue.crowded:
                        context.queue.wait_for_room()
        finally:
            parts.close()  # type: ignore[attr-defined]

    def _push_refused(self, event: AnyEvent) -> None:
        if isinstance(event, Event):
            self._exit.push(describe_refused(event))


def _for_langgraph(options: dict[str, Any]) -> dict[str, Any]:
    refused = [name for name in _OURS if name in options]
    if refused:
        raise TypeError(f"{', '.join(refused)}: the adapter sets this itself; choose events by events_filter")
    if "runtime_context" in options:
        options = {**options, "context": options["runtime_context"]}
        del options["runtime_context"]
    return options
