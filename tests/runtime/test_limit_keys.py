"""`expose.limits`: each key changes what is refused, and a metric counts it.

What the defaults are worth against an attack is in `tests/hostile`; those of unread answers and of pings are
in `test_stalled` and `test_rude_clients`, those of A2A's lists in `test_a2a_list`.
"""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from .conftest import DEADLINE, Live, Serve
from .test_metrics import value

EVERYTHING = {"protocols": ["a2a"], "streaming": ["sse", "websocket"], "errors": "full"}
RUNS = {"async_runs": True}
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"
REFUSED = "dockrion_connections_refused_total"
PROBLEMS = "dockrion_problems_total"


def echo(payload: Any) -> Any:
    return payload


def limited(serve: Serve, agent: Any = echo, *, io_schema: Any = None, **limits: Any) -> Live:
    return serve(agent, expose={**EVERYTHING, "limits": limits}, streaming=RUNS, io_schema=io_schema or {})


@contextmanager
def connected(live: Live, *parts: bytes) -> Iterator[socket.socket]:
    with closing(socket.create_connection(("127.0.0.1", live.port), timeout=DEADLINE)) as client:
        client.sendall(b"".join(parts))
        yield client


def rest(client: socket.socket) -> bytes:
    """Read until the server ends the connection."""
    received = b""
    while part := client.recv(65536):
        received += part
    return received


@pytest.mark.parametrize(
    ("limits", "head"),
    [
        ({"head_bytes": 1000}, b"X: %b\r\n\r\n" % (b"x" * 1000)),
        ({"headers": 5}, b"X: x\r\n" * 5 + b"\r\n"),
    ],
)
def test_a_head_that_is_too_large(serve: Serve, limits: dict[str, int], head: bytes) -> None:
    with connected(serve(echo), HEAD, head) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 200 ")
    live = limited(serve, **limits)
    with connected(live, HEAD, head) as client:
        assert b"HEAD_TOO_LARGE" in rest(client)
    assert value(live, REFUSED, reason="head") == 1


@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream", "/runs", "/a2a"])
def test_a_body_that_is_late(serve: Serve, path: str) -> None:
    live = limited(serve, body_seconds=0.3)
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with connected(live, head.encode(), b"Content-Length: 9\r\n\r\n{") as client:
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert b"BODY_TIMEOUT" in answer
        assert b"within 0.3 s" in answer
    assert value(live, PROBLEMS, status="408") == 1


def test_a_body_that_does_not_end_after_its_answer(serve: Serve) -> None:
    live = limited(serve, body_seconds=0.3)
    with connected(
        live, b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{"
    ) as client:
        assert client.recv(100).startswith(b"HTTP/1.1 404 ")
        live.until(lambda: live.service.edge.refused["pending"] == 1)
        live.until(lambda: not live.server.server_state.connections)


def test_an_idle_connection_is_closed(serve: Serve) -> None:
    live = limited(serve, idle_seconds=0.3)
    with connected(live, HEAD, b"\r\n") as client:
        began = time.monotonic()
        assert rest(client).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() - began < 4  # five seconds by default
    assert value(live, "dockrion_connections_idle_total") == 1


def test_what_all_connections_buffer(serve: Serve) -> None:
    live = limited(serve, head_bytes=20_000, buffered_bytes=20_000)
    part = HEAD + b"X: " + b"x" * 12_000
    with connected(live, part) as first:
        live.until(lambda: live.service.edge.buffered > 12_000)
        with connected(live, part) as second:
            assert b"OVERLOADED" in rest(second)
        first.sendall(b"\r\n\r\n")
        assert first.recv(100).startswith(b"HTTP/1.1 200 ")
    assert value(live, REFUSED, reason="buffered") == 1


def test_requests_that_wait_for_the_answers_before_them(serve: Serve) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def wait(payload: Any) -> None:
        begun.set()
        assert go_on.wait(DEADLINE)

    live = limited(serve, wait, pipelined=2)
    slow = b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 2\r\n\r\n{}"
    with connected(live, slow) as client:
        assert begun.wait(DEADLINE)
        client.sendall((HEAD + b"\r\n") * 5)
        live.until(lambda: live.service.edge.held == 1)
        go_on.set()
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 6:
            received += client.recv(65536)
    assert value(live, "dockrion_connections_held_total") >= 1


def test_a_message_that_is_too_large(serve: Serve) -> None:
    live = limited(serve, message_bytes=1000)
    with connect(f"ws://127.0.0.1:{live.port}/invoke/ws") as client:
        client.send(json.dumps({"payload": {"text": "x" * 1000}}))
        with pytest.raises(Exception, match="1009"):
            client.recv(DEADLINE)
    assert value(live, REFUSED, reason="message") == 1


def test_executions_on_one_socket(serve: Serve) -> None:
    async def wait(payload: Any, context: Any) -> None:
        await context.emit_token("begun")
        await asyncio.Event().wait()

    live = limited(serve, wait, socket_executions=1)
    with connect(f"ws://127.0.0.1:{live.port}/invoke/ws") as client:
        client.send(json.dumps({"payload": {}, "request_id": "one"}))
        assert json.loads(client.recv(DEADLINE))["type"] == "started"
        client.send(json.dumps({"payload": {}, "request_id": "two"}))
        while (frame := json.loads(client.recv(DEADLINE)))["type"] != "problem":
            assert frame["request_id"] == "one"
        assert (frame["request_id"], frame["problem"]["code"]) == ("two", "TOO_MANY_REQUESTS")
        assert "1 executions" in frame["problem"]["detail"]
    assert value(live, PROBLEMS, status="429") == 1


def test_memory_of_a_json_body(serve: Serve) -> None:
    body = b'{"values": [%b]}' % b",".join([b"{}"] * 400_000)
    assert limited(serve, json_growth=60).post("/invoke", json.loads(body)).status_code == 200
    live = limited(serve, json_growth=2)
    answer = live.post("/invoke", json.loads(body))
    assert (answer.status_code, answer.json()["code"]) == (413, "TOO_MANY_VALUES")
    assert value(live, PROBLEMS, status="413") == 1


def test_values_of_a_request_over_a2a(serve: Serve) -> None:
    asked = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
    version = {"A2A-Version": "1.0"}
    assert limited(serve).post("/a2a", asked, headers=version).status_code == 200
    live = limited(serve, a2a_values=3)
    answer = live.post("/a2a", asked, headers=version)
    assert (answer.status_code, answer.json()["code"]) == (413, "TOO_MANY_VALUES")
    assert value(live, PROBLEMS, status="413") == 1


SLOW: Any = {"input": {"type": "object", "properties": {"a": {"type": "array", "uniqueItems": True}}}}
COSTLY = {"a": [[number, [number]] for number in range(2000)]}


@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream", "/runs"])
def test_time_to_check_a_payload(serve: Serve, path: str) -> None:
    patient = limited(serve, io_schema=SLOW, check_seconds=60)
    assert patient.post(path, COSTLY).status_code in (200, 202)
    live = limited(serve, io_schema=SLOW, check_seconds=0.001)
    answer = live.post(path, COSTLY)
    assert (answer.status_code, answer.json()["code"]) == (422, "VALIDATION_TIMEOUT")
    assert value(live, PROBLEMS, status="422") == 1


def test_time_to_check_a_message_over_a2a(serve: Serve) -> None:
    live = limited(serve, io_schema=SLOW, check_seconds=0.001)
    parts = [{"data": COSTLY}]
    message = {"role": "ROLE_USER", "messageId": "m", "parts": parts}
    asked = {"jsonrpc": "2.0", "id": 1, "method": "SendMessage", "params": {"message": message}}
    answer = live.post("/a2a", asked, headers={"A2A-Version": "1.0"}).json()
    assert "VALIDATION_TIMEOUT" in json.dumps(answer["error"])
    assert value(live, PROBLEMS, status="422") == 1


def test_runs_on_a_page(serve: Serve) -> None:
    live = limited(serve, page_runs=2)
    for _ in range(3):
        assert live.post("/runs").status_code == 202
    page = live.get("/runs").json()
    assert len(page["runs"]) == 2
    assert page["next"]
    answer = live.get("/runs?limit=3")
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_LIMIT")
    assert "from 1 to 2" in answer.json()["detail"]
    assert value(live, PROBLEMS, status="400") == 1
    parameters = live.get("/docs/openapi.json").json()["paths"]["/runs"]["get"]["parameters"]
    (limit,) = [one["schema"] for one in parameters if one["name"] == "limit"]
    assert (limit["maximum"], limit["default"]) == (2, 2)


@contextmanager
def abandoned(live: Live, release: threading.Event) -> Iterator[None]:
    """Within the block one thread is held by an execution whose client has gone."""
    with live.stream() as events:
        for event in events:
            if event["type"] == "token":
                break
    live.until(lambda: live.service.active == 0)
    yield
    release.set()
    live.until(lambda: live.service.agent.pool.abandoned == 0)


@pytest.fixture
def hanging() -> tuple[Any, threading.Event]:
    release = threading.Event()

    def hang(payload: Any, context: Any) -> None:
        context.sync_emit_token("begun")
        release.wait(DEADLINE)

    return hang, release


def test_threads_for_synchronous_code(serve: Serve, hanging: tuple[Any, threading.Event]) -> None:
    agent, release = hanging
    live = limited(serve, agent, threads=1)
    with abandoned(live, release):
        answer = live.post("/invoke")
        assert (answer.status_code, answer.json()["code"]) == (503, "OVERLOADED")
        assert "no worker thread left" in answer.json()["detail"]
        assert value(live, "dockrion_abandoned_threads") == 1
        assert value(live, "dockrion_abandoned_threads_limit") == 1
        assert value(live, PROBLEMS, status="503") == 1
        run = live.post("/runs").json()["run_id"]
        assert live.get(f"/runs/{run}").json()["status"] == "accepted"  # nobody has a thread for it
    live.eventually(lambda: live.get(f"/runs/{run}").json()["status"] == "completed")


def test_abandoned_threads(serve: Serve, hanging: tuple[Any, threading.Event]) -> None:
    agent, release = hanging
    live = limited(serve, agent, abandoned_threads=1)
    assert live.get("/ready").status_code == 200
    with abandoned(live, release):
        answer = live.get("/ready")
        assert (answer.status_code, answer.json()["status"]) == (503, "too many abandoned threads")
        assert value(live, "dockrion_abandoned_threads_limit") == 1
    assert live.get("/ready").status_code == 200


def test_events_of_a_run_that_are_kept(serve: Serve) -> None:
    async def talk(payload: Any, context: Any) -> None:
        for _ in range(20):
            await context.emit_token("x")

    live = serve(
        talk, expose=EVERYTHING, streaming={**RUNS, "memory": {"max_events_per_run": 5, "max_bytes": 1 << 20}}
    )
    run = live.post("/runs").json()["run_id"]
    live.eventually(lambda: live.get(f"/runs/{run}").json()["status"] == "completed")
    assert '"type":"gap"' in live.get(f"/runs/{run}/events?from_sequence=1").text
    assert value(live, "dockrion_gaps_total") == 1
    with connect(f"ws://127.0.0.1:{live.port}/runs/{run}/ws?from_sequence=1") as client:
        assert json.loads(client.recv(DEADLINE))["type"] == "gap"
    assert value(live, "dockrion_gaps_total") == 2
    asked = {"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": run}}
    assert "result" in live.post("/a2a", asked, headers={"A2A-Version": "1.0"}).json()
    assert value(live, "dockrion_gaps_total") == 3
