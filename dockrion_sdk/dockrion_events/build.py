"""From the arguments of an emit call to an event, or to one clear error."""

from __future__ import annotations

import functools
import inspect
import math
import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, Literal

import msgspec

from .errors import InvalidEvent
from .events import (
    CUSTOM_NAME,
    CUSTOM_PREFIX,
    MANDATORY,
    CheckpointEvent,
    ContentBlockEvent,
    CustomEvent,
    Event,
    MessageEvent,
    ProgressEvent,
    ReasoningEvent,
    StepEvent,
    StepStartedEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
)


def token_event(content: Any, finish_reason: str | None = None) -> TokenEvent:
    """Content that is no string is shown as ``str`` shows it."""
    return TokenEvent(
        content if type(content) is str else str(content),
        _text(finish_reason),
    )


def step_event(
    node_name: str,
    duration_ms: float | None = None,
    input_keys: Iterable[str] | None = None,
    output_keys: Iterable[str] | None = None,
) -> StepEvent:
    return StepEvent(
        str(node_name),
        None if duration_ms is None else _number("step", "duration_ms", duration_ms),
        _names("input_keys", input_keys),
        _names("output_keys", output_keys),
    )


def progress_event(step: str, progress: float, message: str | None = None) -> ProgressEvent:
    """Progress outside 0.0-1.0 is clamped; NaN counts as 0.0."""
    return ProgressEvent(str(step), _clamped(progress), _text(message))


def checkpoint_event(name: str, data: Any = None) -> CheckpointEvent:
    return CheckpointEvent(str(name), data)


def reasoning_event(content: Any, message_id: str | None = None) -> ReasoningEvent:
    """Content that is no string is shown as ``str`` shows it."""
    return ReasoningEvent(str(content), _text(message_id))


def content_block_event(kind: str, data: Any = None, message_id: str | None = None) -> ContentBlockEvent:
    return ContentBlockEvent(str(kind), data, _text(message_id))


def tool_call_event(
    id: str,  # noqa: A002 - the field's name
    name: str,
    arguments: Mapping[str, Any] | None = None,
    arguments_delta: str | None = None,
    message_id: str | None = None,
) -> ToolCallEvent:
    """A call with neither ``arguments`` nor ``arguments_delta`` is whole, and has no arguments."""
    if arguments_delta is not None:
        _refuse_both(arguments)
        return ToolCallEvent(str(id), str(name), None, str(arguments_delta), _text(message_id))
    given = {} if arguments is None else _mapping("tool_call", "arguments", arguments)
    return ToolCallEvent(str(id), str(name), given, None, _text(message_id))


def tool_result_event(
    id: str,  # noqa: A002 - the field's name
    name: str,
    content: Any,
    error: bool = False,
    artifact: Any = None,
) -> ToolResultEvent:
    if error is not True and error is not False:
        raise InvalidEvent(
            f"tool_result event: error is True or False, not {error!r}; what it was is content"
        )
    return ToolResultEvent(str(id), str(name), content, error, artifact)


def usage_event(
    input_tokens: int,
    output_tokens: int,
    total_tokens: int | None = None,
    details: Mapping[str, Any] | None = None,
    message_id: str | None = None,
) -> UsageEvent:
    return UsageEvent(
        _count("input_tokens", input_tokens),
        _count("output_tokens", output_tokens),
        None if total_tokens is None else _count("total_tokens", total_tokens),
        None if details is None else _mapping("usage", "details", details),
        _text(message_id),
    )


def message_event(
    id: str,  # noqa: A002 - the field's name
    role: str,
    phase: Literal["start", "end"],
    node_name: str | None = None,
    error: bool = False,
) -> MessageEvent:
    if phase not in ("start", "end"):
        raise InvalidEvent(f"message event: phase is 'start' or 'end', not {phase!r}")
    if error is not True and error is not False:
        raise InvalidEvent(f"message event: error is True or False, not {error!r}")
    return MessageEvent(str(id), str(role), phase, _text(node_name), error)


def step_started_event(node_name: str) -> StepStartedEvent:
    return StepStartedEvent(str(node_name))


BUILDERS: Final[dict[str, Callable[..., Event]]] = {
    "token": token_event,
    "step": step_event,
    "progress": progress_event,
    "checkpoint": checkpoint_event,
    "reasoning": reasoning_event,
    "content_block": content_block_event,
    "tool_call": tool_call_event,
    "tool_result": tool_result_event,
    "usage": usage_event,
    "message": message_event,
    "step_started": step_started_event,
}


def canonical_type(event_type: str) -> str:
    """Return the type that ``emit(event_type)`` means: a built-in one, or ``custom:<name>``.

    Raises `InvalidEvent` for a name that only the runtime may emit or that is malformed.
    """
    if type(event_type) is not str:
        if not isinstance(event_type, str):
            raise InvalidEvent(f"an event is named by a string, not by a {type(event_type).__name__}")
        event_type = str.__str__(event_type)  # an enum's member would be formatted by its own name
    return _canonical_type(event_type)


@functools.lru_cache(maxsize=1024)
def _canonical_type(event_type: str) -> str:
    if event_type in BUILDERS:
        return event_type
    if event_type in MANDATORY:
        raise InvalidEvent(
            f"{event_type!r} is emitted by the runtime; an agent may emit {', '.join(BUILDERS)} "
            "and events of its own names"
        )
    if event_type in ("heartbeat", "custom"):
        what = "call emit_heartbeat()" if event_type == "heartbeat" else "a custom event needs a name"
        raise InvalidEvent(f"emit({event_type!r}): {what}")
    if not CUSTOM_NAME.fullmatch(event_type.removeprefix(CUSTOM_PREFIX)):
        raise InvalidEvent(
            f"invalid event name {event_type!r}: a custom event's name has up to 64 letters, digits, "
            "'_', '.' or '-' and begins with a letter or '_'"
        )
    return event_type if event_type.startswith(CUSTOM_PREFIX) else CUSTOM_PREFIX + event_type


def named_event(event_type: str, data: Any, fields: Mapping[str, Any]) -> Event:
    """Build the event of a canonical type from the arguments of ``emit``.

    ``fields`` are laid over ``data``, which then has to be a mapping. Raises `InvalidEvent`.
    """
    builder = BUILDERS.get(event_type)
    if builder is None and not fields:
        return CustomEvent(event_type, {} if data is None else data)
    if event_type == "checkpoint" and "name" in fields:  # data is then what it is called: the field
        data = {"data": data}
    if data is not None and not isinstance(data, Mapping):
        raise InvalidEvent(
            f"emit({event_type!r}): data has to be a mapping of fields, not a {type(data).__name__}"
        )
    arguments = {**(data or {}), **fields}
    if builder is None:
        return CustomEvent(event_type, arguments)
    try:
        inspect.signature(builder).bind(**arguments)
    except TypeError as error:
        valid = ", ".join(inspect.signature(builder).parameters)
        raise InvalidEvent(f"emit({event_type!r}): {error}; its fields are {valid}") from None
    return builder(**arguments)


def sent_event(event: Event) -> Event:
    """Return a copy of an event object that the agent made, without the envelope of another stream.

    A copy, because one object may be sent twice and every event has a number of its own. Raises
    `InvalidEvent` for a field that no reader could decode.
    """
    fields = {**msgspec.structs.asdict(event), "sequence": 0, "request_id": None, "run_id": None}
    if type(event) is TokenEvent:
        fields["content"] = str(event.content)
    elif type(event) is ProgressEvent:
        fields["progress"] = _clamped(event.progress)
    elif type(event) is ToolCallEvent:
        if event.arguments_delta is not None:
            _refuse_both(event.arguments)
        elif event.arguments is None:
            fields["arguments"] = {}
    try:
        return msgspec.convert(fields, type(event))
    except msgspec.ValidationError as error:
        raise InvalidEvent(f"{event.type} event: {error}") from None


def check_custom_type(event_type: str) -> None:
    """Raise `InvalidEvent` where ``event_type`` is not ``custom:`` and a valid name."""
    if not event_type.startswith(CUSTOM_PREFIX):
        raise InvalidEvent(f"the type of a custom event is 'custom:<name>', not {event_type!r}")
    canonical_type(event_type)


def _clamped(progress: Any) -> float:
    value = _number("progress", "progress", progress)
    return min(value, 1.0) if value > 0.0 else 0.0


def _number(event: str, field: str, value: Any) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf
    except (TypeError, ValueError):
        raise InvalidEvent(f"{event} event: {field} has to be a number, not {value!r}") from None


def _count(field: str, value: Any) -> int:
    try:
        count = operator.index(value)
    except TypeError:
        count = -1
    if count < 0:
        raise InvalidEvent(f"usage event: {field} has to be a number of tokens, not {value!r}")
    return count


def _mapping(event: str, field: str, value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        hint = "; JSON text goes into arguments_delta" if field == "arguments" else ""
        raise InvalidEvent(f"{event} event: {field} has to be a mapping, not a {type(value).__name__}{hint}")
    return dict(value)


def _refuse_both(arguments: Any) -> None:
    if arguments is not None:
        raise InvalidEvent(
            "tool_call event: either arguments, the whole of them, or arguments_delta, a piece of their JSON"
        )


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _names(field: str, value: Iterable[str] | None) -> list[str] | None:
    if value is None:
        return None
    if isinstance(value, str) or not isinstance(value, Iterable):
        kind = "string" if isinstance(value, str) else type(value).__name__
        raise InvalidEvent(f"step event: {field} has to be a list of names, not the {kind} {value!r}")
    return [str(name) for name in value]
