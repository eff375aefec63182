"""Whether a graph has parts that only an event loop can execute."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from langchain_core.runnables import (
    Runnable,
    RunnableBinding,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.tools import BaseTool, StructuredTool, Tool
from langgraph.func import task
from langgraph.pregel import Pregel

from .surroundings import Graph

_Task: Any = type(task(lambda: None))


def needs_event_loop(graph: Graph) -> bool:
    """Say whether ``graph.invoke`` would meet a node, tool, branch or task that is asynchronous only.

    What a function calls is seen as far as it refers to it by name.
    """
    return any(map(_is_async_only, _parts(graph)))


def _is_async_only(part: Any) -> bool:
    if isinstance(part, _Task):
        return inspect.iscoroutinefunction(part.func)
    if isinstance(part, StructuredTool | Tool):
        return part.func is None and part.coroutine is not None
    if isinstance(part, BaseTool):
        return False
    if isinstance(part, RunnableLambda):
        return not hasattr(part, "func")
    if isinstance(part, RunnableGenerator):
        return not hasattr(part, "_transform")
    return getattr(part, "afunc", None) is not None and getattr(part, "func", None) is None


def _parts(root: Any) -> Iterator[Any]:
    """Yield what ``root`` is made of, itself included, each part once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting.extend(_within(part))


def _within(part: Any) -> Iterator[Any]:
    if isinstance(part, Pregel):
        for node in part.nodes.values():
            yield node.bound
        for branches in getattr(getattr(part, "builder", None), "branches", {}).values():
            yield from (branch.path for branch in branches.values())
    elif isinstance(part, RunnableSequence):
        yield from part.steps
    elif isinstance(part, RunnableParallel):
        yield from part.steps__.values()
    elif isinstance(part, RunnableBinding):
        yield part.bound
    elif isinstance(part, RunnableWithFallbacks):
        yield from part.runnables
    elif isinstance(part, RunnableBranch):
        yield part.default
        for condition, runnable in part.branches:
            yield from (condition, runnable)
    else:
        yield from getattr(part, "steps", ())  # LangGraph's own sequence
        yield from getattr(part, "tools_by_name", {}).values()
        yield from _referred(getattr(part, "func", None))


def _referred(function: Any) -> Iterator[Any]:
    """Yield the runnables, tools and tasks that a function names."""
    function = inspect.unwrap(getattr(function, "__func__", function)) if callable(function) else None
    if not inspect.isfunction(function):
        return
    try:
        names = inspect.getclosurevars(function)
    except ValueError:  # a variable that is not set yet
        return
    for value in (*names.nonlocals.values(), *names.globals.values()):
        if isinstance(value, Runnable | _Task):
            yield value
