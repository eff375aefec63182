"""Any object with the methods of an agent: ``invoke``, ``ainvoke``, ``stream`` or ``astream``."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterable, Callable, Iterable
from typing import Any, Final, Literal, overload

from dockrion_events import EventsFilter, StreamContext, StreamEvent, context_scope

from .contexts import silent_context, stream_context
from .entrypoint import load_entrypoint
from .errors import LoadError
from .signatures import accepts, context_parameter, is_asynchronous
from .stream import EventStream
from .threads import WorkerPool, run_blocking, run_in_thread
from .yielded import aiterate, finished, iterate

METHODS: Final = ("invoke", "ainvoke", "stream", "astream")


def is_agent(value: Any) -> bool:
    """Whether ``value`` is an object, no class, with one of the `METHODS`."""
    return not inspect.isclass(value) and any(callable(getattr(value, name, None)) for name in METHODS)


class ObjectAdapter:
    """Wraps an object with ``invoke``, ``ainvoke``, ``stream`` or ``astream``, or ``module:attribute``.

    A method is called with the payload; ``config`` is handed on where it has a parameter of that name, the
    context where it has one named ``context`` or annotated `StreamContext`, and ``options`` as they are.
    Synchronous methods run in worker threads.

    `invoke_stream` takes ``astream`` or ``stream`` before the others, and treats what they yield like what a
    handler yields: a string is a token, an event itself, anything else a ``custom:partial`` event. The output
    is then the generator's return value, else the last dict yielded, else ``{"text": <all tokens>}``; it
    is not that of ``invoke``, which is not called. `invoke` and `ainvoke` return what the object's own do,
    and take a streaming method only where there is neither.
    """

    framework: str = "object"
    keeps_threads: bool = False

    def __init__(self, agent: Any = None) -> None:
        self.agent_name: str = "agent"
        self._methods: dict[str, _Method] = {}
        self._pool: WorkerPool | None = None
        if agent is not None:
            self.load(agent)

    # -- loading -------------------------------------------------------------------------------

    def load(self, target: Any) -> None:
        """Take an object, or ``module:attribute`` of one. Raises `LoadError`."""
        found = load_entrypoint(target) if isinstance(target, str) else target
        shown = repr(target) if isinstance(target, str) else f"{target!r:.80}"
        if not is_agent(found):
            kind = f"class {found.__name__}" if inspect.isclass(found) else type(found).__name__
            raise LoadError(
                f"{shown} is a {kind}; expected an object with {', '.join(METHODS[:-1])} or astream"
            )
        methods = {name: getattr(found, name, None) for name in METHODS}
        self._methods = {
            name: _Method(name, method, f"{name} of {shown}")
            for name, method in methods.items()
            if callable(method)
        }
        name = getattr(found, "name", None)
        self.agent_name = name if isinstance(name, str) and name else type(found).__name__

    def metadata(self) -> dict[str, Any]:
        return {"methods": list(self._methods)}

    @property
    def forgets_threads(self) -> bool:
        """Whether no method takes the config, which a ``thread_id`` is in."""
        return not any(method.takes_config for method in self._methods.values())

    # -- executing -----------------------------------------------------------------------------

    def invoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Call ``invoke``, else ``ainvoke`` on an event loop of its own, else a streaming method."""
        context = context or silent_context()
        method = self._first("invoke", "ainvoke", "stream", "astream")
        with context_scope(context):
            if method.asynchronous:
                return run_blocking(lambda: self._execute(method, payload, config, context, options))
            result = method(payload, config, context, options)
            if inspect.isawaitable(result) or inspect.isasyncgen(result):
                return run_blocking(lambda: self._settled(method, result, context))
            return method.output(result, context)

    async def ainvoke(
        self,
        payload: Any,
        *,
        config: dict[str, Any] | None = None,
        context: StreamContext | None = None,
        **options: Any,
    ) -> Any:
        """Call ``ainvoke``, else ``invoke`` in a worker thread, else a streaming method."""
        method = self._first("ainvoke", "invoke", "astream", "stream")
        own = context is None
        context = context or silent_context()
        with context_scope(context):
            try:
                return await self._execute(method, payload, config, context, options)
            except asyncio.CancelledError:
                if own:
                    context.cancel()  # a synchronous method learns it from there
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
        """Return the stream of one execution; events arrive while the method runs."""
        method = self._first("astream", "stream", "ainvoke", "invoke")
        context = stream_context(context, events_filter)
        return EventStream(
            lambda _: self._execute(method, payload, config, context, options),
            context,
            agent_name=self.agent_name,
            framework=self.framework,
            serialize=serialize,
        )

    # -- inside --------------------------------------------------------------------------------

    def _first(self, *names: str) -> _Method:
        for name in names:
            if name in self._methods:
                return self._methods[name]
        raise LoadError("no agent is loaded; call load() first")

    async def _execute(
        self,
        method: _Method,
        payload: Any,
        config: dict[str, Any] | None,
        context: StreamContext,
        options: dict[str, Any],
    ) -> Any:
        if method.asynchronous:
            return await self._settled(method, method(payload, config, context, options), context)

        def work() -> Any:
            return method.output(method(payload, config, context, options), context)

        return await self._settled(method, await run_in_thread(self._threads(), work), context)

    async def _settled(self, method: _Method, result: Any, context: StreamContext) -> Any:
        """Finish what a call returned: a coroutine, something to iterate, or the output itself."""
        if inspect.isawaitable(result):
            result = await result
        if inspect.isasyncgen(result) or (method.streams and isinstance(result, AsyncIterable)):
            return await aiterate(aiter(result), context)
        if inspect.isgenerator(result) or (method.streams and method.asynchronous):
            return await run_in_thread(self._threads(), lambda: method.output(result, context))
        return result

    def use_threads(self, pool: WorkerPool) -> None:
        """Execute synchronous code in the threads of ``pool``; without this in a pool of its own."""
        self._pool = pool

    def _threads(self) -> WorkerPool:
        if self._pool is None:
            self._pool = WorkerPool()
        return self._pool


class _Method:
    """One of an agent's methods: what it takes, and what becomes of what it returns."""

    def __init__(self, name: str, function: Callable[..., Any], shown: str) -> None:
        self._function = function
        self._context = context_parameter(function, shown, filled=("config",))
        self.takes_config: bool = accepts(function, "config")
        self.streams: bool = name in ("stream", "astream")
        self.asynchronous: bool = name.startswith("a") or is_asynchronous(function)

    def __call__(
        self, payload: Any, config: dict[str, Any] | None, context: StreamContext, options: dict[str, Any]
    ) -> Any:
        given = dict(options)
        if self.takes_config:
            given["config"] = config
        if self._context is not None:
            given[self._context] = context
        return self._function(payload, **given)

    def output(self, result: Any, context: StreamContext) -> Any:
        """Return the output; what is to be iterated here and now is."""
        if self.streams and isinstance(result, Iterable) and not isinstance(result, str | bytes | dict):
            return iterate(iter(result), context)
        return finished(result, context)
