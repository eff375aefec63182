"""Whether a graph has parts that only an event loop can execute."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

from langchain_core.runnables import RunnableSequence
from langgraph.func import task
from langgraph.pregel import Pregel

from ..langchain import asynchronous as runnables
from .surroundings import Graph

_Task: Any = type(task(lambda: None))


def needs_event_loop(graph: Graph) -> bool:
    """Say whether ``graph.invoke`` would meet a node, tool, branch or task that is asynchronous only.

    What a function calls is seen as far as it refers to it by name.
    """
    return any(map(_is_async_only, runnables.parts_of(graph, _within)))


def _is_async_only(part: Any) -> bool:
    if isinstance(part, _Task):
        return inspect.iscoroutinefunction(part.func)
    return runnables.is_async_only(part)


def _within(part: Any) -> Iterator[Any]:
    if isinstance(part, Pregel):
        for node in part.nodes.values():
            yield node.bound
        for branches in getattr(getattr(part, "builder", None), "branches", {}).values():
            yield from (branch.path for branch in branches.values())
        return
    yield from runnables.within(part)
    yield from (
        value for value in runnables.referred(getattr(part, "func", None)) if isinstance(value, _Task)
    )
    yield from getattr(part, "tools_by_name", {}).values()
    if not isinstance(part, RunnableSequence):
        yield from getattr(part, "steps", ())  # LangGraph's own sequence
