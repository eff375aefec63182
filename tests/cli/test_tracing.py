"""Traces of a server that sets OpenTelemetry up by itself: to a collector, as its variables say."""

from __future__ import annotations

import queue
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

AGENT = "def handle(payload):\n    return {}\n"
DOCKFILE = "agent: {name: tested, handler: agent:handle}\nobservability: {tracing: otel}\n"


class Collector:
    """Takes what is exported over HTTP."""

    def __init__(self) -> None:
        self.taken: queue.Queue[ExportTraceServiceRequest] = queue.Queue()
        taken = self.taken

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                assert self.path == "/v1/traces"
                taken.put(ExportTraceServiceRequest.FromString(body))
                self.send_response(200)
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    yield made
    made.server.shutdown()
    made.server.server_close()
    thread.join()


@pytest.mark.parametrize(("variables", "name"), [({}, "tested"), ({"OTEL_SERVICE_NAME": "mine"}, "mine")])
def test_spans_reach_the_collector_at_the_end_at_the_latest(
    dockrion: Any, collector: Collector, variables: dict[str, str], name: str
) -> None:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE})
    env = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
        **variables,
    }
    with dockrion.run(env=env) as served:
        trace_id = served.post("/invoke", {}).json()["metadata"]["trace_id"]
        served.stop()
    (resource,) = collector.taken.get(timeout=10).resource_spans
    attributes = {item.key: item.value.string_value for item in resource.resource.attributes}
    assert attributes["service.name"] == name
    spans = {span.name: span for scope in resource.scope_spans for span in scope.spans}
    assert set(spans) == {"POST /invoke", "invoke_agent tested"}
    assert {span.trace_id.hex() for span in spans.values()} == {trace_id}


def test_a_collector_that_never_answers_does_not_hold_the_end_up(dockrion: Any) -> None:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE})
    with socket.create_server(("127.0.0.1", 0)) as silent:
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{silent.getsockname()[1]}"}
        with dockrion.run(env=env) as served:
            assert served.post("/invoke", {}).status_code == 200
            began = time.monotonic()
            assert served.stop() == 0
            assert time.monotonic() - began < 5  # an export is tried for ten seconds


def test_the_extra_is_named_where_it_is_missing(dockrion: Any) -> None:
    blocked = "import sys\nsys.modules['opentelemetry.sdk'] = None\n"
    dockrion.project({"agent.py": blocked + AGENT, "Dockfile.yaml": DOCKFILE})
    failed = dockrion("run", "--port", "0", code=1)
    assert "observability.tracing: otel needs the extra 'otel', which is not installed whole" in failed.stderr
    assert "pip install 'dockrion-sdk[otel]'" in failed.stderr


def test_who_does_not_trace_loads_nothing_of_it(dockrion: Any) -> None:
    told = "import sys\ndef handle(payload):\n    return {'sdk': 'opentelemetry.sdk' in sys.modules}\n"
    dockrion.project({"agent.py": told, "Dockfile.yaml": "agent: {name: tested, handler: agent:handle}\n"})
    assert '"sdk": false' in dockrion("test", "-p", "{}").stdout
