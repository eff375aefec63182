"""Where the graph comes from: an object, a builder, or a factory of any kind."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

from langchain_core.runnables import Runnable, RunnableConfig
from langgraph.graph import StateGraph
from langgraph.pregel import Pregel

from ..errors import LoadError

Graph: TypeAlias = "Pregel[Any, Any, Any, Any]"

_KINDS = (
    "a compiled graph, a StateGraph, an @entrypoint, or a function (with no argument or one, the config) "
    "that returns one of these or an async context manager of one"
)


class GraphSource:
    """Gives the compiled graph of each execution.

    A factory without argument runs once, one that takes the config once for each execution. What
    it returns is awaited, compiled and entered as needed; an async context manager of a factory
    without argument stays entered until `aclose`.
    """

    def __init__(self, target: Any, shown: str) -> None:
        self._shown = shown
        self._factory: Callable[..., Any] | None = None
        self._per_execution = False
        self._graph: Graph | None = None
        self._manager: _Held | None = None
        self._opening: asyncio.Lock | None = None
        if isinstance(target, Pregel | StateGraph):
            self._graph = self._compiled(target)
            return
        if isinstance(target, Runnable) or not callable(target) or inspect.isclass(target):
            raise LoadError(f"{shown} is a {_kind(target)}; expected {_KINDS}")
        self._factory = target
        self._per_execution = self._takes_config(target)
        if not (self._per_execution or inspect.iscoroutinefunction(target)):
            made = self._made()
            if not _needs_loop(made):
                self._graph = self._compiled(made)
            else:
                self._factory = lambda: made

    @property
    def ready(self) -> Graph | None:
        """The graph, where it is there already and the same for every execution."""
        return self._graph

    @asynccontextmanager
    async def graph(self, config: RunnableConfig) -> AsyncIterator[Graph]:
        """Give the graph for one execution."""
        if self._per_execution:
            made = self._made(config)
            made = await made if inspect.isawaitable(made) else made
            if isinstance(made, AbstractAsyncContextManager):
                async with made as graph:
                    yield self._compiled(graph)
            else:
                yield self._compiled(made)
            return
        yield self._graph or await self._open()

    async def open(self) -> None:
        """Make the graph of a factory without argument now, so that a fault shows at the start."""
        if not self._per_execution and self._graph is None:
            await self._open()

    async def aclose(self) -> None:
        """Leave the async context manager that `open` entered, if there was one."""
        manager, self._manager = self._manager, None
        if manager is not None:
            self._graph = None
            await manager.leave()

    async def _open(self) -> Graph:
        if self._opening is None:
            self._opening = asyncio.Lock()
        async with self._opening:
            if self._graph is None:
                made = self._made()
                made = await made if inspect.isawaitable(made) else made
                if isinstance(made, AbstractAsyncContextManager):
                    held = _Held(made)
                    made = await held.enter()
                    self._manager = held
                self._graph = self._compiled(made)
            return self._graph

    def _made(self, *arguments: Any) -> Any:
        assert self._factory is not None
        try:
            return self._factory(*arguments)
        except Exception as error:
            raise LoadError(f"{self._shown} failed: {type(error).__name__}: {error}") from error

    def _compiled(self, made: Any) -> Graph:
        if isinstance(made, StateGraph):
            try:
                made = made.compile()
            except ValueError as error:
                raise LoadError(f"{self._shown} does not compile: {error}") from error
        if not isinstance(made, Pregel):
            raise LoadError(f"{self._shown} gave a {_kind(made)}; expected {_KINDS}")
        return made

    def _takes_config(self, factory: Callable[..., Any]) -> bool:
        try:
            parameters = inspect.signature(factory).parameters.values()
        except (TypeError, ValueError):
            return False
        needed = [
            p for p in parameters if p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
        ]
        if len(needed) > 1 or any(p.kind is p.KEYWORD_ONLY for p in needed):
            names = ", ".join(p.name for p in needed)
            raise LoadError(f"{self._shown} takes {names}; a factory has no argument, or one: the config")
        return bool(needed) or any(p.name == "config" and p.kind is not p.KEYWORD_ONLY for p in parameters)


class _Held:
    """An async context manager that is entered and left in one task, as some of them require."""

    def __init__(self, manager: AbstractAsyncContextManager[Any]) -> None:
        self._manager = manager
        self._leave = asyncio.Event()
        self._entered: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._task: asyncio.Task[None] | None = None

    async def enter(self) -> Any:
        self._task = asyncio.create_task(self._hold(), name="graph context manager")
        await asyncio.wait((self._entered, self._task), return_when=asyncio.FIRST_COMPLETED)
        if not self._entered.done():
            await self._task  # raises what entering raised
        return self._entered.result()

    async def leave(self) -> None:
        self._leave.set()
        if self._task is not None:
            await self._task

    async def _hold(self) -> None:
        async with self._manager as value:
            self._entered.set_result(value)
            await self._leave.wait()


def _needs_loop(made: Any) -> bool:
    return inspect.isawaitable(made) or isinstance(made, AbstractAsyncContextManager)


def _kind(value: Any) -> str:
    return f"class {value.__name__}" if inspect.isclass(value) else type(value).__name__
