"""The heart: an agent's execution under the server's policy.

Picks ``invoke_stream``, or falls back to ``invoke`` and a single ``complete``; adds the time limit,
cancellation, and failures as events. Knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import traceback
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, Literal, NamedTuple, Protocol, TypeAlias, TypeVar

import msgspec

from dockrion_adapters import (
    AgentFailed,
    EventStream,
    InputRefused,
    NoWorkerThreads,
)
from dockrion_events import (
    CancelledEvent,
    ErrorEvent,
    Event,
    EventEncoder,
    EventError,
    EventTooLarge,
    NotSerialisable,
)
from dockrion_events.backends.queue import Waiter
from dockrion_events.forms import Form
from dockrion_events.way_out import message_or_type

from .failures import failure_text
from .model_failures import model_failure

T = TypeVar("T")

log = logging.getLogger("dockrion")

CLOSE_PATIENCE: Final = 5.0
"""Seconds that a cancelled agent gets to end before it is left to itself."""


LONGEST_MESSAGE: Final = 2000
"""Characters of an agent's own message that a client gets."""

ErrorsShown: TypeAlias = Literal["full", "type", "none"]

EndStatus: TypeAlias = Literal["completed", "failed", "cancelled", "released"]
"""How an execution ended: by its terminal event, by its reader's leaving (``cancelled``), or because its
run goes on elsewhere (``released``)."""

_END_STATUS: Final[dict[str, EndStatus]] = {
    "complete": "completed",
    "error": "failed",
    "cancelled": "cancelled",
}


class Watcher(Protocol):
    """Looks on while an execution runs, on its loop, from the moment it is made."""

    def watching(self, form: Form) -> Form:
        """Return a form that does what ``form`` does, and sees the encoded events before they leave."""

    def enter(self) -> None:
        """The calling task is about to start the agent, which will run in a copy of its context."""

    def end(self, status: EndStatus, code: str | None = None) -> None:
        """The execution is over; ``code`` is that of its failure. Called once."""


class OutputInvalid(Exception):
    """The agent's output does not fit ``io_schema.output``."""


class Execution(Generic[T]):
    """One execution, from ``started`` to exactly one terminal event, whatever happens.

    What the agent raises is not raised here: a failure is an ``error`` event, a stop the event that
    `stop` was given. The first cause of an end wins.

    The task that waits first lends the agent its context. With a ``trace_id`` the last event names it.
    """

    __slots__ = (
        "_disclosure",
        "_ended",
        "_kind",
        "_max_seconds",
        "_reported",
        "_stream",
        "_timer",
        "_trace_id",
        "_verdict",
        "_watchers",
    )

    def __init__(
        self,
        stream: EventStream[Any],
        *,
        form: Form,
        encoder: EventEncoder,
        max_seconds: float,
        disclosure: Disclosure,
        id_field: Literal["request_id", "run_id"] = "request_id",
        watchers: Sequence[Watcher] = (),
        trace_id: str | None = None,
    ) -> None:
        for watcher in watchers:
            form = watcher.watching(form)
        stream.leave_as(form, encoder, id_field=id_field)
        if trace_id is not None:
            stream.metadata["trace_id"] = trace_id
        self._watchers = watchers
        self._trace_id = trace_id
        self._reported = False
        self._kind = id_field.removesuffix("_id")
        self._stream = stream
        self._disclosure = disclosure
        self._max_seconds = max_seconds
        self._verdict: Event | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ended = False

    @property
    def id(self) -> str:
        """The request's id, or the run's."""
        return self._stream.context.run_id

    @property
    def label(self) -> str:
        """What this is, for the log."""
        return f"{self._kind} {self.id}"

    @property
    def ended(self) -> bool:
        """Whether the terminal event has been taken."""
        return self._ended

    @property
    def over(self) -> bool:
        """Whether the terminal event was taken and the agent's task has ended: nothing is left to close."""
        task = self._stream.task
        return self._ended and (task is None or task.done())

    def wait(self) -> Awaitable[Any]:
        """Start, the first time, and wait until `take` has something or a `nudge` came."""
        if self._timer is None:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_later(self._max_seconds, self._time_is_up)
            for watcher in self._watchers:
                watcher.enter()
        return self._stream.wait()

    def take_opening(self) -> list[T]:
        """Return the first event by itself, before the agent begins; only before the first `wait`."""
        batch: list[T] = self._stream.take_opening()
        return batch

    @property
    def closing(self) -> bool:
        """Whether the agent emits nothing more: only its end is still to come, or has come."""
        return self._stream.closing

    @property
    def hang(self) -> Callable[[Waiter], None]:
        """A function that lets its argument be told, once, when there is something to `take`."""
        return self._stream.context.queue.hang

    def gather(self, seconds: float) -> Awaitable[None]:
        """Wait up to ``seconds`` for more than waits already; less where much comes, or the end."""
        return self._stream.gather(seconds)

    @property
    def waiting(self) -> Callable[[], int]:
        """A function that says how many events can be taken."""
        return self._stream.context.queue.__len__

    def take(self) -> list[T]:
        """Return what is ready, in the form that was asked for; the terminal event behind it."""
        if self._ended:
            return []
        try:
            batch: list[T] = self._stream.take()
        except BaseException as error:  # noqa: BLE001 - an agent may raise anything; SystemExit too
            return self._end(self._verdict or self._failure(error))
        if self._stream.ended:
            self._ended = True
            self._disarm()
            self.report("completed")
        elif self._verdict is not None:
            batch += self._end(self._verdict)
        return batch

    def stop(self, event: Event) -> None:
        """End the execution with this terminal event, behind what it has emitted until now."""
        if self._verdict is None and not self._ended:
            self._verdict = event
            self._stream.nudge()

    def ask_heartbeat(self) -> None:
        """Make a waiting `wait` return, and `take_heartbeat` answer True."""
        self._stream.ask_heartbeat()

    def take_heartbeat(self) -> bool:
        """Say whether a sign of life is due, by `ask_heartbeat` or the agent's own `emit_heartbeat`."""
        return self._stream.take_heartbeat()

    def nudge(self) -> None:
        """Make a waiting `wait` return."""
        self._stream.nudge()

    def halt(self) -> None:
        """Stop the agent now; what it has emitted, and the event given to `stop`, may still be taken."""
        self._stream.interrupt()

    async def discard(self) -> None:
        """Delete what the execution has stored for nobody but itself; it has ended for good."""
        if self._stream.discard is not None:
            try:
                async with asyncio.timeout(CLOSE_PATIENCE):
                    await self._stream.discard()
            except TimeoutError:
                log.warning("%s: what it has stored could not be deleted in time", self.label)

    async def aclose(self, patience: float = CLOSE_PATIENCE, *, status: EndStatus = "cancelled") -> None:
        """Stop the agent, if it still runs, and wait up to ``patience`` seconds for its end.

        ``status`` is what is reported of one that has no terminal event.
        """
        self._ended = True
        self._disarm()
        self.report(status)
        self._stream.cancel()
        task = self._stream.task
        if task is None or task.done():
            return
        done, _ = await asyncio.wait((task,), timeout=patience)
        if not done:
            log.warning("%s: the agent was cancelled %g s ago and goes on", self.label, patience)

    def _end(self, event: Event) -> list[T]:
        self._ended = True
        self._disarm()
        self._stream.cancel()
        code = event.code if isinstance(event, ErrorEvent) else None
        left = self._stream.end_with(traced(event, self._trace_id))
        self.report(_END_STATUS[event.type], code)
        return left

    def report(self, status: EndStatus, code: str | None = None) -> None:
        """Tell the watchers how it ended; the first report counts."""
        if not self._reported:
            self._reported = True
            for watcher in self._watchers:
                watcher.end(status, code)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def _time_is_up(self) -> None:
        self.stop(ErrorEvent(f"the execution took longer than {self._max_seconds:g} s", "RUN_TIMEOUT"))

    def _failure(self, error: BaseException) -> ErrorEvent:
        return failure_event(
            error,
            output_refused=self._stream.output_refused,
            disclosure=self._disclosure,
            label=self.label,
        )


class Disclosure(NamedTuple):
    """What leaves the server of a failure's text, beside its code and the id of the request or run.

    ``errors`` is ``full`` (type and message, without secrets), ``type`` (the exception's type) or ``none``.
    """

    redact: Callable[[str], str]
    errors: ErrorsShown = "full"

    def of_tool(self, error: BaseException) -> str:
        """Return what clients get of an exception that a tool raised, and that its agent may handle."""
        if self.errors == "full":
            return self.redact(message_or_type(error))[:LONGEST_MESSAGE]
        return type(error).__name__ if self.errors == "type" else "the tool failed"


def failure_event(
    error: BaseException, *, output_refused: bool, disclosure: Disclosure, label: str
) -> ErrorEvent:
    """Return what a client may know of a failure; the log gets the rest, under ``label``."""
    redact = disclosure.redact
    in_log = f"the server's log has the details, under {label}"
    if output_refused:
        code = "OUTPUT_INVALID"
        if isinstance(error, EventTooLarge):
            code = "OUTPUT_TOO_LARGE"
        elif isinstance(error, NotSerialisable):
            code = "NOT_SERIALISABLE"
        log.warning("%s: the output cannot be sent: %s", label, redact(str(error)))
        if disclosure.errors == "full" or isinstance(error, EventError):  # which names no values
            return ErrorEvent(redact(f"the agent's output cannot be sent: {error}"), code)
        return ErrorEvent(f"the agent's output cannot be sent; {in_log}", code)
    if isinstance(error, NoWorkerThreads):
        log.error("%s: %s", label, error)
        return ErrorEvent("the server has no worker thread left", "OVERLOADED")
    if isinstance(error, InputRefused):
        log.info("%s: the agent refused its input: %s", label, redact(str(error)))
        message = redact(str(error))[:LONGEST_MESSAGE]
        return ErrorEvent(message, "INVALID_INPUT", input_errors(error, redact))
    # The traceback is written out here, because a logger would write the secrets in it too.
    trace = "".join(traceback.format_exception(error))
    log.error("%s: the agent failed\n%s", label, redact(trace).rstrip())
    if isinstance(error, AgentFailed):
        text = redact(str(error)) if disclosure.errors == "full" else f"the agent failed; {in_log}"
        return ErrorEvent(text[:LONGEST_MESSAGE], error.code)
    kind = type(error).__name__
    details: dict[str, Any] = {} if disclosure.errors == "none" else {"exception": kind}
    models = model_failure(error)
    if models is not None and models.retry_after is not None:
        details["retry_after"] = models.retry_after
    text = f"{'the agent failed' if disclosure.errors == 'none' else kind}; {in_log}"
    if disclosure.errors == "full":
        text = failure_text(error, redact)[:LONGEST_MESSAGE]
    return ErrorEvent(text, "AGENT_ERROR" if models is None else models.code, details or None)


def input_errors(refused: InputRefused, redact: Callable[[str], str]) -> dict[str, Any]:
    """Return what says for programs which value of the payload was refused."""
    return {"errors": [{"path": refused.path, "message": redact(refused.message)[:LONGEST_MESSAGE]}]}


def traced(event: Event, trace_id: str | None) -> Event:
    """Return an error event whose ``details`` name the trace, and any other event as it is."""
    if trace_id is None or not isinstance(event, ErrorEvent):
        return event
    return msgspec.structs.replace(event, details={**(event.details or {}), "trace_id": trace_id})


def shutdown_event() -> CancelledEvent:
    """Return the end of a stream that outlived the server's grace period."""
    return CancelledEvent("shutdown")
