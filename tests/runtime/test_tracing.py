"""Traces: one from the request through the run to its steps and tools, on the real SDK."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, TypedDict

import pytest
from langgraph.graph import END, START, StateGraph
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from dockrion_events import StreamContext

from .conftest import DEADLINE, Live, Serve, Store

TRACE = "0af7651916cd43dd8448eb211c80319c"
CLIENT = "b7ad6b7169203331"
PARENT = {"traceparent": f"00-{TRACE}-{CLIENT}-01"}
OTEL = {"observability": {"tracing": "otel"}}

_exporter = InMemorySpanExporter()


@pytest.fixture(scope="session", autouse=True)
def provider() -> None:
    """Set the process's provider, as an agent of somebody's own would; it can be set once."""
    made = TracerProvider()
    made.add_span_processor(SimpleSpanProcessor(_exporter))
    trace.set_tracer_provider(made)


@pytest.fixture(autouse=True)
def no_spans_of_others() -> None:
    _exporter.clear()


def span(live: Live, name: str) -> ReadableSpan:
    """Wait until the span of this name has ended; there is one."""

    def found() -> list[ReadableSpan]:
        return [one for one in _exporter.get_finished_spans() if one.name == name]

    live.eventually(lambda: bool(found()))
    (one,) = found()
    return one


def below(child: ReadableSpan, parent: ReadableSpan) -> bool:
    return (
        child.parent is not None
        and child.parent.span_id == parent.context.span_id
        and child.context.trace_id == parent.context.trace_id
    )


def trace_of(one: ReadableSpan) -> str:
    return trace.format_trace_id(one.context.trace_id)


def worker(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    """A synchronous handler, so in a thread."""
    context.sync_emit("step_started", node_name="search")
    context.sync_emit_tool_call("c1", "lookup", {"q": 1})
    with trace.get_tracer("agent").start_as_current_span("own work"):
        pass
    context.sync_emit_tool_result("c1", "lookup", "found", error=bool(payload.get("tool_fails")))
    context.sync_emit_step("search", duration_ms=5)
    context.sync_emit_step("unannounced", duration_ms=1500)
    if payload.get("fail"):
        raise ValueError("no")
    return {}


def test_a_direct_stream(serve: Serve) -> None:
    live = serve(worker, **OTEL)
    events = live.events(headers=PARENT)
    request = span(live, "POST /invoke/stream")
    execution = span(live, "invoke_agent tested")
    assert trace_of(request) == TRACE
    assert request.parent is not None
    assert trace.format_span_id(request.parent.span_id) == CLIENT
    assert request.attributes is not None
    assert request.attributes["http.response.status_code"] == 200
    assert below(execution, request)
    for name in ("step search", "execute_tool lookup", "own work", "step unannounced"):
        assert below(span(live, name), execution), name
    late = span(live, "step unannounced")
    assert late.end_time is not None
    assert late.start_time is not None
    assert late.end_time - late.start_time == 1_500_000_000
    assert execution.attributes == {
        "gen_ai.operation.name": "invoke_agent",
        "gen_ai.agent.name": "tested",
        "dockrion.request_id": events[0]["request_id"],
        "dockrion.status": "completed",
    }
    assert events[-1]["metadata"] == {"trace_id": TRACE}


def test_a_failure_names_its_trace_and_marks_its_spans(serve: Serve) -> None:
    live = serve(worker, **OTEL)
    error = live.events({"fail": True, "tool_fails": True}, headers=PARENT)[-1]
    assert error["details"] == {"exception": "ValueError", "trace_id": TRACE}
    execution = span(live, "invoke_agent tested")
    assert not execution.status.is_ok
    assert execution.attributes is not None
    assert execution.attributes["error.type"] == "AGENT_ERROR"
    assert not span(live, "execute_tool lookup").status.is_ok
    assert span(live, "step search").status.is_ok


def test_what_has_not_ended_ends_with_the_execution(serve: Serve) -> None:
    def handler(_: Any, context: StreamContext) -> None:
        context.sync_emit("step_started", node_name="open")
        raise ValueError("no")

    live = serve(handler, **OTEL)
    live.events()
    attributes = span(live, "step open").attributes
    assert attributes is not None
    assert attributes["dockrion.status"] == "unfinished"


def test_invoke(serve: Serve) -> None:
    live = serve(worker, **OTEL)
    assert live.post("/invoke", headers=PARENT).json()["metadata"]["trace_id"] == TRACE
    execution = span(live, "invoke_agent tested")
    assert below(execution, span(live, "POST /invoke"))
    assert below(span(live, "own work"), execution)
    _exporter.clear()
    problem = live.post("/invoke", {"fail": True}, headers=PARENT).json()
    assert (problem["code"], problem["trace_id"]) == ("AGENT_ERROR", TRACE)
    request = span(live, "POST /invoke")
    assert not request.status.is_ok


def test_a_run_belongs_to_the_trace_of_the_request_that_made_it(serve: Serve, store: Store) -> None:
    live = serve(worker, streaming={**store.streaming(), "async_runs": True}, **OTEL)
    live.post("/runs?run_id=one", headers=PARENT)
    execution = span(live, "invoke_agent tested")
    assert below(execution, span(live, "POST /runs"))
    assert trace_of(execution) == TRACE
    assert execution.attributes is not None
    assert execution.attributes["dockrion.run_id"] == "one"
    assert below(span(live, "own work"), execution)
    live.eventually(lambda: live.get("/runs/one").json()["status"] == "completed")
    events = live.get("/runs/one/events").text
    assert f'"metadata":{{"trace_id":"{TRACE}"}}' in events


def test_the_same_run_again_from_another_trace_is_the_same_run(serve: Serve, store: Store) -> None:
    live = serve(worker, streaming={**store.streaming(), "async_runs": True}, **OTEL)
    payload = {"a": 1}
    assert live.post("/runs?run_id=one", payload, headers=PARENT).status_code == 202
    assert live.post("/runs?run_id=one", payload).status_code == 200
    assert live.post("/runs?run_id=one", {"a": 2}, headers=PARENT).status_code == 409


class State(TypedDict):
    seen: list[str]


def test_spans_of_an_agents_own_in_the_nodes_of_a_graph(serve: Serve) -> None:
    def node(_: State) -> State:
        with trace.get_tracer("agent").start_as_current_span("in a node"):
            return {"seen": ["node"]}

    builder = StateGraph(State)
    builder.add_node("think", node)
    builder.add_edge(START, "think")
    builder.add_edge("think", END)
    live = serve(builder.compile(), framework="langgraph", **OTEL)
    live.events({"seen": []})  # a graph that needs a field is not executed with nothing
    execution = span(live, "invoke_agent tested")
    assert below(span(live, "in a node"), execution)
    assert below(span(live, "step think"), execution)


def test_no_tracing_no_spans(serve: Serve) -> None:
    live = serve(worker)
    assert live.events(headers=PARENT)[-1]["metadata"] == {}
    assert [one.name for one in _exporter.get_finished_spans()] == ["own work"]


def test_questions_about_the_server_have_none(serve: Serve) -> None:
    live = serve(worker, **OTEL)
    for path in ("/health", "/ready", "/metrics"):
        assert live.get(path).status_code == 200
    assert live.get("/nowhere").status_code == 404
    live.get("/info")
    assert [one.name for one in _exporter.get_finished_spans()] == ["GET /info"]


ELSEWHERE = """
import json, sys
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
import atexit

exporter = InMemorySpanExporter()
provider = TracerProvider()
provider.add_span_processor(SimpleSpanProcessor(exporter))
trace.set_tracer_provider(provider)

def told():
    with open("spans.json", "w") as file:
        json.dump([
            {
                "name": span.name,
                "trace": trace.format_trace_id(span.context.trace_id),
                "id": trace.format_span_id(span.context.span_id),
                "parent": span.parent and trace.format_span_id(span.parent.span_id),
            }
            for span in exporter.get_finished_spans()
        ], file)

atexit.register(told)

def handle(payload):
    with trace.get_tracer("agent").start_as_current_span("own work"):
        return {}
"""


def test_across_two_processes(serve: Serve, shared_redis: Any, tmp_path: Path) -> None:
    """This process accepts the run, and `dockrion worker` executes it."""
    shared_redis.command("FLUSHALL")
    streaming = {"async_runs": True, "backend": "redis", "redis": {"url": shared_redis.url}}
    (tmp_path / "elsewhere.py").write_text(ELSEWHERE)
    sections = {"version": "1.0", "streaming": streaming, **OTEL}
    agent = {"name": "tested", "handler": "elsewhere:handle"}
    (tmp_path / "Dockfile.yaml").write_text(json.dumps({**sections, "agent": agent}))
    live = serve(worker, executing=False, streaming=streaming, **OTEL)
    live.post("/runs?run_id=one", headers=PARENT)
    command = [sys.executable, "-m", "dockrion_runtime.cli", "worker"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE) as process:
        live.eventually(lambda: live.get("/runs/one").json()["status"] == "completed")
        process.terminate()
        assert process.wait(DEADLINE) == 0
    accepted = span(live, "POST /runs")
    spans = {one["name"]: one for one in json.loads((tmp_path / "spans.json").read_text())}
    assert set(spans) == {"invoke_agent tested", "own work"}
    assert {one["trace"] for one in spans.values()} == {TRACE}
    assert spans["invoke_agent tested"]["parent"] == trace.format_span_id(accepted.context.span_id)
    assert spans["own work"]["parent"] == spans["invoke_agent tested"]["id"]
