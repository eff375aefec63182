"""The heart: an agent's execution under the server's policy.

Picks ``invoke_stream``, or falls back to ``invoke`` and a single ``complete``; adds the time limit,
cancellation, and failures as events. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import traceback
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final

from dockrion_adapters import (
    Adapter,
    AgentFailed,
    AsyncAdapter,
    EventStream,
    NoWorkerThreads,
    StreamingAdapter,
    WorkerPool,
    as_stream,
)
from dockrion_adapters.threads import run_in_thread
from dockrion_events import (
    AnyEvent,
    CancelledEvent,
    ErrorEvent,
    Event,
    EventEncoder,
    EventTooLarge,
    Exit,
    NotSerialisable,
    StreamContext,
)

log = logging.getLogger("dockrion")

CLOSE_PATIENCE: Final = 5.0
"""Seconds that a cancelled agent gets to end before it is left to itself."""


LONGEST_MESSAGE: Final = 2000
"""Characters of an agent's own message that a client gets."""


class OutputInvalid(Exception):
    """The agent's output does not fit ``io_schema.output``."""


async def call_agent(
    adapter: Adapter, pool: WorkerPool, payload: Any, config: dict[str, Any], context: StreamContext
) -> Any:
    """Execute the agent once and return its output, without watching it."""
    if isinstance(adapter, AsyncAdapter):
        return await adapter.ainvoke(payload, config=config, context=context)
    return await run_in_thread(pool, lambda: adapter.invoke(payload, config=config, context=context))


def open_stream(
    adapter: Adapter, pool: WorkerPool, payload: Any, config: dict[str, Any], context: StreamContext
) -> EventStream[Any]:
    """Return the stream of one execution, whatever the adapter can do."""
    about: dict[str, Any] = {"agent_name": adapter.agent_name, "framework": adapter.framework}
    if isinstance(adapter, StreamingAdapter):
        stream = adapter.invoke_stream(payload, config=config, context=context)
        return as_stream(stream, context, **about)

    async def run(_: Exit) -> Any:
        return await call_agent(adapter, pool, payload, config, context)

    return EventStream(run, context, **about)


class Execution:
    """One execution, from ``started`` to exactly one terminal event, whatever happens.

    `next_batch` never raises what the agent raised: a failure is an ``error`` event, a cancellation
    a ``cancelled`` event. The first cause of an end wins.
    """

    def __init__(
        self,
        stream: EventStream[Any],
        *,
        encoder: EventEncoder,
        max_seconds: float,
        redact: Callable[[str], str],
    ) -> None:
        stream.encode_with(encoder)
        self._stream = stream
        self._redact = redact
        self._max_seconds = max_seconds
        self._verdict: Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    @property
    def request_id(self) -> str:
        return self._stream.context.run_id

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been returned."""
        return self._ended

    async def next_batch(self) -> list[AnyEvent]:
        """Return what is ready, at least one event; nothing after the end, or when `nudge` was called."""
        if self._ended:
            return []
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._max_seconds, self._time_is_up)
        try:
            batch = await self._stream.next_batch()
        except asyncio.CancelledError:
            self._disarm()
            raise
        except BaseException as error:  # noqa: BLE001 - an agent may raise anything; SystemExit too
            return [self._end(self._failure(error))]
        if self._stream.ended:
            self._ended = True
            self._disarm()
        elif self._verdict is not None:
            batch.append(self._end(self._verdict))
        return batch

    def stop(self, event: Event) -> None:
        """End the execution with this terminal event, behind what it has emitted until now."""
        if self._verdict is None and not self._ended:
            self._verdict = event
            self._stream.nudge()

    def nudge(self) -> None:
        """Make a waiting `next_batch` return, with nothing."""
        self._stream.nudge()

    async def aclose(self) -> None:
        """Stop the agent, if it still runs, and wait a little for its end."""
        self._ended = True
        self._disarm()
        self._stream.cancel()
        task = self._stream.task
        if task is None or task.done():
            return
        done, _ = await asyncio.wait((task,), timeout=CLOSE_PATIENCE)
        if not done:
            log.warning(
                "request %s: the agent was cancelled %.0f s ago and goes on", self.request_id, CLOSE_PATIENCE
            )

    def _end(self, event: Event) -> AnyEvent:
        self._ended = True
        self._disarm()
        self._stream.cancel()
        return self._stream.end_with(event)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        self.stop(ErrorEvent(f"the execution took longer than {self._max_seconds:g} s", "RUN_TIMEOUT"))

    def _failure(self, error: BaseException) -> ErrorEvent:
        return failure_event(
            error,
            output_refused=self._stream.output_refused,
            redact=self._redact,
            request_id=self.request_id,
        )


def failure_event(
    error: BaseException, *, output_refused: bool, redact: Callable[[str], str], request_id: str
) -> ErrorEvent:
    """Return what a client may know of a failure; the log gets the rest, under the request's id."""
    if output_refused:
        code = "OUTPUT_INVALID"
        if isinstance(error, EventTooLarge):
            code = "OUTPUT_TOO_LARGE"
        elif isinstance(error, NotSerialisable):
            code = "NOT_SERIALISABLE"
        log.warning("request %s: the output cannot be sent: %s", request_id, redact(str(error)))
        return ErrorEvent(redact(f"the agent's output cannot be sent: {error}"), code)
    if isinstance(error, NoWorkerThreads):
        log.error("request %s: %s", request_id, error)
        return ErrorEvent("the server has no worker thread left", "OVERLOADED")
    # The traceback is written out here, because a logger would write the secrets in it too.
    trace = "".join(traceback.format_exception(error))
    log.error("request %s: the agent failed\n%s", request_id, redact(trace).rstrip())
    message = redact(str(error))[:LONGEST_MESSAGE]
    if isinstance(error, AgentFailed):
        return ErrorEvent(message, error.code)
    kind = type(error).__name__
    return ErrorEvent(f"{kind}: {message}" if message else kind, "AGENT_ERROR", {"exception": kind})


def shutdown_event() -> CancelledEvent:
    """Return the end of a stream that outlived the server's grace period."""
    return CancelledEvent("shutdown")


def adapter_lifetime(adapter: Adapter) -> AbstractAsyncContextManager[Any] | None:
    """Return the adapter's lifetime, where it has one."""
    has_lifetime = inspect.iscoroutinefunction(getattr(type(adapter), "__aenter__", None))
    return adapter if has_lifetime else None  # type: ignore[return-value]
