"""The events of a stream: typed, and told apart by ``type``.

An event's JSON object holds ``type``, the fields of its class, ``timestamp`` (ISO 8601, UTC, of the
emission), the identifier (``request_id`` in a direct stream, ``run_id`` in a run) and ``sequence``.
Optional fields that are not set are left out. ``sequence`` counts from 1 without a hole; it is given
where events leave the execution, so an event that has not left yet has sequence 0, and a heartbeat
or a gap, which belong to a connection and not to the stream, never have one.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, ClassVar, Final, Literal, TypeAlias

import msgspec

from .clock import timestamp_now

CUSTOM_PREFIX: Final = "custom:"
CUSTOM_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]{0,63}")


class Event(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What every event has.

    ``type`` names the event on the wire. ``sequence`` is 0 until the event leaves the execution.
    """

    type: ClassVar[str] = ""

    timestamp: datetime = msgspec.field(default_factory=timestamp_now)
    request_id: str | None = None
    run_id: str | None = None
    sequence: int = 0

    @property
    def chunk(self) -> str | None:
        """The text that this event adds to the answer: a token's; None for every other event."""
        return None


class StartedEvent(Event, tag_field="type", tag="started"):
    """First event of every stream."""

    type: ClassVar[Literal["started"]] = "started"

    agent_name: str
    framework: str | None = None


class TokenEvent(Event, tag_field="type", tag="token"):
    """A piece of generated text, in the order of generation."""

    type: ClassVar[Literal["token"]] = "token"

    content: str
    finish_reason: str | None = None
    node_name: str | None = None
    namespace: list[str] | None = None
    message_id: str | None = None

    @property
    def chunk(self) -> str:
        return self.content


class ReasoningEvent(Event, tag_field="type", tag="reasoning"):
    """A piece of what a model thinks before or between what it says, in the order of generation."""

    type: ClassVar[Literal["reasoning"]] = "reasoning"

    content: str
    message_id: str | None = None


class ContentBlockEvent(Event, tag_field="type", tag="content_block"):
    """A part of what a model says that is neither text nor thought nor a call of the agent's own tools.

    ``kind`` is LangChain's name of it: ``image``, ``audio``, ``video``, ``file``, ``citation``, ``refusal``,
    ``server_tool_call`` and ``server_tool_result`` (of tools that the provider runs), ``redacted_reasoning``,
    or a provider's own name. ``data`` has the block's fields.
    """

    type: ClassVar[Literal["content_block"]] = "content_block"

    kind: str
    data: Any
    message_id: str | None = None


class ToolCallEvent(Event, tag_field="type", tag="tool_call"):
    """A model's call of a tool, whole or a piece of it.

    Whole, it has ``arguments``. In pieces, each has ``arguments_delta``, and those of one ``id``, joined,
    are the JSON text of the arguments; pieces of several calls may alternate.
    """

    type: ClassVar[Literal["tool_call"]] = "tool_call"

    id: str
    name: str
    arguments: dict[str, Any] | None = None
    arguments_delta: str | None = None
    message_id: str | None = None


class ToolResultEvent(Event, tag_field="type", tag="tool_result"):
    """What a tool gave back. ``id`` is its call's; with ``error`` the content says what went wrong.

    ``artifact`` is what it gave for the program, and not for the model.
    """

    type: ClassVar[Literal["tool_result"]] = "tool_result"

    id: str
    name: str
    content: Any
    error: bool = False
    artifact: Any = None


class UsageEvent(Event, tag_field="type", tag="usage"):
    """Tokens that one call of a model took. ``details`` are the model's own, by name."""

    type: ClassVar[Literal["usage"]] = "usage"

    input_tokens: int
    output_tokens: int
    total_tokens: int | None = None
    details: dict[str, Any] | None = None
    message_id: str | None = None


class MessageEvent(Event, tag_field="type", tag="message"):
    """A message begins or ends; what carries its ``id`` as ``message_id`` is in between.

    With ``error`` it ended because its model failed, and is not whole.
    """

    type: ClassVar[Literal["message"]] = "message"

    id: str
    role: str
    phase: Literal["start", "end"]
    node_name: str | None = None
    error: bool = False


class StepStartedEvent(Event, tag_field="type", tag="step_started"):
    """A node that begins. ``namespace`` is the path of subgraphs it runs in."""

    type: ClassVar[Literal["step_started"]] = "step_started"

    node_name: str
    namespace: list[str] | None = None


class StepEvent(Event, tag_field="type", tag="step"):
    """A node that has finished. ``namespace`` is the path of subgraphs it ran in."""

    type: ClassVar[Literal["step"]] = "step"

    node_name: str
    duration_ms: float | None = None
    input_keys: list[str] | None = None
    output_keys: list[str] | None = None
    namespace: list[str] | None = None


class ProgressEvent(Event, tag_field="type", tag="progress"):
    """How far a piece of work is, from 0.0 to 1.0."""

    type: ClassVar[Literal["progress"]] = "progress"

    step: str
    progress: float
    message: str | None = None


class CheckpointEvent(Event, tag_field="type", tag="checkpoint"):
    """A named intermediate result."""

    type: ClassVar[Literal["checkpoint"]] = "checkpoint"

    name: str
    data: Any


class HeartbeatEvent(Event, tag_field="type", tag="heartbeat"):
    """A sign of life on one connection; has no sequence."""

    type: ClassVar[Literal["heartbeat"]] = "heartbeat"


class CustomEvent(Event):
    """An event of the agent's own; on the wire its type is ``custom:<name>``."""

    if TYPE_CHECKING:  # see `StreamEvent`
        type: Literal["custom"]  # type: ignore[misc]
        data: Any

        def __init__(
            self,
            type: str,  # noqa: A002 - it is the name of the field
            data: Any,
            *,
            timestamp: datetime = ...,
            request_id: str | None = None,
            run_id: str | None = None,
            sequence: int = 0,
        ) -> None: ...
    else:
        type: str  # the one event whose type differs from object to object
        data: Any

    @property
    def name(self) -> str:
        """The name without its prefix."""
        return self.type[len(CUSTOM_PREFIX) :]


class CompleteEvent(Event, tag_field="type", tag="complete"):
    """Terminal: the agent returned. ``latency_seconds`` is measured on a monotonic clock."""

    type: ClassVar[Literal["complete"]] = "complete"

    output: Any
    latency_seconds: float
    metadata: dict[str, Any]


class ErrorEvent(Event, tag_field="type", tag="error"):
    """Terminal: the execution failed.

    ``code`` is ``AGENT_ERROR`` where the agent itself raised, or says what a model refused, such as
    ``MODEL_RATE_LIMITED``.
    """

    type: ClassVar[Literal["error"]] = "error"

    error: str
    code: str
    details: Any = None


class CancelledEvent(Event, tag_field="type", tag="cancelled"):
    """Terminal: the execution was stopped before it ended by itself."""

    type: ClassVar[Literal["cancelled"]] = "cancelled"

    reason: str | None = None


class RestartedEvent(Event, tag_field="type", tag="restarted"):
    """The run is executed again, or resumed, by another executor; ``attempt`` counts from 2."""

    type: ClassVar[Literal["restarted"]] = "restarted"

    attempt: int


class GapEvent(Event, tag_field="type", tag="gap"):
    """Events are missing here: from ``requested`` up to ``first_available``, which is the next to come.

    Made for one reader; has no sequence.
    """

    type: ClassVar[Literal["gap"]] = "gap"

    requested: int
    first_available: int


class UnknownEvent(Event):
    """An event of a type that this version does not know; ``fields`` holds what it carried."""

    if TYPE_CHECKING:  # see `StreamEvent`
        type: Literal["unknown"]  # type: ignore[misc]
        fields: dict[str, Any]
    else:
        type: str  # whatever the sender called it
        fields: dict[str, Any]


StreamEvent: TypeAlias = (
    StartedEvent
    | TokenEvent
    | ReasoningEvent
    | ContentBlockEvent
    | ToolCallEvent
    | ToolResultEvent
    | UsageEvent
    | MessageEvent
    | StepStartedEvent
    | StepEvent
    | ProgressEvent
    | CheckpointEvent
    | HeartbeatEvent
    | CompleteEvent
    | ErrorEvent
    | CancelledEvent
    | RestartedEvent
    | GapEvent
    | CustomEvent
    | UnknownEvent
)
"""What streams yield. For type checkers ``event.type == "token"`` leaves `TokenEvent` alone.

For this every class has one type there, but the types of `CustomEvent` and `UnknownEvent` are any text: tell
these by ``isinstance``, and an event of the agent's own by its ``name``.
"""


class EncodedEvent(msgspec.Struct, gc=False):
    """An event that is JSON already.

    Until it leaves the execution, ``sequence`` is 0 and ``json`` its object without the closing brace;
    the exit adds identifier and sequence once, and from then on the bytes never change. An event that
    belongs to one reader only (``gap``) is complete and has the sequence None.
    """

    type: str
    json: bytes
    sequence: int | None = 0

    def decode(self) -> StreamEvent:
        """Return the event as an object; a new one on each call."""
        return decode_event(self.json + b"}" if self.sequence == 0 else self.json)


AnyEvent: TypeAlias = Event | EncodedEvent

MANDATORY: Final = frozenset({"started", "complete", "error", "cancelled", "restarted", "gap"})
TERMINAL: Final = frozenset({"complete", "error", "cancelled"})
CONFIGURABLE: Final = (
    "token", "step", "progress", "checkpoint", "reasoning", "content_block", "tool_call", "tool_result",
    "usage", "message", "step_started", "heartbeat", "custom",
)  # fmt: skip

EVENT_CLASSES: Final[dict[str, type[StreamEvent]]] = {
    cls.type: cls
    for cls in (
        StartedEvent,
        TokenEvent,
        StepEvent,
        ProgressEvent,
        CheckpointEvent,
        ReasoningEvent,
        ContentBlockEvent,
        ToolCallEvent,
        ToolResultEvent,
        UsageEvent,
        MessageEvent,
        StepStartedEvent,
        HeartbeatEvent,
        CompleteEvent,
        ErrorEvent,
        CancelledEvent,
        RestartedEvent,
        GapEvent,
    )
}


class _TypeOnly(msgspec.Struct):
    type: str


_read_type = msgspec.json.Decoder(_TypeOnly).decode
_decoders: dict[str, msgspec.json.Decoder[StreamEvent]] = {
    name: msgspec.json.Decoder(cls) for name, cls in EVENT_CLASSES.items()
}
_custom_decoder = msgspec.json.Decoder(CustomEvent)
_ENVELOPE = frozenset(Event.__struct_fields__)


def decode_event(data: bytes | str) -> StreamEvent:
    """Return the event that the JSON object ``data`` holds.

    A type that this version does not know becomes an `UnknownEvent`. Raises
    ``msgspec.DecodeError`` (``msgspec.ValidationError`` for a field of the wrong type) where
    ``data`` is no event at all.
    """
    name = _read_type(data).type
    decoder = _decoders.get(name)
    if decoder is not None:
        return decoder.decode(data)
    if name.startswith(CUSTOM_PREFIX):
        return _custom_decoder.decode(data)
    fields = msgspec.json.decode(data)
    envelope = {key: fields.pop(key) for key in _ENVELOPE & fields.keys()}
    fields.pop("type")
    return msgspec.convert({**envelope, "type": name, "fields": fields}, UnknownEvent)
