"""The adapter: a wrapped graph behaves as the bare one, and can be watched."""

from __future__ import annotations

import logging
import sys
from contextlib import nullcontext
from types import TracebackType
from typing import Any, Final, Literal, Self, cast, overload

from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import ensure_config, var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.types import StateSnapshot

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
from ..errors import InputRefused, LoadError
from ..stream import EventStream
from ..threads import WorkerPool, run_blocking
from .asynchronous import needs_event_loop
from .backend import LangGraphBackend
from .drawing import agent_graph
from .execution import Execution
from .factories import Caller, User
from .input_schema import input_schema
from .inputs import InputCheck, chat_input
from .progress import marked, read_progress
from .runtime_context import context_fault, context_refusal, default_context, with_empty_context
from .savers import LentSaver, Savers
from .scope import Call, Leftovers, Scope, scoped
from .source import FactoryFailed, GraphSource
from .surroundings import RUNTIME_KEY, SAVER_KEY, Graph, configurable_of, saver_of

log: logging.Logger = logging.getLogger("dockrion")

_EXECUTING: Final = ("invoke", "ainvoke", "invoke_stream", "run_stream")
_OURS: Final = ("stream_mode", "subgraphs", "version")


class LangGraphAdapter:
    """Wraps a LangGraph graph, given as an object or as ``module:attribute``.

    What ``graph.ainvoke`` would return or raise is what comes out: interrupts, ``Command`` inputs,
    resuming with None and time travel included. ``options`` go to LangGraph untouched
    (``durability``, ``interrupt_before``, ``output_keys`` …); its own ``context=`` is spelled
    ``runtime_context=`` here. ``stream_mode``, ``subgraphs`` and ``version`` are the adapter's and
    raise `TypeError`.

    A graph with a ``context_schema`` gets a context of the schema's defaults unless the caller gives one. A
    checkpointer that is synchronous only is called in worker threads; the graph runs on the event loop.

    ``recursion_limit`` holds where neither the graph nor the caller sets one. As an async context
    manager the adapter opens the graph's factory on entry and closes what it holds on exit.
    """

    framework: str = "langgraph"
    scopes_threads: bool = True

    def __init__(self, graph: Any = None, *, recursion_limit: int | None = None) -> None:
        self.agent_name: str = "graph"
        self.recursion_limit = recursion_limit
        self._source: GraphSource | None = None
        self._pool: WorkerPool | None = None
        self._savers = Savers()
        self._async_only: tuple[Graph, bool] | None = None
        self._input_check: tuple[Graph, InputCheck] | None = None
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
        """Return the message as the graph takes it, if its input is or has a list of messages, or a text."""
        graph = self._loaded().known
        return None if graph is None else chat_input(graph, message)

    def input_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of the graph's input; None if it is not known, or has none.

        A subclass that executes in a way of its own, and so may take other payloads than the graph does, has
        none unless it says so itself.
        """
        graph = self._loaded().known
        return None if graph is None or self._translates else input_schema(graph)

    async def check_input(self, payload: Any, *, config: dict[str, Any] | None = None) -> None:
        """Raise `InputRefused` if ``payload`` reaches no input of the graph, or its state refuses it.

        What the thread holds already counts as given. Nothing is executed or stored. The payloads of a
        subclass that executes in a way of its own are not checked here.
        """
        graph = self._loaded().known
        if graph is None or self._translates:
            return
        known, check = self._input_check or (None, None)
        if check is None or known is not graph:
            check = InputCheck(graph)
            self._input_check = (graph, check)
        await check.check(payload, lambda: self._stored(config))

    @property
    def _translates(self) -> bool:
        """Whether a subclass comes between the payloads and the graph."""
        own = type(self)
        return any(getattr(own, name) is not getattr(LangGraphAdapter, name) for name in _EXECUTING)

    async def _stored(self, config: dict[str, Any] | None) -> StateSnapshot | None:
        """Return what is stored in the thread that ``config`` names; None if that cannot be anything."""
        config, scope = scoped(config)
        if scope.temporary or "thread_id" not in ((config or {}).get("configurable") or {}):
            return None
        caller = Caller(self.agent_name, scope.owner, execution=False)
        try:
            async with self._loaded().graph(_ensured(config), caller) as graph:
                call = await self._call(graph, config, scope, {})
                return await graph.aget_state(call.config) if call.keeps else None
        except Exception as error:  # noqa: BLE001 - the execution will say what is wrong
            log.warning("%s: its thread could not be read: %s", self.agent_name, error)
            return None

    async def inspect(self) -> list[str]:
        """Have a factory make a graph to look at, if it makes one for each execution.

        Returns warnings: that the factory raised, which it may not do for executions, or that no request can
        give the context that the graph asks for. Raises `LoadError` if the factory makes no graph.
        """
        source = self._loaded()
        if source.known is None:
            try:
                await source.look(_ensured(None), Caller(self.agent_name, execution=False))
            except FactoryFailed as error:
                return [f"{error}; nothing is known of its graph before a request"]
        graph = source.known
        reason = None if graph is None else context_fault(graph.context_schema)
        if reason is None:
            return []
        return [f"{self.agent_name}: {reason}; requests cannot give a context, so give its fields defaults"]

    @property
    def keeps_threads(self) -> bool:
        """Whether every execution needs a ``thread_id``, even if the caller names none.

        So do the executions of a factory, which may take one without for something else: LangGraph's server
        gives each execution one.
        """
        return self._loaded().per_execution or not self.forgets_threads

    @property
    def keeps_threads_in_memory(self) -> bool:
        """Whether the checkpointer keeps conversations in the memory of this process alone."""
        module = sys.modules.get("langgraph.checkpoint.memory")  # who has one of its savers has imported it
        graph = self._loaded().ready
        return (
            module is not None and graph is not None and isinstance(graph.checkpointer, module.InMemorySaver)
        )

    @property
    def forgets_threads(self) -> bool:
        """Whether the graph stores nothing under a ``thread_id``."""
        graph = self._loaded().known
        return graph is not None and not graph.checkpointer

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
        """Run ``graph.invoke``, or ``ainvoke`` on a loop of its own if the graph needs an event loop."""
        options = _for_langgraph(options)
        context = context or get_current_context() or silent_context()
        graph = self._loaded().ready
        if graph is None or self._needs_event_loop(graph):
            return run_blocking(lambda: self._ainvoke(payload, config, context, options, apart=True))
        config, scope = scoped(config)
        call = self._prepared(graph, config, scope, options, sync_only=False)
        with context_scope(context):
            return graph.invoke(payload, call.config, **call.options)

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``graph.ainvoke``; a checkpointer that is synchronous only in threads.

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
        config = config if self.forgets_threads else marked(config, run)
        return self._stream(
            payload, config, context, events_filter, serialize, options, run=run, resume=resume
        )

    # -- inside --------------------------------------------------------------------------------

    def _stream(
        self,
        payload: Any,
        config: dict[str, Any] | None,
        context: StreamContext | None,
        events_filter: EventsFilter | None,
        serialize: bool,
        options: dict[str, Any],
        *,
        run: str | None = None,
        resume: bool = False,
    ) -> EventStream[Any]:
        """Return the stream of an execution, which goes on from where ``run`` has got to if it resumes."""
        source = self._loaded()
        options = _for_langgraph(options)
        context = stream_context(context, events_filter)
        backend = LangGraphBackend(context.events_filter)
        context.attach(backend)
        config, scope = scoped(config)
        caller = self._caller(scope, options, context)
        leftovers = Leftovers()

        async def execute(exit_: Exit) -> Any:
            async with source.graph(_ensured(config), caller) as graph:
                call = await self._call(graph, config, scope, options)
                if scope.temporary:
                    leftovers.of(call)
                try:
                    output = await self._executed(
                        call, payload, run if resume else None, context, backend, exit_
                    )
                    await leftovers.settle(output)
                    return output
                finally:
                    backend.detach()
                    if run is None:  # of a run, another execution may need them
                        await leftovers.discard()

        stream: EventStream[Any] = EventStream(
            execute, context, agent_name=self.agent_name, framework=self.framework, serialize=serialize
        )
        stream.discard = leftovers.discard if scope.temporary else None
        return stream

    async def _executed(
        self,
        call: Call,
        payload: Any,
        resumed: str | None,
        context: StreamContext,
        backend: LangGraphBackend,
        exit_: Exit,
    ) -> Any:
        """Execute the graph, or what the run ``resumed`` has left of it, and return its output."""
        config = call.config
        if resumed is not None and call.keeps:
            progress = await read_progress(call.graph, config, resumed, options=call.options)
            if progress is not None and progress.settled:
                return progress.output
            if progress is not None:
                payload, config = None, progress.config
        execution = Execution(call.graph, config, call.options, context, backend, exit_)
        try:
            return await execution.run(payload)
        except (AttributeError, KeyError) as error:
            refusal = _refusal(call, error)
            if refusal is None:
                raise
            raise refusal from error

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
        config, scope = scoped(config)
        caller = self._caller(scope, options, context)
        ready = None if known is None else nullcontext(known)  # the general way would only take time
        with context_scope(context):
            async with ready or source.graph(_ensured(config), caller, apart=apart) as graph:
                call = await self._call(graph, config, scope, options)
                leftovers = Leftovers()
                if scope.temporary:
                    leftovers.of(call)
                try:
                    output = await graph.ainvoke(payload, call.config, **call.options)
                    await leftovers.settle(output)
                    return output
                except (AttributeError, KeyError) as error:
                    refusal = _refusal(call, error)
                    if refusal is None:
                        raise
                    raise refusal from error
                finally:
                    await leftovers.discard()

    async def _call(
        self, graph: Graph, config: dict[str, Any] | None, scope: Scope, options: dict[str, Any]
    ) -> Call:
        """Return how the graph is called from an event loop."""
        sync_only = await self._savers.is_sync_only(saver_of(graph, config))
        return self._prepared(graph, config, scope, options, sync_only=sync_only)

    def _prepared(
        self,
        graph: Graph,
        config: dict[str, Any] | None,
        scope: Scope,
        options: dict[str, Any],
        *,
        sync_only: bool,
    ) -> Call:
        merged = self._config(graph, config)
        saver = saver_of(graph, config)
        lent: dict[str, Any] = {}
        around = configurable_of(graph, config)
        unnamed = bool(saver) and not around  # LangGraph refuses it itself, with the right words
        if (sync_only or scope.owner) and isinstance(saver, BaseCheckpointSaver) and not unnamed:
            saver = LentSaver(saver, owner=scope.owner, pool=self._threads() if sync_only else None)
            lent[SAVER_KEY] = saver
        if graph.context_schema is not None and "context" not in options:
            context = default_context(graph, around)
            if context is not None:
                options = {**options, "context": context}
                runtime = None if unnamed else with_empty_context(graph, around)
                lent |= {} if runtime is None else {RUNTIME_KEY: runtime}
        if scope.owner:  # as LangGraph's server says it, in nodes too
            lent |= {"langgraph_auth_user": User(scope.owner), "langgraph_auth_user_id": scope.owner}
        if lent:
            given: Any = merged or {}
            configurable = {**(given.get("configurable") or {}), **lent}
            merged = cast("RunnableConfig", {**given, "configurable": configurable})
        return Call(graph, merged, options, saver)

    def use_threads(self, pool: WorkerPool) -> None:
        """Execute synchronous code in the threads of ``pool``; without this in a pool of its own."""
        self._pool = pool

    def _caller(self, scope: Scope, options: dict[str, Any], context: StreamContext) -> Caller:
        return Caller(self.agent_name, scope.owner, context.run_id, options.get("context"))

    def _needs_event_loop(self, graph: Graph) -> bool:
        if self._async_only is None or self._async_only[0] is not graph:
            self._async_only = (graph, needs_event_loop(graph))
        return self._async_only[1]

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


def _refusal(call: Call, error: Exception) -> InputRefused | None:
    """Return what to raise instead of a failure that comes of a context which nobody could give."""
    return None if call.options.get("context") else context_refusal(call.graph, error)


def _ensured(config: dict[str, Any] | None) -> RunnableConfig:
    return ensure_config(cast("RunnableConfig | None", config))


def _for_langgraph(options: dict[str, Any]) -> dict[str, Any]:
    refused = [name for name in _OURS if name in options]
    if refused:
        raise TypeError(f"{', '.join(refused)}: the adapter sets this itself; choose events by events_filter")
    names = {"runtime_context": "context"}
    # None is what LangGraph takes for "not given"; left out, it cannot stand in for our own default.
    return {names.get(name, name): value for name, value in options.items() if value is not None}
