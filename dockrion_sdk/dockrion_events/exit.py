"""The exit: the single point where the events of an execution leave, in order and numbered."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, cast

from .context import StreamContext
from .encoding import EventEncoder, envelope
from .events import AnyEvent, EncodedEvent, Event


class Exit:
    """What a runtime holds of an execution; the other end of the `StreamContext` in the agent.

    Making it puts the context into the runtime's hands: the life cycle becomes the runtime's, and
    with an ``encoder`` every emit call encodes its event there and then. Events get their number and
    their identifier here and nowhere else, so a hole in the numbers always means a loss.

    Made on the event loop where one task takes batches; `push`, `cancel` and `close` may be called from
    anywhere on that loop.
    """

    def __init__(
        self,
        context: StreamContext,
        *,
        encoder: EventEncoder | None = None,
        id_field: Literal["request_id", "run_id"] = "request_id",
        heartbeat: Callable[[], None] | None = None,
    ) -> None:
        if context._streamed:
            raise RuntimeError("the context belongs to another stream already; use one context for each")
        context._managed = context._streamed = True
        context._encoder = encoder
        context._heartbeat = heartbeat
        self.context = context
        self._encoder = encoder
        self._queue = context.queue
        self._queue.attach()
        self._id_field = id_field
        self._tail = envelope(id_field, context.run_id)
        self._sequence = 0

    @property
    def sequence(self) -> int:
        """The number of the last event that left."""
        return self._sequence

    def push(self, event: AnyEvent) -> None:
        """Queue an event of the runtime's own (an adapter's token, say) behind what waits.

        Raises like an emit call where the event cannot be encoded.
        """
        encoder = self._encoder
        if encoder is not None and type(event) is not EncodedEvent:
            event = encoder.encode(cast("Event", event))
        self._queue.emit(event)

    def number(self, items: list[AnyEvent]) -> list[AnyEvent]:
        """Give the events their identifier and the next numbers, in place."""
        sequence = self._sequence
        tail = self._tail
        for item in items:
            sequence += 1
            item.sequence = sequence
            if type(item) is EncodedEvent:
                item.json = b"%b%b%d}" % (item.json, tail, sequence)
            else:
                setattr(item, self._id_field, self.context.run_id)
        self._sequence = sequence
        return items

    def last(self, event: Event) -> AnyEvent:
        """Number an event that leaves behind everything else: the terminal one."""
        encoder = self._encoder
        return self.number([event if encoder is None else encoder.encode(event)])[0]

    async def next_batch(self) -> list[AnyEvent]:
        """Return what waits, numbered; wait where nothing does.

        The list is empty when the queue was closed and is drained, or when `nudge` was called.
        """
        queue = self._queue
        if not len(queue):
            await queue.wait()
        return self.number(queue.drain())

    @property
    def drained(self) -> bool:
        """Whether the execution is over and everything has left."""
        return self._queue.closed and not len(self._queue)

    def nudge(self) -> None:
        """Make a waiting `next_batch` return, with nothing."""
        self._queue.nudge()

    def close(self) -> None:
        """The execution is over: what waits may leave, what comes later is discarded."""
        self.context._ended = True
        self._queue.close()

    def cancel(self) -> None:
        """Tell the agent's code that it is cancelled; its next emit raises."""
        self.context.cancel()
