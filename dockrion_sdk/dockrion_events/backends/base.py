"""What carries an event from the emitting call towards the exit of the execution."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from ..events import AnyEvent


@runtime_checkable
class StreamingBackend(Protocol):
    """Takes events from a `StreamContext`, from any thread.

    The context asks its backend first. Where ``emit`` answers False the event takes the context's
    own path instead, so a backend never has to deliver at any price. Events taken from one thread
    leave in the order in which they were taken.
    """

    @property
    def name(self) -> str:
        """A short name for messages, such as ``queue``."""

    def is_available(self) -> bool:
        """Say whether ``emit``, called here and now, would take an event."""

    def emit(self, event: AnyEvent) -> bool:
        """Take the event and return True, or return False and leave it alone.

        Never blocks and never raises. The event is an `Event`, or an `EncodedEvent` where the
        execution is encoded; it must be passed on as the object that it is.
        """
