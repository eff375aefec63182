"""The spans of executions, and of the steps and tools that their events tell of.

The names and attributes of agents and tools are those of OpenTelemetry's semantic conventions for generative
AI. What agents are given, say and return is in no span.
"""

from __future__ import annotations

from collections import defaultdict, deque
from datetime import datetime
from typing import Any, Final

from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from dockrion_events import (
    EncodedEvent,
    Event,
    StepEvent,
    StepStartedEvent,
    ToolCallEvent,
    ToolResultEvent,
)
from dockrion_events.forms import Envelope, Form

from ...stream import EndStatus
from ..correlation import correlate
from ..meter import Kind
from .provider import flush, tracer_provider

TOLD: Final = frozenset({"step", "step_started", "tool_call", "tool_result"})
"""The types of events that are looked into."""

_w3c = TraceContextTextMapPropagator()


class Tracing:
    """Makes the spans of one agent's server or worker."""

    def __init__(self, agent_name: str) -> None:
        self._agent_name = agent_name
        self._provider = tracer_provider(agent_name)
        self.tracer: Tracer = self._provider.get_tracer("dockrion")

    def execution(
        self, kind: Kind, identifier: str, *, attempt: int, trace: dict[str, str] | None
    ) -> ExecutionSpan:
        """Begin the span of an execution, in the trace that is given or else in the current one."""
        run = kind == "run"
        span = self.tracer.start_span(
            f"invoke_agent {self._agent_name}",
            context=_w3c.extract(trace) if trace else None,
            kind=SpanKind.CONSUMER if run else SpanKind.INTERNAL,
            attributes={
                "gen_ai.operation.name": "invoke_agent",
                "gen_ai.agent.name": self._agent_name,
                "dockrion.run_id" if run else "dockrion.request_id": identifier,
                **({"dockrion.attempt": attempt} if run else {}),
            },
        )
        return ExecutionSpan(self.tracer, span)

    def current(self) -> dict[str, str] | None:
        """Return the W3C trace context of the current span, to be kept with what that asks for."""
        carrier: dict[str, str] = {}
        _w3c.inject(carrier)
        return carrier or None

    async def close(self) -> None:
        """Send what has not been sent yet."""
        await flush(self._provider)


class ExecutionSpan:
    """The span of one execution, with one below it for each step and each tool; a `Watcher`."""

    def __init__(self, tracer: Tracer, span: Span) -> None:
        self._tracer = tracer
        self._span = span
        self._within = trace.set_span_in_context(span)
        self._form: Form | None = None
        self._steps: defaultdict[tuple[str, ...], deque[Span]] = defaultdict(deque)
        self._tools: dict[str, Span] = {}

    @property
    def trace_id(self) -> str:
        """The id of the trace, in hexadecimal."""
        return trace.format_trace_id(self._span.get_span_context().trace_id)

    def watching(self, form: Form) -> Form:
        self._form = form
        return self._leave

    def enter(self) -> None:
        otel_context.attach(self._within)
        correlate(trace_id=self.trace_id)

    def end(self, status: EndStatus, code: str | None = None) -> None:
        for open_span in (*(span for spans in self._steps.values() for span in spans), *self._tools.values()):
            open_span.set_attribute("dockrion.status", "unfinished")
            open_span.end()
        self._span.set_attribute("dockrion.status", status)
        if status == "failed":
            self._span.set_attribute("error.type", code or "_OTHER")
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end()

    def _leave(self, events: list[EncodedEvent], envelope: Envelope, sequence: int) -> list[Any]:
        assert self._form is not None
        for event in events:
            if event.type in TOLD:
                self._tell(event.decode())
        return self._form(events, envelope, sequence)

    def _tell(self, event: Event) -> None:
        match event:
            case StepStartedEvent():
                self._steps[_place(event)].append(self._begin_step(event))
            case StepEvent():
                self._end_step(event)
            case ToolCallEvent() if event.id not in self._tools:  # of one in pieces, the first
                self._tools[event.id] = self._begin_tool(event)
            case ToolResultEvent():
                span = self._tools.pop(event.id, None) or self._begin_tool(event)
                if event.error:
                    span.set_status(Status(StatusCode.ERROR))
                span.end(_nanoseconds(event.timestamp))

    def _begin_step(self, event: StepStartedEvent | StepEvent, *, earlier_ms: float = 0) -> Span:
        namespace = {"dockrion.step.namespace": event.namespace} if event.namespace else {}
        return self._tracer.start_span(
            f"step {event.node_name}",
            context=self._within,
            attributes={"dockrion.step.name": event.node_name, **namespace},
            start_time=_nanoseconds(event.timestamp) - int(earlier_ms * 1_000_000),
        )

    def _end_step(self, event: StepEvent) -> None:
        begun = self._steps.get(_place(event))
        span = begun.popleft() if begun else self._begin_step(event, earlier_ms=event.duration_ms or 0)
        span.end(_nanoseconds(event.timestamp))

    def _begin_tool(self, event: ToolCallEvent | ToolResultEvent) -> Span:
        return self._tracer.start_span(
            f"execute_tool {event.name}",
            context=self._within,
            attributes={
                "gen_ai.operation.name": "execute_tool",
                "gen_ai.tool.name": event.name,
                "gen_ai.tool.call.id": event.id,
            },
            start_time=_nanoseconds(event.timestamp),
        )


def _place(event: StepStartedEvent | StepEvent) -> tuple[str, ...]:
    return (event.node_name, *(event.namespace or ()))


def _nanoseconds(moment: datetime) -> int:
    """Return the time as OpenTelemetry counts it, exactly."""
    return int(moment.timestamp()) * 1_000_000_000 + moment.microsecond * 1000
