"""What the OpenAPI document says, and that each answer it speaks of is given."""

from __future__ import annotations

import asyncio
import json
import socket
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import httpx
import pytest
from litestar.routes import HTTPRoute

from dockrion_events import EVENT_CLASSES
from dockrion_events.events import CONFIGURABLE, MANDATORY, CustomEvent

from ..servers import RedisServer
from .conftest import DEADLINE, Document, Live, Serve

EVERYTHING: dict[str, Any] = {
    "streaming": {"async_runs": True},
    "expose": {"protocols": ["a2a"], "streaming": ["sse", "websocket"]},
}


def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def test_every_route_is_described(serve: Serve) -> None:
    live = serve(echo, **EVERYTHING)
    document = Document(live)
    served = {
        (method.lower(), route.path_format)
        for route in live.server.config.app.routes  # type: ignore[union-attr]
        if isinstance(route, HTTPRoute) and not route.path_format.startswith(("/docs", "/playground"))
        for method in route.methods - {"OPTIONS", "HEAD"}
    }
    served.remove(("get", "/"))  # the playground
    described = {(method, path) for path, item in document.content["paths"].items() for method in item}
    assert described == served
    for method, path in described:
        operation = document.operation(method, path)
        assert operation["summary"]
        assert operation["responses"]["500"]
        assert all(answer["description"] for answer in operation["responses"].values())
    assert "security" not in document.content


def test_the_security_scheme_is_the_dockfiles(serve: Serve) -> None:
    live = serve(
        echo,
        env={"DOCKRION_API_KEY": "a-key"},
        auth={"mode": "api_key", "api_keys": {"header": "X-Token", "allow_bearer": False}},
        **EVERYTHING,
    )
    document = Document(live, {"X-Token": "a-key"})
    assert document.content["components"]["securitySchemes"] == {
        "apiKey": {"type": "apiKey", "name": "X-Token", "in": "header"}
    }
    assert document.content["security"] == [{"apiKey": []}]
    for path, item in document.content["paths"].items():
        for operation in item.values():
            unguarded = path in ("/health", "/ready", "/.well-known/agent-card.json")
            assert (operation.get("security") == []) == unguarded
            assert ("401" not in operation["responses"]) == unguarded
    document.holds(live.post("/invoke"), "/invoke", 401, "UNAUTHORIZED")


def test_every_event_has_a_schema_made_of_its_struct(serve: Serve) -> None:
    schemas = Document(serve(echo)).content["components"]["schemas"]
    for name, cls in {**EVENT_CLASSES, "custom": CustomEvent}.items():
        schema = schemas[cls.__name__]
        assert set(schema["properties"]) >= set(cls.__struct_fields__) - {"sequence"}
        assert ("Mandatory." in schema["description"]) == (name in MANDATORY)
        assert ("Configurable:" in schema["description"]) == (name in CONFIGURABLE)
        assert ("sequence" in schema["properties"]) == (name not in ("heartbeat", "gap"))
    both = [{option["$ref"].rpartition("/")[2] for option in schemas[name]["anyOf"]} for name in
            ("StreamEvent", "RunEvent")]  # fmt: skip
    assert both[1] == {cls.__name__ for cls in EVENT_CLASSES.values()} | {"CustomEvent"}
    assert both[1] - both[0] == {"RestartedEvent", "GapEvent"}


def test_streams_are_event_streams_of_described_events(serve: Serve) -> None:
    document = Document(serve(echo, **EVERYTHING))
    for method, path, frame in [
        ("post", "/invoke/stream", "StreamFrame"),
        ("get", "/runs/{run_id}/events", "RunFrame"),
    ]:
        content = document.operation(method, path)["responses"]["200"]["content"]
        assert content == {"text/event-stream": {"schema": {"$ref": f"#/components/schemas/{frame}"}}}


def test_the_body_is_the_agents_input(serve: Serve) -> None:
    schema = {
        "$defs": {"leaf": {"enum": ["a", None]}, "tree": {"items": {"$ref": "#/$defs/tree"}}},
        "properties": {"leaf": {"$ref": "#/$defs/leaf"}, "tree": {"$ref": "#/$defs/tree"}},
        "default": None,
    }
    document = Document(serve(echo, io_schema={"input": schema, "output": {"required": ["leaf"]}}))
    payload = {"$ref": "#/components/schemas/Payload"}
    body = document.operation("post", "/invoke")["requestBody"]
    assert body["required"]
    assert body["content"]["application/json"]["schema"] == payload
    described = document.content["components"]["schemas"]["Payload"]
    assert described["default"] is None, "a null of the schema's own is kept"
    document.validate(payload, {"leaf": None, "tree": [[], [[]]]})
    for refused in ([], {"leaf": "b"}):
        with pytest.raises(Exception, match="is not"):
            document.validate(payload, refused)
    assert "422" in document.operation("post", "/invoke")["responses"]
    unchecked = Document(serve(SimpleNamespace(invoke=echo), framework="object"))
    assert "422" not in unchecked.operation("post", "/invoke")["responses"]


def test_runs_that_clients_may_not_name_have_no_such_parameter(serve: Serve) -> None:
    live = serve(echo, streaming={"async_runs": True, "allow_client_ids": False})
    document = Document(live)
    parameters = document.operation("post", "/runs")["parameters"]
    assert "run_id" not in {parameter["name"] for parameter in parameters}
    document.holds(live.post("/runs?run_id=mine"), "/runs", 400, "RUN_ID_NOT_ALLOWED")


# -- what schemathesis cannot bring about -----------------------------------------------------------


def test_failures_of_the_agent(serve: Serve) -> None:
    async def fail(payload: dict[str, Any]) -> Any:
        if "sleep" in payload:
            await asyncio.sleep(DEADLINE)
        if "large" in payload:
            return "x" * 2000
        raise ValueError("no")

    live = serve(fail, streaming={"events": {"max_run_duration": 0.1, "max_event_bytes": 1000}})
    document = Document(live)
    for payload, status, code in [
        ({}, 500, "AGENT_ERROR"),
        ({"large": 1}, 500, "OUTPUT_TOO_LARGE"),
        ({"sleep": 1}, 504, "RUN_TIMEOUT"),
    ]:
        document.holds(live.post("/invoke", payload), "/invoke", status, code)


def test_limits_of_the_server(serve: Serve) -> None:
    async def wait(payload: dict[str, Any]) -> None:
        await asyncio.Event().wait()

    live = serve(
        wait,
        expose={"max_concurrent": 1, "max_body_bytes": 100},
        streaming={"async_runs": True, "connection": {"max_subscribers_per_run": 1}},
    )
    document = Document(live)
    paths = ("/invoke", "/invoke/stream", "/runs")
    with live.stream() as events:
        next(events)
        for path in paths[:2]:
            document.holds(live.post(path), path, 503, "OVERLOADED")
    live.until(lambda: live.service.active == 0)
    for path in paths:
        document.holds(live.post(path, {"text": "x" * 100}), path, 413, "BODY_TOO_LARGE")
    live.post("/runs?run_id=one")
    document.holds(live.post("/runs?run_id=one", {"a": 1}), "/runs", 409, "RUN_EXISTS")
    followed = "/runs/{run_id}/events"
    with live.client() as client, client.stream("GET", "/runs/one/events"):
        document.holds(live.get("/runs/one/events"), followed, 429, "TOO_MANY_SUBSCRIBERS")
    with live.client() as client:
        document.holds(client.delete("/runs/one"), "/runs/{run_id}", 200)
    seen = live.get("/runs/one").json()["last_sequence"]
    document.holds(live.get("/runs/one/events", headers={"Last-Event-ID": str(seen)}), followed, 204)
    hasty = serve(wait, expose={"limits": {"body_seconds": 0.1}})
    assert _unfinished(hasty) == ("408", "BODY_TIMEOUT")
    assert "408" in document.operation("post", "/invoke")["responses"]
    live.service.draining = True
    for path in paths:
        document.holds(live.post(path), path, 503, "SHUTTING_DOWN")
    document.holds(live.get("/ready"), "/ready", 503)


def test_a_run_that_has_ended_and_a_store_that_is_away(serve: Serve, redis_server: RedisServer) -> None:
    live = serve(echo, streaming={"async_runs": True, "backend": "redis", "redis": {"url": redis_server.url}})
    document = Document(live)
    run = live.post("/runs?run_id=one").json()
    live.eventually(lambda: live.get("/runs/one").json()["status"] == "completed")
    with live.client() as client:
        document.holds(client.delete("/runs/one"), "/runs/{run_id}", 409, "RUN_ENDED")
    redis_server.kill()
    asked = [("POST", "/runs"), ("GET", "/runs"), ("GET", "/runs/{run_id}"), ("GET", "/runs/{run_id}/events")]

    def refused(method: str, path: str) -> httpx.Response:
        with live.client() as client:
            body = {"json": {}} if method == "POST" else {}
            return client.request(method, path.format(run_id="other"), **body)

    with ThreadPoolExecutor() as pool:  # each waits as long as the server does for its store
        answers = list(pool.map(lambda request: refused(*request), asked))
    for (_, path), answer in zip(asked, answers, strict=True):
        document.holds(answer, path, 503, "STORE_UNAVAILABLE")
    document.holds(live.get("/ready"), "/ready", 503)
    assert run["events_url"] == "/runs/one/events"


def test_options_name_every_method_of_an_address(serve: Serve) -> None:
    live = serve(echo, **EVERYTHING)
    with live.client() as client:
        for path, allowed in [
            ("/runs", "GET, HEAD, OPTIONS, POST"),
            ("/runs/one", "DELETE, GET, HEAD, OPTIONS"),
            ("/runs/one/events", "GET, HEAD, OPTIONS"),
            ("/invoke", "OPTIONS, POST"),
        ]:
            answer = client.options(path)
            assert (answer.status_code, answer.headers["allow"]) == (204, allowed)
            wrong = client.put(path)
            assert wrong.status_code == 405
            assert set(wrong.headers["allow"].split(", ")) == set(allowed.split(", "))


def _unfinished(live: Live) -> tuple[str, str]:
    """Send less of a body than was announced; return the answer's status and code."""
    with socket.create_connection(("127.0.0.1", live.port), timeout=DEADLINE) as connection:
        connection.sendall(b"POST /invoke HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n{")
        answer = b""
        while b'"status"' not in answer:
            answer += connection.recv(1 << 16)
    return answer.split()[1].decode(), json.loads(answer.partition(b"\r\n\r\n")[2])["code"]
