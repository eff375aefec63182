"""The contexts that executions get whose callers bring none."""

from __future__ import annotations

import uuid

from dockrion_events import EventsFilter, Exit, StreamContext


def stream_context(context: StreamContext | None, events_filter: EventsFilter | None) -> StreamContext:
    """Return the context of a stream: the caller's, or a new one with this filter."""
    if context is None:
        return StreamContext(str(uuid.uuid4()), events_filter=events_filter)
    if events_filter is not None:
        raise TypeError("give a context or an events_filter; a context has a filter of its own")
    return context


def silent_context() -> StreamContext:
    """Return a context for an execution that nobody watches: it takes no event and keeps none."""
    context = StreamContext(str(uuid.uuid4()), events_filter=EventsFilter("minimal"))
    Exit(context).close()
    return context
