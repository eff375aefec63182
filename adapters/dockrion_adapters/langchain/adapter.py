"""The adapter: a wrapped runnable gives what the bare one gives, and can be watched."""

from __future__ import annotations

import inspect
from typing import Any, Final, Literal, cast, overload

from langchain_core.runnables import Runnable, RunnableConfig, RunnableSequence
from langchain_core.runnables.config import ensure_config

from dockrion_events import (
    AnyEvent,
    EventsFilter,
    Exit,
    StreamContext,
    StreamEvent,
    context_scope,
    get_current_context,
)

from ..contexts import silent_context, stream_context
from ..entrypoint import load_entrypoint
from ..errors import LoadError
from ..report import reporter
from ..stream import EventStream
from ..threads import run_blocking
from .asynchronous import needs_event_loop
from .callbacks import added
from .handler import EVENTS, runnable_handler
from .inputs import input_schema, said

_EXECUTING: Final = ("invoke", "ainvoke", "invoke_stream")
_KINDS: Final = (
    "a Runnable (a chain, a model, RunnableLambda …), or a function without argument that returns one"
)


class LangChainAdapter:
    """Wraps a LangChain ``Runnable``, given as an object or as ``module:attribute``.

    What ``runnable.ainvoke`` returns or raises is what comes out; ``options`` go to it untouched. Chat
    models stream wherever in the chain they sit; one that cannot gives its answer as one token, and so
    does a model that knows text only, unless it streams by itself. ``step_started`` and ``step`` tell of
    the runnables directly within this one, named as LangChain names them, or by their key where they run
    side by side.

    A tool's result has the id of the model's call; a tool that the chain's own code calls with arguments
    that no model gave is told of with a call of its own.

    Graphs are runnables too, but belong to `LangGraphAdapter`.
    """

    framework: str = "langchain"
    keeps_threads: bool = False

    def __init__(self, runnable: Any = None) -> None:
        self.agent_name: str = "chain"
        self._runnable: Runnable[Any, Any] | None = None
        self._async_only: bool | None = None
        if runnable is not None:
            self.load(runnable)

    # -- loading -------------------------------------------------------------------------------

    def load(self, target: Any) -> None:
        """Take a runnable, a function that makes one, or ``module:attribute`` of either. Raises `LoadError`.

        The function is called here, once.
        """
        shown = repr(target) if isinstance(target, str) else f"{target!r:.80}"
        found = load_entrypoint(target) if isinstance(target, str) else target
        if not isinstance(found, Runnable) and callable(found) and not inspect.isclass(found):
            try:
                found = found()
            except Exception as error:
                raise LoadError(f"{shown} failed: {type(error).__name__}: {error}") from error
            if inspect.iscoroutine(found):
                found.close()
        if not isinstance(found, Runnable):
            kind = f"class {found.__name__}" if inspect.isclass(found) else type(found).__name__
            raise LoadError(f"{shown} is or gave a {kind}; expected {_KINDS}")
        if any(base.__module__.partition(".")[0] == "langgraph" for base in type(found).__mro__):
            raise LoadError(f"{shown} is a graph; its framework is langgraph")
        self._runnable, self._async_only = found, None
        self.agent_name = getattr(found, "name", None) or "chain"

    def metadata(self) -> dict[str, Any]:
        runnable = self._loaded()
        steps = runnable.steps if isinstance(runnable, RunnableSequence) else [runnable]
        return {"steps": [step.get_name() for step in steps]}

    def chat_payload(self, message: str) -> Any:
        """Return the message as the runnable takes it; None if it takes no message that is known.

        That is the message itself for a model or anything else that takes a text, and the one variable of a
        prompt that comes first.
        """
        return said(self._loaded(), message)

    def input_schema(self) -> dict[str, Any] | None:
        """Return the JSON Schema of what the runnable takes; one of any JSON value if that cannot be said.

        A subclass that executes in a way of its own may take other payloads, and has none unless it says so.
        """
        own = type(self)
        if any(getattr(own, name) is not getattr(LangChainAdapter, name) for name in _EXECUTING):
            return None
        return input_schema(self._loaded())

    @property
    def forgets_threads(self) -> bool:
        """Whether nothing in the runnable is configurable, such as a history of messages."""
        return not self._loaded().config_specs

    # -- executing -----------------------------------------------------------------------------

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``runnable.invoke``, or ``ainvoke`` on a loop of its own if a part is asynchronous only."""
        runnable = self._loaded()
        context = context or get_current_context() or silent_context()
        if self._async_only is None:
            self._async_only = needs_event_loop(runnable)
        if self._async_only:
            return run_blocking(lambda: self.ainvoke(payload, config=config, context=context, **options))
        with context_scope(context):
            return runnable.invoke(payload, cast("RunnableConfig | None", config), **options)

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Run ``runnable.ainvoke``."""
        with context_scope(context or get_current_context() or silent_context()):
            return await self._loaded().ainvoke(payload, cast("RunnableConfig | None", config), **options)

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
        """Return the stream of one execution: what models and tools say, steps and users' events."""
        runnable = self._loaded()
        context = stream_context(context, events_filter)
        allowed = context.events_filter
        wanted = [name for name in EVENTS if allowed.is_allowed(name)]

        async def run(exit_: Exit) -> Any:
            watched = ensure_config(cast("RunnableConfig | None", config))  # with what is around it
            if wanted or allowed.allows_any_custom():
                report, queue = reporter(exit_), context.queue

                def tell(event: AnyEvent) -> None:
                    report(event)
                    if queue.crowded:
                        queue.wait_for_room()  # code in a thread waits for a slow reader; the loop's does not

                handler = runnable_handler(wanted, tell, allowed)
                watched["callbacks"] = added(watched.get("callbacks"), handler)
            return await runnable.ainvoke(payload, watched, **options)

        return EventStream(
            run, context, agent_name=self.agent_name, framework=self.framework, serialize=serialize
        )

    # -- inside --------------------------------------------------------------------------------

    def _loaded(self) -> Runnable[Any, Any]:
        if self._runnable is None:
            raise LoadError("no runnable is loaded; call load() first")
        return self._runnable
