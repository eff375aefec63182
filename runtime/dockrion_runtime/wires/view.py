"""A wire's view of events: a class of small hooks, one for each type of event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Generic, TypeVar

from dockrion_events import CustomEvent, EncodedEvent, Event

T = TypeVar("T")


class EventView(Generic[T]):
    """Turns events into what a protocol sends for them.

    A subclass has a method ``handle_<type>`` for each type of event that it shows in a way of its own
    (``handle_custom`` for the agent's own types); it takes the event and returns what is sent. The others
    go to `handle_other`. ``encoded`` is the event that is being handled, as it is in the log.
    """

    encoded: EncodedEvent

    def handle(self, encoded: EncodedEvent) -> Iterable[T]:
        """Return what is sent for an event."""
        self.encoded = encoded
        event = encoded.decode()
        name = "custom" if isinstance(event, CustomEvent) else event.type
        hook: Any = getattr(self, f"handle_{name}", self.handle_other)
        shown: Iterable[T] = hook(event)
        return shown

    def handle_other(self, event: Event) -> Iterable[T]:
        """Return what is sent for an event that has no hook of its own; nothing, unless overridden."""
        del event
        return ()
