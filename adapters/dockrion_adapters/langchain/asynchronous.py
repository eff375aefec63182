"""Whether a runnable has parts that only an event loop can execute."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

from langchain_core.runnables import (
    Runnable,
    RunnableBranch,
    RunnableGenerator,
    RunnableLambda,
    RunnableParallel,
    RunnableSequence,
    RunnableWithFallbacks,
)
from langchain_core.runnables.base import RunnableBindingBase
from langchain_core.tools import BaseTool, StructuredTool, Tool

Within: TypeAlias = Callable[[Any], Iterable[Any]]


def needs_event_loop(runnable: Runnable[Any, Any]) -> bool:
    """Say whether ``invoke`` would meet a function or a tool that is asynchronous only.

    What a function calls is seen as far as it refers to it by name.
    """
    return any(map(is_async_only, parts_of(runnable, within)))


def is_async_only(part: Any) -> bool:
    """Whether this part by itself can only be executed on an event loop."""
    if isinstance(part, StructuredTool | Tool):
        return part.func is None and part.coroutine is not None
    if isinstance(part, BaseTool):
        return False
    if isinstance(part, RunnableLambda):
        return not hasattr(part, "func")
    if isinstance(part, RunnableGenerator):
        return not hasattr(part, "_transform")
    return getattr(part, "afunc", None) is not None and getattr(part, "func", None) is None


def parts_of(root: Any, within: Within) -> Iterator[Any]:
    """Yield what ``root`` is made of, itself included, each part once."""
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        part = waiting.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        yield part
        waiting.extend(within(part))


def within(part: Any) -> Iterator[Any]:
    """Yield the runnables and tools directly within a part, and those that its function names."""
    if isinstance(part, RunnableSequence):
        yield from part.steps
    elif isinstance(part, RunnableParallel):
        yield from part.steps__.values()
    elif isinstance(part, RunnableBindingBase):
        yield part.bound
    elif isinstance(part, RunnableWithFallbacks):
        yield from part.runnables
    elif isinstance(part, RunnableBranch):
        yield part.default
        for condition, runnable in part.branches:
            yield from (condition, runnable)
    else:
        yield from (value for value in referred(getattr(part, "func", None)) if isinstance(value, Runnable))


def referred(function: Any) -> Iterator[Any]:
    """Yield the values that a function refers to by name."""
    function = inspect.unwrap(getattr(function, "__func__", function)) if callable(function) else None
    if not inspect.isfunction(function):
        return
    try:
        names = inspect.getclosurevars(function)
    except ValueError:  # a variable that is not set yet
        return
    yield from names.nonlocals.values()
    yield from names.globals.values()
