"""Where the graph comes from: an object, a builder, or a factory of any kind."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from contextvars import copy_context
from typing import Any

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from dockrion_events import set_current_context

from ..errors import LoadError
from .factories import Caller, Factory
from .surroundings import Graph

_KINDS = (
    "a compiled graph, a StateGraph, an @entrypoint, or a function (with no argument, the config, or a "
    "ServerRuntime) that returns one of these or an async context manager of one"
)


class FactoryFailed(LoadError):
    """A factory raised, or what it returned could not be entered."""


class GraphSource:
    """Gives the compiled graph of each execution.

    A factory without argument runs once, one that takes the config or a ``ServerRuntime`` once for each
    execution. What it returns is awaited, compiled and entered as needed; an async context manager of a
    factory without argument stays entered until `aclose`, or until the event loop it was entered on ends.
    May be used from several threads and event loops. Whatever keeps a graph from being made is a
    `LoadError`.
    """

    def __init__(self, target: Any, shown: str) -> None:
        self._shown = shown
        self._factory: Factory | None = None
        self._made_at_first: Any = None
        self._per_execution = False
        self._graph: Graph | None = None
        self._example: Graph | None = None
        self._held: _Held | None = None
        self._lock = threading.Lock()
        self._opening: Future[None] | None = None
        if isinstance(target, Pregel | StateGraph):
            self._graph = self._compiled(target)
            return
        if isinstance(target, Runnable) or not callable(target) or inspect.isclass(target):
            raise LoadError(f"{shown} is a {_kind(target)}; expected {_KINDS}")
        self._factory = Factory(target, shown)
        self._per_execution = self._factory.per_execution
        if not (self._per_execution or inspect.iscoroutinefunction(target)):
            try:
                made = target()
            except Exception as error:
                raise self._failed(error) from error
            if _needs_loop(made):
                self._made_at_first = made
            else:
                self._graph = self._compiled(made)

    @property
    def ready(self) -> Graph | None:
        """The graph, where it is there already and the same for every execution."""
        return self._graph if self._held is None or self._held.alive else None

    @property
    def known(self) -> Graph | None:
        """The graph, or one that was made to look at; None if none was made yet."""
        return self.ready or self._example

    @property
    def per_execution(self) -> bool:
        """Whether a factory makes a graph for each execution."""
        return self._per_execution

    async def look(self, config: RunnableConfig, caller: Caller) -> None:
        """Have a factory of one graph for each execution make one that is only looked at.

        Raises `FactoryFailed` if the factory raises, which may depend on who asks, and `LoadError` if it
        makes no graph, or if nothing says that the function is a factory at all.
        """
        if not self._per_execution:
            return
        try:
            async with self.graph(config, caller) as graph:
                self._example = graph
        except FactoryFailed as error:
            assert self._factory is not None, "something makes the graphs"
            if self._factory.is_evident:
                raise
            raise LoadError(
                f"{error}. As a factory of graphs it is called with LangGraph's config; to serve a function "
                "that takes the payload, name it as agent.handler"
            ) from error

    @asynccontextmanager
    async def graph(
        self, config: RunnableConfig, caller: Caller, *, apart: bool = False
    ) -> AsyncIterator[Graph]:
        """Give the graph for one execution.

        With ``apart`` an async context manager that nobody has entered is entered for this one
        execution alone; for callers whose event loop does not last.
        """
        made: Any = await self._make(config, caller) if self._per_execution else await self._open(apart)
        if isinstance(made, Pregel):
            yield made
            return
        async with AsyncExitStack() as stack:
            if isinstance(made, AbstractAsyncContextManager):
                try:
                    made = await stack.enter_async_context(made)
                except Exception as error:
                    raise self._failed(error) from error
            yield self._compiled(made)

    async def open(self) -> None:
        """Make the graph of a factory without argument now, so that a fault shows at the start."""
        if not self._per_execution:
            await self._open(apart=False)

    async def aclose(self) -> None:
        """Leave the async context manager that is held, if there is one."""
        held, self._held = self._held, None
        if held is not None:
            self._graph = None
            await held.leave()

    async def _open(self, apart: bool) -> Graph | AbstractAsyncContextManager[Any]:
        """Return the graph of all executions, made by the first who comes; others wait for that."""
        while True:
            graph = self.ready
            if graph is not None:
                return graph
            with self._lock:
                opening = self._opening
                if opening is None:
                    mine: Future[None] = Future()
                    self._opening = mine
                    mine.set_running_or_notify_cancel()
            if opening is not None:
                await asyncio.wait((asyncio.wrap_future(opening),))
                continue
            try:
                made = await self._make()
                if isinstance(made, AbstractAsyncContextManager):
                    return made if apart else await self._hold(made)
                self._graph = self._compiled(made)
                return self._graph
            finally:
                self._opening = None
                mine.set_result(None)

    async def _hold(self, manager: AbstractAsyncContextManager[Any]) -> Graph:
        held = _Held(manager)
        try:
            made = await held.enter()
        except Exception as error:
            raise self._failed(error) from error
        try:
            graph = self._compiled(made)
        except LoadError:
            await held.leave()
            raise
        self._graph, self._held = graph, held
        return graph

    async def _make(self, *arguments: Any) -> Any:
        made, self._made_at_first = self._made_at_first, None
        try:
            if made is None:
                assert self._factory is not None, "the graph was given as an object"
                made = self._factory(*arguments) if arguments else self._factory({}, Caller(""))
            return await made if inspect.isawaitable(made) else made
        except Exception as error:
            raise self._failed(error) from error

    def _failed(self, error: Exception) -> FactoryFailed:
        return FactoryFailed(f"{self._shown} failed: {type(error).__name__}: {error}")

    def _compiled(self, made: Any) -> Graph:
        if isinstance(made, StateGraph):
            try:
                made = made.compile()
            except ValueError as error:
                raise LoadError(f"{self._shown} does not compile: {error}") from error
        if not isinstance(made, Pregel):
            raise LoadError(f"{self._shown} gave a {_kind(made)}; expected {_KINDS}")
        return made


class _Held:
    """An async context manager that is entered and left in one task, as some of them require."""

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self._manager = manager
        self._leave = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._entered: asyncio.Future[Any] = self._loop.create_future()
        self._task: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether it is still entered; the end of its event loop leaves it too."""
        return self._task is not None and not self._task.done()

    async def enter(self) -> Any:
        context = copy_context()
        context.run(set_current_context, None)  # it outlives the execution that happens to need it first
        self._task = task = self._loop.create_task(
            self._hold(), name="graph context manager", context=context
        )
        try:
            await asyncio.wait((self._entered, task), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            task.cancel()
            await asyncio.wait((task,))
            raise
        if not self._entered.done():
            task.result()  # raises what entering raised
        return self._entered.result()

    async def leave(self) -> None:
        """Return when it has been left, on whatever event loop that is; raise what leaving raised."""
        task = self._task
        if task is None or not self._loop.is_running():
            return
        if self._loop is not asyncio.get_running_loop():
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self.leave(), self._loop))
            return
        self._leave.set()
        await asyncio.wait((task,))
        task.result()

    async def _hold(self) -> None:
        async with self._manager as value:
            self._entered.set_result(value)
            await self._leave.wait()


def _needs_loop(made: Any) -> bool:
    return inspect.isawaitable(made) or isinstance(made, AbstractAsyncContextManager)


def _kind(value: Any) -> str:
    return f"class {value.__name__}" if inspect.isclass(value) else type(value).__name__
