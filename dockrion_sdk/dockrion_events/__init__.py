"""What agent code imports: events, filters, the stream context and streaming backends.

Light on purpose: it is imported inside users' agents, brings no framework, and leaves asyncio to
the first execution.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .backends import StreamingBackend
from .context import StreamContext
from .current import context_scope, get_current_context, set_current_context
from .encoding import MAX_EVENT_BYTES, EventEncoder, encode_json, sse_comment, sse_frame
from .errors import (
    BackendUnavailable,
    BusError,
    DockrionError,
    DockrionWarning,
    EventError,
    EventTooLarge,
    InvalidEvent,
    InvalidFilter,
    LogLost,
    NotSerialisable,
    QueueFull,
    QuotaExceeded,
    RunCancelled,
    RunEnded,
    RunExists,
    RunNotFound,
    RunUnreadable,
    StoreFull,
    StreamClosed,
    Superseded,
)
from .events import (
    CONFIGURABLE,
    EVENT_CLASSES,
    MANDATORY,
    TERMINAL,
    AnyEvent,
    CancelledEvent,
    CheckpointEvent,
    CompleteEvent,
    ContentBlockEvent,
    CustomEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    GapEvent,
    HeartbeatEvent,
    MessageEvent,
    ProgressEvent,
    ReasoningEvent,
    RestartedEvent,
    StartedEvent,
    StepEvent,
    StepStartedEvent,
    StreamEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UnknownEvent,
    UsageEvent,
    decode_event,
)
from .exit import Exit
from .filter import PRESETS, EventsFilter
from .forms import as_encoded, as_objects, as_sse, as_text

if TYPE_CHECKING:
    from .backends.queue import QueueBackend
    from .bus import EventBus

__all__ = [
    "CONFIGURABLE",
    "EVENT_CLASSES",
    "MANDATORY",
    "MAX_EVENT_BYTES",
    "PRESETS",
    "TERMINAL",
    "AnyEvent",
    "BackendUnavailable",
    "BusError",
    "CancelledEvent",
    "CheckpointEvent",
    "CompleteEvent",
    "ContentBlockEvent",
    "CustomEvent",
    "DockrionError",
    "DockrionWarning",
    "EncodedEvent",
    "ErrorEvent",
    "Event",
    "EventBus",
    "EventEncoder",
    "EventError",
    "EventTooLarge",
    "EventsFilter",
    "Exit",
    "GapEvent",
    "HeartbeatEvent",
    "InvalidEvent",
    "InvalidFilter",
    "LogLost",
    "MessageEvent",
    "NotSerialisable",
    "ProgressEvent",
    "QueueBackend",
    "QueueFull",
    "QuotaExceeded",
    "ReasoningEvent",
    "RestartedEvent",
    "RunCancelled",
    "RunEnded",
    "RunExists",
    "RunNotFound",
    "RunUnreadable",
    "StartedEvent",
    "StepEvent",
    "StepStartedEvent",
    "StoreFull",
    "StreamClosed",
    "StreamContext",
    "StreamEvent",
    "StreamingBackend",
    "Superseded",
    "TokenEvent",
    "ToolCallEvent",
    "ToolResultEvent",
    "UnknownEvent",
    "UsageEvent",
    "as_encoded",
    "as_objects",
    "as_sse",
    "as_text",
    "context_scope",
    "decode_event",
    "encode_json",
    "get_current_context",
    "set_current_context",
    "sse_comment",
    "sse_frame",
]


def __getattr__(name: str) -> Any:
    # These bring in asyncio, and with them imported above every agent would.
    if name == "QueueBackend":
        from .backends.queue import QueueBackend

        return QueueBackend
    if name == "EventBus":
        from .bus import EventBus

        return EventBus
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
