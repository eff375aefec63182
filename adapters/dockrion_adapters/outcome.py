"""How an agent's own task ends: nothing that it raises gets out of it but a cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from .errors import AgentCancelled


class Outcome(NamedTuple):
    """How an execution ended: with ``output``, or with ``error``."""

    output: Any = None
    error: BaseException | None = None


async def outcome_of(execute: Callable[[], Awaitable[Any]]) -> Outcome:
    """Execute and return how it ended, in a task of its own.

    A task that raises ``SystemExit`` or ``KeyboardInterrupt`` takes its event loop along, and an
    agent must not take a server down: whatever it raises is kept here. Only a cancellation of the
    task passes; an agent that raises ``CancelledError`` by itself has failed.
    """
    try:
        return Outcome(await execute())
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        return Outcome(error=AgentCancelled("the agent raised CancelledError, and nobody had cancelled it"))
    except BaseException as error:  # noqa: BLE001 - see above
        return Outcome(error=error)


def failure_of(task: asyncio.Task[Outcome]) -> BaseException | None:
    """Return what ended a finished execution, in a form that an iterator can raise."""
    if task.cancelled():
        return AgentCancelled("the agent's task was cancelled, and not by its stream")
    error = task.result().error
    if isinstance(error, StopAsyncIteration):  # it would pass for the end of the stream
        failure = RuntimeError("the agent raised StopAsyncIteration")
        failure.__cause__ = error
        return failure
    return error
