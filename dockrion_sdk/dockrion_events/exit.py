"""The exit: the single point where the events of an execution leave, in order and numbered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Literal, cast

from .context import StreamContext
from .encoding import EventEncoder
from .errors import StreamClosed
from .events import AnyEvent, EncodedEvent, Event
from .forms import Form, as_encoded, as_objects, envelope


class Exit:
    """What a runtime holds of an execution; the other end of the `StreamContext` in the agent.

    Making it puts the context into the runtime's hands: the life cycle becomes the runtime's, and
    with an ``encoder`` every emit call encodes its event there and then. Events get their number and
    their identifier here and nowhere else, so a hole in the numbers always means a loss.

    ``form`` says how events leave (`dockrion_events.forms`): by default as the objects they are, or as
    `EncodedEvent` where there is an encoder. ``sequence`` is the number of the last event of a stream
    that goes on here; 0 for a new one.

    Made on the event loop where one task takes batches; `push`, `cancel` and `close` may be called from
    anywhere on that loop.
    """

    __slots__ = ("_encoder", "_envelope", "_form", "_queue", "_sequence", "context")

    def __init__(
        self,
        context: StreamContext,
        *,
        form: Form | None = None,
        encoder: EventEncoder | None = None,
        id_field: Literal["request_id", "run_id"] = "request_id",
        sequence: int = 0,
        heartbeat: Callable[[], None] | None = None,
    ) -> None:
        if context._streamed:
            raise RuntimeError("the context belongs to another stream already; use one context for each")
        if context._halted:
            raise StreamClosed(f"the stream of {context.run_id} has ended; a new one needs a new context")
        context._managed = context._streamed = True
        context._in_run = id_field == "run_id"
        if encoder is not None:
            encoder = encoder.telling(context.queue.weigh)
            context._encoder = encoder
            context._token = encoder.encode_token
        context._heartbeat = heartbeat
        self.context: StreamContext = context
        self._form = form or (as_objects if encoder is None else as_encoded)
        self._encoder = encoder
        self._queue = context.queue
        self._queue.attach()
        self._envelope = envelope(id_field, context.run_id)
        self._sequence = sequence

    @property
    def sequence(self) -> int:
        """The number of the last event that left."""
        return self._sequence

    def push(self, event: AnyEvent) -> None:
        """Queue an event of the runtime's own (an adapter's token, say) behind what waits.

        Raises like an emit call where the event cannot be encoded.
        """
        self._queue.emit(self.encoded(event))

    def encoded(self, event: AnyEvent) -> AnyEvent:
        """Return the event as this exit's form wants it. Raises where it cannot be encoded."""
        encoder = self._encoder
        if encoder is None or type(event) is EncodedEvent:
            return event
        return encoder.encode(cast("Event", event))

    def wait(self) -> Awaitable[None]:
        """Wait until something can be taken, the execution is over, or `nudge` was called."""
        return self._queue.wait()

    def gather(self, seconds: float) -> Awaitable[None]:
        """Wait up to ``seconds`` for more than waits already; see `QueueBackend.gather`."""
        return self._queue.gather(seconds)

    def take(self, last: AnyEvent | None = None) -> list[Any]:
        """Take what waits, numbered and in this exit's form; ``last``, an encoded event, behind it."""
        items = self._queue.drain()
        if last is not None:
            items.append(last)
        if not items:
            return []
        left = self._form(items, self._envelope, self._sequence)
        self._sequence += len(items)
        return left

    async def next_batch(self) -> list[Any]:
        """Wait and take; the list is empty when the execution is over or `nudge` was called."""
        await self._queue.wait()
        return self.take()

    @property
    def closed(self) -> bool:
        """Whether the execution is over: what can be taken now is all there will be."""
        return self._queue.closed

    def nudge(self) -> None:
        """Make a waiting `wait` return."""
        self._queue.nudge()

    def close(self) -> None:
        """The execution is over: what waits may leave, what comes later is discarded."""
        self.context._halted = True
        self._queue.close()

    def cancel(self) -> None:
        """Tell the agent's code that it is cancelled; its next emit raises."""
        self.context.cancel()
