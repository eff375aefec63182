"""Plain functions as agents: synchronous, asynchronous, generators and async generators."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any, Literal, overload

from dockrion_events import (
    AnyEvent,
    EventsFilter,
    StreamContext,
    StreamEvent,
    context_scope,
    get_current_context,
)

from .contexts import silent_context, stream_context
from .entrypoint import load_entrypoint
from .errors import LoadError
from .signatures import context_parameter, is_asynchronous, payload_schema
from .stream import EventStream
from .threads import WorkerPool, run_blocking, run_in_thread
from .yielded import aiterate, finished


class HandlerAdapter:
    """Wraps ``handle(payload)``, a callable of any kind, given as such or as ``module:callable``.

    A parameter named ``context``, or annotated `StreamContext`, gets the context. A synchronous
    handler runs in a worker thread. What a generator yields is streamed: a string is a token, an
    event itself, anything else a ``custom:partial`` event; its output is its return value, else the
    last dict it yielded, else ``{"text": <all its tokens>}``.

    The adapter is the streaming backend of the handlers it runs: an event goes to the execution
    that the emitting code belongs to.
    """

    framework: str = "handler"
    keeps_threads: bool = False
    forgets_threads: bool = True

    def __init__(self, handler: Callable[..., Any] | str | None = None) -> None:
        self.agent_name: str = "handler"
        self._handler: Callable[..., Any] | None = None
        self._context_parameter: str | None = None
        self._asynchronous = False
        self._pool: WorkerPool | None = None
        if handler is not None:
            self.load(handler)

    # -- loading -------------------------------------------------------------------------------

    def load(self, target: Callable[..., Any] | str) -> None:
        """Take a callable, or ``module:callable``. Raises `LoadError`."""
        handler = load_entrypoint(target) if isinstance(target, str) else target
        shown = repr(target) if isinstance(target, str) else f"{target!r:.80}"
        if not callable(handler):
            raise LoadError(f"{shown} is a {type(handler).__name__}, and a handler has to be callable")
        if inspect.isclass(handler):
            raise LoadError(f"{shown} is a class; give an instance of it, or a function")
        self._context_parameter = context_parameter(handler, shown)
        self._asynchronous = is_asynchronous(handler)
        self._handler = handler
        self.agent_name = getattr(handler, "__name__", type(handler).__name__)

    def metadata(self) -> dict[str, Any]:
        return {"asynchronous": self._asynchronous}

    def input_schema(self) -> dict[str, Any] | None:
        """Return the type of the payload if it is annotated as plain text, a number or a list, else None."""
        return payload_schema(self._loaded())

    # -- executing -----------------------------------------------------------------------------

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
    ) -> Any:
        """Call the handler and return what it returns; an asynchronous one runs on a loop of its own."""
        context = context or silent_context()
        if self._asynchronous:
            return run_blocking(lambda: self.ainvoke(payload, config=config, context=context))
        with context_scope(context):
            result = self._call(payload, context)
            if inspect.isawaitable(result) or inspect.isasyncgen(result):
                return run_blocking(lambda: self._await(result, context))
            return finished(result, context)

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
    ) -> Any:
        """Call the handler, a synchronous one in a worker thread, and return what it returns."""
        if context is not None:
            with context_scope(context):
                return await self._execute(payload, context)
        context = silent_context()
        with context_scope(context):
            try:
                return await self._execute(payload, context)
            except asyncio.CancelledError:
                context.cancel()  # a synchronous handler learns it from there
                raise

    @overload
    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: Literal[False] = False,
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
    ) -> EventStream[str]: ...

    def invoke_stream(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        events_filter: EventsFilter | None = None,
        serialize: bool = False,
    ) -> EventStream[Any]:
        """Return the stream of one execution; events arrive while the handler runs."""
        self._loaded()
        context = stream_context(context, events_filter)
        context.attach(self, own_path=True)

        return EventStream(
            lambda _: self._execute(payload, context),
            context,
            agent_name=self.agent_name,
            framework=self.framework,
            serialize=serialize,
        )

    # -- the streaming backend of its own handlers ---------------------------------------------

    @property
    def name(self) -> str:
        return "handler"

    def is_available(self) -> bool:
        """Whether the calling code belongs to an execution of this adapter."""
        context = self._execution()
        return context is not None and context.queue.is_available()

    def emit(self, event: AnyEvent) -> bool:
        """Hand the event to the execution that the calling code belongs to.

        False where that is another adapter's, or one that nobody watches: what a tool emits through
        the context of the agent that called it stays with that agent.
        """
        context = self._execution()
        return context is not None and context.relay(event)

    def _execution(self) -> StreamContext | None:
        context = get_current_context()
        if context is None or context.streaming_backend not in (None, self):
            return None
        return context

    # -- inside --------------------------------------------------------------------------------

    def _loaded(self) -> Callable[..., Any]:
        if self._handler is None:
            raise LoadError("no handler is loaded; call load() first")
        return self._handler

    def use_threads(self, pool: WorkerPool) -> None:
        """Execute synchronous code in the threads of ``pool``; without this in a pool of its own."""
        self._pool = pool

    def _call(self, payload: Any, context: StreamContext) -> Any:
        handler = self._loaded()
        if self._context_parameter is None:
            return handler(payload)
        return handler(payload, **{self._context_parameter: context})

    async def _execute(self, payload: Any, context: StreamContext) -> Any:
        if self._asynchronous:
            result = self._call(payload, context)
            if inspect.iscoroutine(result):  # the usual case, and one frame less to resume
                return await result
            return await self._await(result, context)

        def work() -> Any:
            result = self._call(payload, context)
            return finished(result, context)

        self._loaded()
        pool = self._pool
        if pool is None:
            pool = self._pool = WorkerPool()
        return await self._await(await run_in_thread(pool, work), context)

    async def _await(self, result: Any, context: StreamContext) -> Any:
        """Finish what a call returned: a coroutine, an async generator, or the output itself."""
        if inspect.isasyncgen(result):
            return await aiterate(result, context)
        return await result if inspect.isawaitable(result) else result
