"""The stream of one execution: the agent in its own task, its events out of one exit."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextvars import copy_context
from types import TracebackType
from typing import Any, Generic, Literal, Self, TypeVar

from dockrion_events import (
    MANDATORY,
    AnyEvent,
    CancelledEvent,
    CompleteEvent,
    ErrorEvent,
    Event,
    EventEncoder,
    Exit,
    RestartedEvent,
    StartedEvent,
    StreamContext,
    as_objects,
    as_text,
    set_current_context,
)
from dockrion_events.backends.queue import QueueBackend
from dockrion_events.forms import Form

from .errors import AgentCancelled, AgentFailed
from .outcome import Outcome, failure_of, outcome_of

T = TypeVar("T")

Run = Callable[[Exit], Awaitable[Any]]
"""Executes the agent once and returns its output; may `push` events of its own into the exit."""

_running: set[asyncio.Task[Outcome]] = set()  # asyncio itself keeps only weak references to tasks


class _Beat:
    """Whether a sign of life is due.

    Apart from the stream, which nothing that runs may keep alive, and without the context, which has
    this: in a circle, each execution's objects would wait for the garbage collector.
    """

    __slots__ = ("_queue", "asked")

    def __init__(self, queue: QueueBackend) -> None:
        self._queue = queue
        self.asked = False

    def ask(self) -> None:
        self.asked = True
        self._queue.nudge()


class EventStream(Generic[T]):
    """The whole life of one execution: ``started``, every allowed event, ``complete``.

    An async iterator and an async context manager. Nothing runs before the first iteration; then
    the agent runs in an asyncio task of its own, in a copy of the context of whoever iterates.
    Yields event objects, or JSON strings where ``serialize`` was asked for. A failure of the agent
    is raised as the agent raised it, in place of ``complete``.

    ``aclose()``, leaving the ``async with``, cancelling the iterating task and dropping the stream
    stop the agent; ``aclose`` returns when it has ended.

    ``discard``, if set, deletes what the execution has stored for nobody but itself. It is called by whoever
    needs that no more, after the end: what it deletes is what another execution could go on from.

    ``check_output``, where set, is called with the output before ``complete``; what it raises is
    raised in place of ``complete``.
    """

    __slots__ = (
        "__weakref__",
        "_agent_name",
        "_beat",
        "_context",
        "_encoder",
        "_ended",
        "_exit",
        "_first",
        "_form",
        "_framework",
        "_id_field",
        "_loop",
        "_metadata",
        "_next",
        "_opened",
        "_output_refused",
        "_ready",
        "_run",
        "_sequence",
        "_started_at",
        "_taking",
        "_task",
        "check_output",
        "discard",
    )

    def __init__(
        self,
        run: Run,
        context: StreamContext,
        *,
        agent_name: str,
        framework: str | None = None,
        serialize: bool = False,
        metadata: dict[str, Any] | None = None,
    ) -> None:
        self._run = run
        self._context = context
        self._agent_name = agent_name
        self._framework = framework
        self._metadata = dict(metadata or {})
        self._form: Form = as_text if serialize else as_objects
        self._encoder = EventEncoder() if serialize else None
        self._id_field: Literal["request_id", "run_id"] = "request_id"
        self._sequence = 0
        self._first: Event | None = None
        self._exit: Exit | None = None
        self._opened: Exit | None = None
        self._task: asyncio.Task[Outcome] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._started_at = 0.0
        self._ready: list[T] = []
        self._next = 0
        self._ended = False
        self._taking = False
        self._beat = _Beat(context.queue)
        self._output_refused = False
        self.check_output: Callable[[Any], None] | None = None
        self.discard: Callable[[], Awaitable[None]] | None = None

    @property
    def context(self) -> StreamContext:
        """The context that the agent emits through."""
        return self._context

    @property
    def metadata(self) -> dict[str, Any]:
        """What `complete` will carry as its metadata; whoever runs the stream may add to it."""
        return self._metadata

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been returned, or the failure raised in its place."""
        return self._ended

    @property
    def output_refused(self) -> bool:
        """Whether the agent returned, and its output could not be sent: the error raised says why."""
        return self._output_refused

    @property
    def latency_seconds(self) -> float:
        """Seconds since the execution began; 0.0 before."""
        return time.monotonic() - self._started_at if self._started_at else 0.0

    def leave_as(
        self, form: Form, encoder: EventEncoder, *, id_field: Literal["request_id", "run_id"] = "request_id"
    ) -> None:
        """Let events be encoded at the emitting call, within limits, and leave in another form.

        Only before the first iteration; what is yielded is then what the form makes.
        """
        if self._exit is not None:
            raise RuntimeError("the stream has begun already")
        self._form = form
        self._encoder = encoder
        self._id_field = id_field

    def go_on(self, *, after: int, attempt: int) -> None:
        """Let this be another attempt at a stream of which ``after`` events have left already.

        Numbers go on from there, and the first event is ``restarted``. Only before the first iteration.
        """
        self._sequence = after
        self._first = RestartedEvent(attempt)

    def take_opening(self) -> list[T]:
        """Return the first event by itself, before the agent begins; `wait` starts the agent then.

        Only before the first iteration.
        """
        self._opened = exit_ = self._new_exit()
        exit_.push(self._first or StartedEvent(self._agent_name, self._framework))
        return exit_.take()

    # -- one by one ----------------------------------------------------------------------------

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        while self._next >= len(self._ready):
            if self._ended:
                raise StopAsyncIteration
            self._ready = await self.next_batch()
            self._next = 0
        item = self._ready[self._next]
        self._next += 1
        return item

    # -- all that is ready ---------------------------------------------------------------------

    async def next_batch(self) -> list[T]:
        """Return what is ready, at least one; an empty list after the end or a `nudge`.

        Raises what the agent raised, after everything it emitted has been returned. Cancelling the
        caller stops the agent.
        """
        if self._ended:
            return []
        if self._taking:
            raise RuntimeError("another task is iterating this stream")
        self._taking = True
        try:
            await self.wait()
        except asyncio.CancelledError:
            await self.aclose()
            raise
        finally:
            self._taking = False
        return self.take()

    def wait(self) -> Awaitable[Any]:
        """Start the agent, the first time, and wait until `take` has something or a `nudge` came."""
        exit_ = self._exit or self._start()
        if exit_.closed and self._task is not None and not self._task.done():
            return asyncio.wait((self._task,))
        return exit_.wait()

    @property
    def closing(self) -> bool:
        """Whether the agent emits nothing more: only its end is still to come, or has come."""
        return self._exit is None or self._exit.closed or (self._task is not None and self._task.done())

    def gather(self, seconds: float) -> Awaitable[None]:
        """Wait up to ``seconds`` for more than waits already; less where much comes, or the end."""
        return (self._exit or self._start()).gather(seconds)

    def take(self) -> list[T]:
        """Return what is ready, without waiting; `complete` behind the last of it.

        Raises what the agent raised, after everything it emitted has been returned.
        """
        exit_, task = self._exit, self._task
        if self._ended or exit_ is None or task is None:
            return []
        last: AnyEvent | None = None
        error: BaseException | None = None
        if task.done():
            error = failure_of(task)
            if error is None:
                try:
                    last = exit_.encoded(self._complete(task.result().output))
                except Exception as refused:  # noqa: BLE001 - the check is the caller's: anything may come
                    self._output_refused = True
                    error = refused
        batch = exit_.take(last)
        if last is not None:
            self._ended = True
        elif error is not None and not batch:
            self._ended = True
            raise error
        return batch

    def _start(self) -> Exit:
        exit_ = self._opened or self._new_exit()
        early = self._context.queue.drain()  # what the owner of the context emitted before
        if self._opened is None:
            exit_.push(self._first or StartedEvent(self._agent_name, self._framework))
        for event in early:
            if event.type not in MANDATORY:
                exit_.push(event)
        self._exit = exit_
        self._started_at = time.monotonic()
        self._loop = asyncio.get_running_loop()
        run = self._run
        around = copy_context()
        around.run(set_current_context, self._context)
        self._task = task = self._loop.create_task(
            outcome_of(lambda: run(exit_)), name=f"agent {self._context.run_id}", context=around
        )
        _running.add(task)

        def over(task: asyncio.Task[Outcome]) -> None:  # also of one that is cancelled before it began
            _running.discard(task)
            exit_.close()

        task.add_done_callback(over)
        return exit_

    def _new_exit(self) -> Exit:
        return Exit(
            self._context,
            form=self._form,
            encoder=self._encoder,
            id_field=self._id_field,
            sequence=self._sequence,
            heartbeat=self._beat.ask,
        )

    def _complete(self, output: Any) -> CompleteEvent:
        if self.check_output is not None:
            self.check_output(output)
        return CompleteEvent(output, self.latency_seconds, self._metadata)

    def end_with(self, event: Event) -> list[T]:
        """End a stream that has failed or was cancelled with this terminal event."""
        self._ended = True
        if self._exit is None:
            self._exit = self._opened or self._new_exit()
        return self._exit.take(self._exit.encoded(event))

    def ask_heartbeat(self) -> None:
        """Ask whoever takes the events for a sign of life, now."""
        self._beat.ask()

    def take_heartbeat(self) -> bool:
        """Say whether a sign of life was asked for since the last call, by `ask_heartbeat` or the agent."""
        asked, self._beat.asked = self._beat.asked, False
        return asked

    def nudge(self) -> None:
        """Make a waiting `next_batch` return, with nothing."""
        self._context.queue.nudge()

    @property
    def task(self) -> asyncio.Task[Any] | None:
        """The task that the agent runs in; None before the first iteration."""
        return self._task

    # -- ending --------------------------------------------------------------------------------

    def cancel(self) -> None:
        """Stop the agent without waiting for it; nothing more is yielded."""
        self._ended = True
        self._ready = []
        self.interrupt()

    def interrupt(self) -> None:
        """Stop the agent without waiting for it; what it has emitted may still be taken."""
        task = self._task
        if task is not None and not task.done():
            assert self._exit is not None
            self._exit.cancel()
            task.cancel()

    async def aclose(self) -> None:
        """Stop the agent and return when its task has ended."""
        self.cancel()
        task = self._task
        if task is not None and not task.done():
            await asyncio.wait((task,))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __del__(self) -> None:
        task = getattr(self, "_task", None)
        if task is not None and not task.done() and self._loop is not None and not self._loop.is_closed():
            assert self._exit is not None
            self._loop.call_soon_threadsafe(_abandon, task, self._exit)


def running_agents() -> int:
    """Return how many agents are being executed in this process, in tasks of streams; from any thread."""
    return len(_running)


def _abandon(task: asyncio.Task[Any], exit_: Exit) -> None:
    exit_.cancel()
    task.cancel()


def as_stream(source: AsyncIterator[Any], context: StreamContext, **about: Any) -> EventStream[Any]:
    """Return ``source`` as an `EventStream`: itself, or a bare generator of events and strings wrapped.

    A string is a token. The generator's own started event is left out, its complete event gives the
    output, and an error event raises `AgentFailed`: the life cycle is the stream's.
    """
    if isinstance(source, EventStream):
        return source

    async def run(_: Exit) -> Any:
        output: Any = None
        try:
            async for item in source:
                if isinstance(item, CompleteEvent):
                    output = item.output
                elif isinstance(item, ErrorEvent):
                    raise AgentFailed(item.error, item.code, item.details)
                elif isinstance(item, CancelledEvent):
                    raise AgentCancelled(item.reason or "the adapter's stream was cancelled")
                elif isinstance(item, Event):
                    await context.send(item)
                else:
                    await context.emit_token(item)
        finally:
            close = getattr(source, "aclose", None)
            if close is not None:
                await close()
        return output

    return EventStream(run, context, **about)
