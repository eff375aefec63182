"""Every emitting call, as an agent writes it, and the event it becomes."""

from __future__ import annotations

import asyncio
import enum
import inspect
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import msgspec
import pytest

from dockrion_events import (
    CustomEvent,
    DockrionWarning,
    Event,
    EventsFilter,
    Exit,
    HeartbeatEvent,
    InvalidEvent,
    ProgressEvent,
    ReasoningEvent,
    RunCancelled,
    StartedEvent,
    StepEvent,
    StreamClosed,
    StreamContext,
    TokenEvent,
    ToolCallEvent,
    UnknownEvent,
    decode_event,
)
from dockrion_events.encoding import EventEncoder

Call = Callable[[StreamContext], Any]


def events_of(context: StreamContext) -> list[dict[str, Any]]:
    """Drain ``context``; each event as the fields that are set, without its envelope."""
    shown = []
    for event in context.drain_queued_events():
        fields = {k: v for k, v in msgspec.structs.asdict(event).items() if v is not None}
        for name in ("timestamp", "run_id", "request_id", "sequence"):
            fields.pop(name, None)
        shown.append({"type": event.type, **fields})
    return shown


TOKEN = {"type": "token", "content": "Hello"}
STEP = {"type": "step", "node_name": "my_node", "duration_ms": 150.0}
STEP_ALL = {**STEP, "input_keys": ["a"], "output_keys": ["b", "c"]}
PROGRESS = {"type": "progress", "step": "loading", "progress": 0.2}
CHECKPOINT = {"type": "checkpoint", "name": "parsed", "data": {"fields": 15}}
TOOL_CALL = {"type": "tool_call", "id": "1", "name": "add", "arguments": {"a": 2}}
TOOL_CALL_PIECE = {
    "type": "tool_call", "id": "1", "name": "add", "arguments_delta": '{"a"', "message_id": "m"
}  # fmt: skip
TOOL_RESULT = {"type": "tool_result", "id": "1", "name": "add", "content": 5, "error": False}
USAGE = {"type": "usage", "input_tokens": 7, "output_tokens": 3}
MESSAGE = {"type": "message", "id": "m", "role": "assistant", "phase": "start", "error": False}
MESSAGE_FAILED = {**MESSAGE, "phase": "end", "error": True}
IMAGE = {"type": "content_block", "kind": "image", "data": {"url": "u"}, "message_id": "m"}
STEP_STARTED = {"type": "step_started", "node_name": "my_node"}
FRAUD = {"type": "custom:fraud_check", "data": {"passed": True, "score": 0.02}}


class Name(enum.StrEnum):
    FRAUD = "fraud_check"


class OldName(str, enum.Enum):  # noqa: UP042 - the older spelling, whose format() shows the member
    FRAUD = "custom:fraud_check"


# name of the asynchronous method, its synchronous twin, arguments, the event
CALLS: list[tuple[str, tuple[Any, ...], dict[str, Any], dict[str, Any]]] = [
    ("emit_token", ("Hello",), {}, TOKEN),
    ("emit_token", (), {"content": "Hello"}, TOKEN),
    ("emit_token", ("Hello", "stop"), {}, {**TOKEN, "finish_reason": "stop"}),
    ("emit_token", ("Hello",), {"finish_reason": "stop"}, {**TOKEN, "finish_reason": "stop"}),
    ("emit_token", ("",), {}, {"type": "token", "content": ""}),
    ("emit_token", (5,), {}, {"type": "token", "content": "5"}),
    ("emit_token", (None,), {}, {"type": "token", "content": "None"}),
    ("emit_token", (["a"],), {}, {"type": "token", "content": "['a']"}),
    ("emit_token", ("Hello", 5), {}, {**TOKEN, "finish_reason": "5"}),
    ("emit_step", ("my_node", 150), {}, STEP),
    ("emit_step", ("my_node",), {"duration_ms": 150}, STEP),
    ("emit_step", ("my_node",), {}, {"type": "step", "node_name": "my_node"}),
    ("emit_step", ("my_node", 150, ["a"], ["b", "c"]), {}, STEP_ALL),
    ("emit_step", ("my_node",), {"duration_ms": 150, "input_keys": ("a",), "output_keys": {"b": 1, "c": 2}},
     STEP_ALL),
    ("emit_progress", ("loading", 0.2), {}, PROGRESS),
    ("emit_progress", (), {"step": "loading", "progress": 0.2}, PROGRESS),
    ("emit_progress", ("loading", 0.2, "…"), {}, {**PROGRESS, "message": "…"}),
    ("emit_progress", (), {"step": "loading", "progress": 0.2, "message": "…"}, {**PROGRESS, "message": "…"}),
    ("checkpoint", ("parsed", {"fields": 15}), {}, CHECKPOINT),
    ("checkpoint", (), {"name": "parsed", "data": {"fields": 15}}, CHECKPOINT),
    ("emit", ("fraud_check", {"passed": True, "score": 0.02}), {}, FRAUD),
    ("emit", ("custom:fraud_check", {"passed": True, "score": 0.02}), {}, FRAUD),
    ("emit", ("fraud_check",), {"passed": True, "score": 0.02}, FRAUD),
    ("emit", ("custom:fraud_check",), {"passed": True, "score": 0.02}, FRAUD),
    ("emit", ("fraud_check", {"passed": True}), {"score": 0.02}, FRAUD),
    ("emit", ("fraud_check", {"passed": False, "score": 0.02}), {"passed": True}, FRAUD),
    ("emit", (), {"event_type": "fraud_check", "data": {"passed": True, "score": 0.02}}, FRAUD),
    ("emit", (Name.FRAUD, {"passed": True, "score": 0.02}), {}, FRAUD),
    ("emit", (OldName.FRAUD, {"passed": True, "score": 0.02}), {}, FRAUD),
    ("emit", ("custom:analysis_started",), {"document_id": "doc_123"},
     {"type": "custom:analysis_started", "data": {"document_id": "doc_123"}}),
    ("emit", ("ping",), {}, {"type": "custom:ping", "data": {}}),
    ("emit", ("ping", [1, 2]), {}, {"type": "custom:ping", "data": [1, 2]}),
    ("emit", ("ping", 0), {}, {"type": "custom:ping", "data": 0}),
    ("emit", ("ping", ""), {}, {"type": "custom:ping", "data": ""}),
    ("emit", ("_a.b-C9",), {}, {"type": "custom:_a.b-C9", "data": {}}),
    ("emit", ("x" * 64,), {}, {"type": "custom:" + "x" * 64, "data": {}}),
    ("emit", ("custom:" + "x" * 64,), {}, {"type": "custom:" + "x" * 64, "data": {}}),
    ("emit", ("custom:token",), {"content": "x"}, {"type": "custom:token", "data": {"content": "x"}}),
    ("emit", ("token", {"content": "Hello"}), {}, TOKEN),
    ("emit", ("token",), {"content": "Hello", "finish_reason": "stop"}, {**TOKEN, "finish_reason": "stop"}),
    ("emit", ("token",), {"content": 5}, {"type": "token", "content": "5"}),
    ("emit", ("step", {"node_name": "my_node"}), {"duration_ms": 150}, STEP),
    ("emit", ("progress", {"step": "loading", "progress": 0.2}), {}, PROGRESS),
    ("emit", ("progress",), {"step": "loading", "progress": 7}, {**PROGRESS, "progress": 1.0}),
    ("emit", ("checkpoint", {"name": "parsed", "data": {"fields": 15}}), {}, CHECKPOINT),
    ("emit", ("checkpoint",), {"name": "parsed", "data": {"fields": 15}}, CHECKPOINT),
    ("emit", ("checkpoint", [1]), {"name": "parsed"}, {**CHECKPOINT, "data": [1]}),
    ("emit_reasoning", ("hm",), {}, {"type": "reasoning", "content": "hm"}),
    ("emit_reasoning", (5, 6), {}, {"type": "reasoning", "content": "5", "message_id": "6"}),
    ("emit", ("reasoning",), {"content": "hm", "message_id": "m"},
     {"type": "reasoning", "content": "hm", "message_id": "m"}),
    ("emit_tool_call", ("1", "add", {"a": 2}), {}, TOOL_CALL),
    ("emit_tool_call", ("1", "add"), {"arguments": MappingProxyType({"a": 2})}, TOOL_CALL),
    ("emit_tool_call", ("1", "now"), {}, {"type": "tool_call", "id": "1", "name": "now", "arguments": {}}),
    ("emit_tool_call", ("1", "add", None, '{"a"', "m"), {}, TOOL_CALL_PIECE),
    ("emit", ("tool_call",), {"id": "1", "name": "add", "arguments": {"a": 2}}, TOOL_CALL),
    ("emit", ("tool_call", {"id": "1", "name": "add", "message_id": "m"}), {"arguments_delta": '{"a"'},
     TOOL_CALL_PIECE),
    ("emit_tool_result", ("1", "add", 5), {}, TOOL_RESULT),
    ("emit_tool_result", ("1", "add", 5), {"error": True}, {**TOOL_RESULT, "error": True}),
    ("emit", ("tool_result", {"id": 1, "name": "add"}), {"content": 5, "error": False}, TOOL_RESULT),
    ("emit_usage", (7, 3), {}, USAGE),
    ("emit_usage", (7, 3, 10, {"cached": 5}, "m"), {},
     {**USAGE, "total_tokens": 10, "details": {"cached": 5}, "message_id": "m"}),
    ("emit", ("usage",), {"input_tokens": 7, "output_tokens": 3}, USAGE),
    ("emit_message", ("m", "assistant", "start", "talk"), {}, {**MESSAGE, "node_name": "talk"}),
    ("emit", ("message", {"id": "m", "role": "assistant"}), {"phase": "start"}, MESSAGE),
    ("emit_message", ("m", "assistant", "end"), {"error": True}, MESSAGE_FAILED),
    ("emit_content_block", ("image", {"url": "u"}, "m"), {}, IMAGE),
    ("emit", ("content_block", {"kind": "image", "data": {"url": "u"}}), {"message_id": "m"}, IMAGE),
    ("emit_tool_result", ("1", "add", 5), {"artifact": [5]}, {**TOOL_RESULT, "artifact": [5]}),
    ("emit_step_started", ("my_node",), {}, STEP_STARTED),
    ("emit", ("step_started", {"node_name": "my_node"}), {}, STEP_STARTED),
]  # fmt: skip


def sync_twin(name: str) -> str:
    return f"sync_{name}"


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), CALLS)
def test_synchronous_calls(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: dict[str, Any]
) -> None:
    context = StreamContext("run-1")
    getattr(context, sync_twin(name))(*args, **kwargs)
    assert events_of(context) == [expected]


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), CALLS)
async def test_asynchronous_calls(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: dict[str, Any]
) -> None:
    context = StreamContext("run-1")
    await getattr(context, name)(*args, **kwargs)
    assert events_of(context) == [expected]


@pytest.mark.parametrize(("name", "args", "kwargs", "expected"), CALLS)
def test_what_is_sent_can_be_read_again(
    name: str, args: tuple[Any, ...], kwargs: dict[str, Any], expected: dict[str, Any]
) -> None:
    context = StreamContext("run-1")
    out = Exit(context, encoder=EventEncoder())
    getattr(context, sync_twin(name))(*args, **kwargs)
    [encoded] = out.take()
    event = decode_event(encoded.json)  # type: ignore[union-attr]
    assert (event.type, event.sequence, event.request_id) == (expected["type"], 1, "run-1")
    fields = {k: v for k, v in msgspec.structs.asdict(event).items() if k in expected}
    assert {"type": event.type, **fields} == expected


@pytest.mark.parametrize("name", sorted({name for name, *_ in CALLS} | {"emit_heartbeat"}))
def test_the_twins_take_the_same_arguments(name: str) -> None:
    twins = [getattr(StreamContext, each) for each in (name, sync_twin(name))]
    asynchronous, synchronous = (inspect.signature(twin).parameters for twin in twins)
    assert list(asynchronous.values()) == list(synchronous.values())
    assert inspect.iscoroutinefunction(twins[0])
    assert not inspect.iscoroutinefunction(twins[1])


@pytest.mark.parametrize(
    ("given", "sent"),
    [(-1, 0.0), (-0.0, 0.0), (0, 0.0), (1, 1.0), (1.0001, 1.0), (100, 1.0), (float("inf"), 1.0),
     (float("-inf"), 0.0), (float("nan"), 0.0), (True, 1.0), ("0.5", 0.5), (10**400, 1.0), (-(10**400), 0.0)],
)  # fmt: skip
def test_progress_is_clamped(given: Any, sent: float) -> None:
    context = StreamContext("run-1")
    context.sync_emit_progress("s", given)
    [event] = context.drain_queued_events()
    assert isinstance(event, ProgressEvent)
    assert event.progress == sent
    assert type(event.progress) is float
    assert str(event.progress) != "-0.0"


NAME = "has up to 64 letters, digits, '_', '.' or '-' and begins with a letter or '_'"
REFUSED: list[tuple[str, Call, str]] = [
    ("line break", lambda c: c.sync_emit("a\nb"), NAME),
    ("trailing line break", lambda c: c.sync_emit("a\n"), NAME),
    ("carriage return", lambda c: c.sync_emit("custom:a\rb", {}), NAME),
    ("line separator", lambda c: c.sync_emit("a\u2028"), NAME),
    ("space", lambda c: c.sync_emit("fraud check"), NAME),
    ("empty", lambda c: c.sync_emit(""), NAME),
    ("prefix only", lambda c: c.sync_emit("custom:"), NAME),
    ("twice the prefix", lambda c: c.sync_emit("custom:custom:a"), NAME),
    ("65", lambda c: c.sync_emit("x" * 65), NAME),
    ("digit first", lambda c: c.sync_emit("1a"), NAME),
    ("no ASCII letter", lambda c: c.sync_emit("ünïcode"), NAME),
    ("NUL", lambda c: c.sync_emit("a\0"), NAME),
    ("lone surrogate", lambda c: c.sync_emit("\ud800"), NAME),
    ("custom", lambda c: c.sync_emit("custom", {}), "needs a name"),
    ("heartbeat", lambda c: c.sync_emit("heartbeat"), r"call emit_heartbeat\(\)"),
    ("started", lambda c: c.sync_emit("started", agent_name="x"), "'started' is emitted by the runtime"),
    ("complete", lambda c: c.sync_emit("complete"), "'complete' is emitted by the runtime"),
    ("error", lambda c: c.sync_emit("error", {"error": "x"}), "'error' is emitted by the runtime"),
    ("cancelled", lambda c: c.sync_emit("cancelled"), "'cancelled' is emitted by the runtime"),
    ("no string", lambda c: c.sync_emit(5), "named by a string, not by a int"),  # type: ignore[arg-type]
    ("unhashable", lambda c: c.sync_emit(["a"]), "named by a string, not by a list"),  # type: ignore[arg-type]
    ("fields beside a list", lambda c: c.sync_emit("a", [1], b=2), "data has to be a mapping"),
    ("token without content", lambda c: c.sync_emit("token", {}), "its fields are content, finish_reason"),
    ("token of text", lambda c: c.sync_emit("token", "x"), "data has to be a mapping of fields, not a str"),
    ("unknown field", lambda c: c.sync_emit("step", node="x"), "its fields are node_name, duration_ms"),
    ("keys that are no strings", lambda c: c.sync_emit("step", {1: 2}), "its fields are node_name"),
    ("progress of text", lambda c: c.sync_emit_progress("a", "half"), "progress has to be a number"),  # type: ignore[arg-type]
    ("progress of nothing", lambda c: c.sync_emit("progress", step="a", progress=None), "has to be a number"),
    ("duration", lambda c: c.sync_emit_step("a", "long"), "duration_ms has to be a number"),  # type: ignore[arg-type]
    ("keys as one string", lambda c: c.sync_emit_step("a", 1, "key"), "input_keys has to be a list of names"),
    ("keys as a number", lambda c: c.sync_emit_step("a", 1, None, 5), "output_keys has to be a list"),  # type: ignore[arg-type]
    ("checkpoint without name", lambda c: c.sync_emit("checkpoint", {"data": 1}), "fields are name, data"),
    ("call of nothing", lambda c: c.sync_emit("tool_call", id="1"),
     "its fields are id, name, arguments, arguments_delta, message_id"),
    ("call, whole and in pieces", lambda c: c.sync_emit_tool_call("1", "f", {}, "{"), "either arguments"),
    ("call with text", lambda c: c.sync_emit_tool_call("1", "f", '{"a": 1}'),  # type: ignore[arg-type]
     "has to be a mapping, not a str; JSON text goes into arguments_delta"),
    ("result", lambda c: c.sync_emit("tool_result", id="1"), "its fields are id, name, content, error"),
    ("result's error", lambda c: c.sync_emit_tool_result("1", "f", None, "no"),  # type: ignore[arg-type]
     "error is True or False, not 'no'"),
    ("usage", lambda c: c.sync_emit("usage", input=1),
     "its fields are input_tokens, output_tokens, total_tokens, details, message_id"),
    ("tokens of text", lambda c: c.sync_emit_usage("7", 3), "input_tokens has to be a number of tokens"),  # type: ignore[arg-type]
    ("tokens in parts", lambda c: c.sync_emit_usage(7, 3.5), "output_tokens has to be a number"),  # type: ignore[arg-type]
    ("negative tokens", lambda c: c.sync_emit_usage(7, 3, -1), "total_tokens has to be a number of tokens"),
    ("usage's details", lambda c: c.sync_emit_usage(7, 3, 10, [5]),  # type: ignore[arg-type]
     "details has to be a mapping, not a list"),
    ("message", lambda c: c.sync_emit("message", id="m"), "its fields are id, role, phase, node_name"),
    ("phase", lambda c: c.sync_emit_message("m", "user", "middle"), "phase is 'start' or 'end'"),  # type: ignore[arg-type]
    ("reasoning", lambda c: c.sync_emit("reasoning", text="x"), "its fields are content, message_id"),
    ("beginning", lambda c: c.sync_emit("step_started", step="x"), "its fields are node_name"),
]  # fmt: skip


@pytest.mark.parametrize(("call", "message"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_refused_at_the_call(call: Call, message: str) -> None:
    context = StreamContext("run-1")
    with pytest.raises(InvalidEvent, match=message):
        call(context)
    assert context.drain_queued_events() == []


async def test_refused_at_the_asynchronous_call() -> None:
    context = StreamContext("run-1")
    with pytest.raises(InvalidEvent, match="'complete' is emitted by the runtime"):
        await context.emit("complete", output=1)
    with pytest.raises(InvalidEvent, match="begins with a letter"):
        await context.emit("a\nb")
    assert context.drain_queued_events() == []


def test_a_wrong_name_is_refused_though_the_filter_would_drop_it() -> None:
    with pytest.raises(InvalidEvent):
        StreamContext("run-1", events_filter=EventsFilter("minimal")).sync_emit("a b")


class Untouchable:
    """Fails whoever looks at it."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError("an event that the filter does not allow was built")

    def __str__(self) -> str:
        raise AssertionError("an event that the filter does not allow was built")

    __repr__ = __str__
    __float__ = __iter__ = __str__  # type: ignore[assignment]


@pytest.mark.parametrize("encoder", [None, EventEncoder()])
async def test_a_disallowed_event_is_never_built(encoder: EventEncoder | None) -> None:
    context = StreamContext("run-1", events_filter=EventsFilter("minimal"))
    out = Exit(context, encoder=encoder)
    cyclic: list[Any] = []
    cyclic.append(cyclic)
    trap: Any = Untouchable()
    context.sync_emit_token(trap)
    context.sync_emit_step(trap, trap, trap, trap)
    context.sync_emit_progress(trap, trap, trap)
    context.sync_checkpoint(trap, cyclic)
    context.sync_emit("fraud_check", trap)
    context.sync_emit("token", {"wrong": 1})
    await context.emit_token(trap)
    await context.emit_step(trap, trap, trap, trap)
    await context.emit_progress(trap, trap, trap)
    await context.checkpoint(trap, cyclic)
    await context.emit("fraud_check", trap)
    for name in ("reasoning", "tool_call", "tool_result", "usage", "message", "step_started"):
        call = getattr(context, f"emit_{name}")
        arguments = [trap] * len(inspect.signature(call).parameters)
        await call(*arguments)
        getattr(context, f"sync_emit_{name}")(*arguments)
    assert context.queue.drain() == []
    assert out.sequence == 0


def test_the_filter_lets_some_pass() -> None:
    context = StreamContext("run-1", events_filter=EventsFilter(["token", "custom:fraud_check"]))
    context.sync_emit_step("a")
    context.sync_emit_token("b")
    context.sync_emit("other", {})
    context.sync_emit("fraud_check", {})
    assert [event.type for event in context.drain_queued_events()] == ["token", "custom:fraud_check"]


# -- properties and draining -----------------------------------------------------------------------


def test_properties() -> None:
    class Backend:
        name = "none"

        def is_available(self) -> bool:
            return False

        def emit(self, event: Any) -> bool:
            return False

    backend, chat = Backend(), EventsFilter("chat")
    context = StreamContext("run-1", events_filter=chat, streaming_backend=backend)
    assert context.run_id == "run-1"
    assert context.queue_mode is True
    assert context.events_filter is chat
    assert context.streaming_backend is backend
    assert context.cancelled is False
    assert StreamContext("run-2").events_filter == EventsFilter()
    assert StreamContext("run-2").streaming_backend is None


def test_draining_numbers_from_one_without_a_hole() -> None:
    context = StreamContext("run-1")
    for _ in range(3):
        context.sync_emit_token("a")
    first = context.drain_queued_events()
    assert context.drain_queued_events() == []
    context.sync_emit_heartbeat()
    context.sync_emit_token("b")
    events = first + context.drain_queued_events()
    assert [event.sequence for event in events] == [1, 2, 3, 4]
    assert {event.run_id for event in events} == {"run-1"}
    assert all(event.timestamp.utcoffset() is not None for event in events)


def test_a_streamed_context_is_not_drained_by_hand() -> None:
    context = StreamContext("run-1")
    Exit(context)
    with pytest.raises(RuntimeError, match="leave through its stream"):
        context.drain_queued_events()
    with pytest.raises(RuntimeError, match="another stream already"):
        Exit(context)


class Refusing:
    """A backend that takes what it is told to."""

    name = "refusing"

    def __init__(self, *takes: bool) -> None:
        self.takes = list(takes)
        self.asked: list[Any] = []

    def is_available(self) -> bool:
        return bool(self.takes[0])

    def emit(self, event: Any) -> bool:
        self.asked.append(event)
        return self.takes.pop(0)


def test_the_backend_is_asked_first_and_what_it_refuses_waits() -> None:
    backend = Refusing(True, False, True)
    context = StreamContext("run-1", streaming_backend=backend)
    for content in "abc":
        context.sync_emit_token(content)
    assert [event.content for event in backend.asked] == ["a", "b", "c"]
    [event] = context.drain_queued_events()
    assert event is backend.asked[1]


# -- the life cycle --------------------------------------------------------------------------------


async def test_outside_of_executions_the_life_cycle_is_ours() -> None:
    context = StreamContext("run-1", events_filter=EventsFilter("minimal"))
    await context.emit_started("agent", "handler")
    context.sync_emit_token("dropped")
    await context.emit_complete({"answer": 42}, 1.5)
    assert events_of(context) == [
        {"type": "started", "agent_name": "agent", "framework": "handler"},
        {"type": "complete", "output": {"answer": 42}, "latency_seconds": 1.5, "metadata": {}},
    ]


END: list[tuple[str, Call, dict[str, Any]]] = [
    ("complete", lambda c: c.emit_complete(output=1, latency_seconds=2, metadata={"a": 1}),
     {"output": 1, "latency_seconds": 2, "metadata": {"a": 1}}),
    ("error", lambda c: c.emit_error("bad"), {"error": "bad", "code": "AGENT_ERROR"}),
    ("error", lambda c: c.emit_error(error="bad", code="X", details=[1]),
     {"error": "bad", "code": "X", "details": [1]}),
    ("error", lambda c: c.emit_error(ValueError("bad")), {"error": "bad", "code": "AGENT_ERROR"}),
    ("cancelled", lambda c: c.emit_cancelled(), {}),
    ("cancelled", lambda c: c.emit_cancelled("enough"), {"reason": "enough"}),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "end", "fields"), END)
async def test_nothing_follows_the_terminal_event(kind: str, end: Call, fields: dict[str, Any]) -> None:
    context = StreamContext("run-1")
    await end(context)
    assert events_of(context) == [{"type": kind, **fields}]
    for late in (
        lambda: context.sync_emit_token("late"),
        lambda: context.sync_emit_progress("late", 1),
        lambda: context.sync_emit("late"),
        lambda: context.sync_checkpoint("late", 1),
        lambda: context.sync_emit_step("late"),
    ):
        with pytest.raises(StreamClosed, match="run-1 has ended"):
            late()
    for again in (lambda: end(context), lambda: context.emit_token("x"), lambda: context.emit_started("x")):
        with pytest.raises(StreamClosed, match="run-1 has ended"):
            await again()
    assert context.drain_queued_events() == []


LIFE_CYCLE: list[tuple[str, Call]] = [
    ("emit_started", lambda c: c.emit_started("agent")),
    ("emit_complete", lambda c: c.emit_complete(1, 1.0)),
    ("emit_error", lambda c: c.emit_error("bad")),
    ("emit_cancelled", lambda c: c.emit_cancelled()),
]


@pytest.mark.parametrize(("name", "call"), LIFE_CYCLE)
async def test_within_an_execution_the_life_cycle_is_the_runtimes(name: str, call: Call) -> None:
    context = StreamContext("run-1")
    Exit(context)
    with pytest.warns(DockrionWarning, match=rf"^{name}\(\) was ignored") as caught:
        await call(context)
    await call(context)  # a second warning would be an error
    assert len(caught) == 1
    assert caught[0].filename == __file__
    context.sync_emit_token("goes on")
    assert [event.type for event in context.queue.drain()] == ["token"]


# -- event objects ---------------------------------------------------------------------------------


async def test_event_objects_are_sent_but_for_those_of_the_runtime() -> None:
    context = StreamContext("run-1", events_filter=EventsFilter(["token", "custom:a"]))
    context.sync_send(TokenEvent("a"))
    await context.send(CustomEvent("custom:a", 1))
    await context.send(CustomEvent("custom:b", 1))
    context.sync_send(StartedEvent("agent"))
    context.sync_send(HeartbeatEvent())
    await context.send(ProgressEvent("a", 0.5))
    context.sync_send(UnknownEvent("later", {}))
    assert [event["type"] for event in events_of(context)] == ["token", "custom:a"]


def test_the_same_object_sent_twice_is_two_events() -> None:
    context = StreamContext("run-1")
    event = TokenEvent("a")
    context.sync_send(event)
    context.sync_send(event)
    assert [each.sequence for each in context.drain_queued_events()] == [1, 2]


@pytest.mark.parametrize("encoder", [None, EventEncoder()])
def test_an_event_of_another_stream_gets_this_ones_envelope(encoder: EventEncoder | None) -> None:
    context = StreamContext("mine")
    out = Exit(context, encoder=encoder)
    foreign = TokenEvent("a", sequence=77, request_id="theirs", run_id="theirs")
    context.sync_send(foreign)
    [item] = out.take()
    if encoder is not None:
        assert item.json.count(b'"sequence"') == 1  # type: ignore[union-attr]
        assert b"theirs" not in item.json  # type: ignore[union-attr]
        item = decode_event(item.json)  # type: ignore[union-attr]
    assert (item.sequence, item.request_id, item.run_id) == (1, "mine", None)  # type: ignore[union-attr]
    assert foreign.sequence == 77


BAD_OBJECTS: list[Event] = [
    CustomEvent("custom:a\nb", 1),
    CustomEvent("custom:a b", 1),
    CustomEvent("custom:", 1),
    CustomEvent("token", 1),
    CustomEvent("fraud_check", 1),
    TokenEvent("a", 5),  # type: ignore[arg-type]
    StepEvent("a", "long"),  # type: ignore[arg-type]
    StepEvent(None),  # type: ignore[arg-type]
]


@pytest.mark.parametrize("event", BAD_OBJECTS, ids=lambda event: f"{event.type!r}")
async def test_an_event_object_that_no_reader_could_read_is_refused(event: Event) -> None:
    context = StreamContext("run-1")
    with pytest.raises(InvalidEvent):
        context.sync_send(event)
    with pytest.raises(InvalidEvent):
        await context.send(event)
    assert context.drain_queued_events() == []


def test_progress_objects_are_clamped_and_tokens_are_text_as_well() -> None:
    context = StreamContext("run-1")
    context.sync_send(TokenEvent(5))  # type: ignore[arg-type]
    assert events_of(context) == [{"type": "token", "content": "5"}]
    context.sync_send(ProgressEvent("a", 7.0))
    context.sync_send(ProgressEvent("a", float("nan")))
    assert [event["progress"] for event in events_of(context)] == [1.0, 0.0]


def test_call_objects_are_whole_or_a_piece_as_well() -> None:
    context = StreamContext("run-1")
    context.sync_send(ToolCallEvent("1", "now"))
    context.sync_send(ToolCallEvent("1", "add", arguments_delta='{"a"', message_id="m"))
    whole, piece = events_of(context)
    assert whole == {"type": "tool_call", "id": "1", "name": "now", "arguments": {}}
    assert piece == TOOL_CALL_PIECE
    with pytest.raises(InvalidEvent, match="either arguments"):
        context.sync_send(ToolCallEvent("1", "add", {}, "{"))


def test_the_chunk_of_a_token_is_its_text_and_other_events_have_none() -> None:
    assert TokenEvent("a").chunk == "a"
    assert ReasoningEvent("a").chunk is None
    assert decode_event(b'{"type":"token","content":"a"}').chunk == "a"
    assert decode_event(b'{"type":"unheard_of","chunk":"a"}').chunk is None


# -- cancellation ----------------------------------------------------------------------------------

EMITTERS: list[tuple[str, tuple[Any, ...]]] = [
    ("emit_token", ("a",)),
    ("emit_step", ("a",)),
    ("emit_progress", ("a", 0.5)),
    ("checkpoint", ("a", 1)),
    ("emit_reasoning", ("a",)),
    ("emit_tool_call", ("1", "a")),
    ("emit_tool_result", ("1", "a", 1)),
    ("emit_usage", (1, 2)),
    ("emit_message", ("m", "user", "end")),
    ("emit_content_block", ("image",)),
    ("emit_step_started", ("a",)),
    ("emit", ("a",)),
    ("emit_heartbeat", ()),
]


@pytest.mark.parametrize("events", ["all", "minimal"])
@pytest.mark.parametrize(("name", "args"), EMITTERS)
async def test_a_cancelled_execution_stops_synchronous_code_at_its_next_call(
    name: str, args: tuple[Any, ...], events: str
) -> None:
    context = StreamContext("run-1", events_filter=EventsFilter(events))
    Exit(context).cancel()
    assert context.cancelled
    with pytest.raises(RunCancelled, match="run-1 was cancelled"):
        getattr(context, sync_twin(name))(*args)
    assert context.queue.drain() == []


@pytest.mark.parametrize(("name", "args"), EMITTERS)
async def test_a_cancelled_execution_stops_asynchronous_code_with_its_own_error(
    name: str, args: tuple[Any, ...]
) -> None:
    context = StreamContext("run-1")
    Exit(context).cancel()
    with pytest.raises(asyncio.CancelledError, match="run-1 was cancelled"):
        await getattr(context, name)(*args)


def test_run_cancelled_is_no_exception() -> None:
    assert not issubclass(RunCancelled, Exception)


def test_after_its_end_an_execution_discards_what_comes_late() -> None:
    context = StreamContext("run-1")
    Exit(context).close()
    context.sync_emit_token("late")
    context.sync_emit_heartbeat()
    assert context.queue.drain() == []
