"""``POST /invoke``, and what is refused before an agent sees anything."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from typing import Any

import httpx
import pytest

from dockrion_events import get_current_context

from .conftest import DEADLINE, Serve


async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return {"echo": payload}


def test_the_answer_holds_the_output_and_says_who_gave_it(serve: Serve) -> None:
    answer = serve(echo).post("/invoke", {"a": [1, None, "ü"]})
    assert answer.status_code == 200
    body = answer.json()
    assert body["success"] is True
    assert body["output"] == {"echo": {"a": [1, None, "ü"]}}
    assert body["metadata"]["agent"] == "tested"
    assert body["metadata"]["framework"] == "handler"
    assert 0 <= body["metadata"]["latency_seconds"] < DEADLINE
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (b"{", "INVALID_JSON", "valid JSON"),
        (b"", "INVALID_JSON", "the body is empty; it has to be a JSON object"),
        (b" \n", "INVALID_JSON", "is empty"),
        (b"\xff\xfe", "INVALID_JSON", "not UTF-8"),
        (b"\xff", "INVALID_JSON", "valid JSON"),
        (b"[" * 100_000, "INVALID_JSON", "nested too deeply"),
        (b"[1, 2]", "NOT_AN_OBJECT", "an array"),
        (b'"text"', "NOT_AN_OBJECT", "a string"),
        (b"null", "NOT_AN_OBJECT", "null"),
        (b"7", "NOT_AN_OBJECT", "a number"),
    ],
)
@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream"])
def test_a_body_that_is_no_json_object_is_400(
    serve: Serve, body: bytes, code: str, words: str, path: str
) -> None:
    live = serve(echo)
    with live.client() as client:
        answer = client.post(path, content=body)
    assert answer.status_code == 400
    assert answer.headers["content-type"].startswith("application/problem+json")
    problem = answer.json()
    assert problem["code"] == code
    assert words in problem["detail"]
    assert problem["status"] == 400
    assert live.service.active == 0


SCHEMA = {
    "type": "object",
    "properties": {"query": {"type": "string"}, "limits": {"type": "object", "additionalProperties": False}},
    "required": ["query"],
}


@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream"])
def test_input_that_does_not_fit_is_422_with_each_path(serve: Serve, path: str) -> None:
    live = serve(echo, io_schema={"input": SCHEMA})
    problem = live.post(path, {"query": 5, "limits": {"x": 1}})
    assert problem.status_code == 422
    assert problem.json()["code"] == "INVALID_INPUT"
    assert [fault["path"] for fault in problem.json()["errors"]] == ["limits", "query"]
    assert "query" in live.post(path, {}).json()["errors"][0]["message"]
    assert live.post("/invoke", {"query": "x"}).status_code == 200


@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream"])
def test_a_body_over_the_limit_is_413_chunked_or_not(serve: Serve, path: str) -> None:
    live = serve(echo, expose={"max_body_bytes": 1000})

    def chunks() -> Any:
        for _ in range(200):
            yield b" " * 100

    for content in (b'{"a":"' + b"x" * 2000 + b'"}', chunks()):
        with live.client() as client:
            answer = client.post(path, content=content)
        assert answer.status_code == 413
        assert answer.json()["code"] == "BODY_TOO_LARGE"
        assert "1,000 bytes" in answer.json()["detail"]
    assert live.post("/invoke", {"a": "x" * 900}).status_code == 200


def test_an_agent_that_raises_is_500_without_a_traceback(
    serve: Serve, caplog: pytest.LogCaptureFixture
) -> None:
    async def broken(payload: dict[str, Any]) -> None:
        raise ValueError("no such document")

    with caplog.at_level(logging.ERROR, logger="dockrion"):
        answer = serve(broken, expose={"errors": "full"}).post("/invoke")
    assert answer.status_code == 500
    problem = answer.json()
    assert problem["code"] == "AGENT_ERROR"
    assert problem["detail"] == "ValueError: no such document"
    assert "Traceback" not in answer.text
    assert __file__ not in answer.text
    assert problem["request_id"] == answer.headers["x-request-id"]
    logged = next(r.getMessage() for r in caplog.records if problem["request_id"] in r.getMessage())
    assert "Traceback" in logged
    assert __file__ in logged


def test_an_execution_over_its_time_is_504_and_stopped(serve: Serve) -> None:
    stopped = threading.Event()

    async def endless(payload: dict[str, Any]) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    live = serve(endless, streaming={"events": {"max_run_duration": 0.1}})
    answer = live.post("/invoke")
    assert answer.status_code == 504
    assert answer.json()["code"] == "RUN_TIMEOUT"
    assert stopped.wait(DEADLINE)


def test_output_that_cannot_be_sent_says_why(serve: Serve) -> None:
    async def odd(payload: dict[str, Any]) -> Any:
        output: list[Any] = ["x" * 3000] if payload["kind"] == "large" else []
        if payload["kind"] == "cycle":
            output.append(output)
        return output

    live = serve(
        odd,
        streaming={"events": {"max_event_bytes": 2000}},
        io_schema={"output": {"type": "object"}, "strict": True},
    )
    assert live.post("/invoke", {"kind": "array"}).json()["code"] == "OUTPUT_INVALID"
    live = serve(odd, streaming={"events": {"max_event_bytes": 2000}})
    assert live.post("/invoke", {"kind": "cycle"}).json()["code"] == "NOT_SERIALISABLE"
    assert live.post("/invoke", {"kind": "large"}).json()["code"] == "OUTPUT_TOO_LARGE"
    assert live.post("/invoke", {"kind": "array"}).status_code == 200
    last = [live.events({"kind": kind})[-1] for kind in ("cycle", "large", "array")]
    assert [event.get("code") for event in last] == ["NOT_SERIALISABLE", "OUTPUT_TOO_LARGE", None]
    assert last[-1]["type"] == "complete"


def test_two_synchronous_requests_run_side_by_side_and_health_answers(serve: Serve) -> None:
    barrier = threading.Barrier(3)

    def meet(payload: dict[str, Any]) -> str:
        barrier.wait(DEADLINE)
        barrier.wait(DEADLINE)
        return "met"

    live = serve(meet)
    answers: list[httpx.Response] = []
    callers = [threading.Thread(target=lambda: answers.append(live.post("/invoke"))) for _ in range(2)]
    for caller in callers:
        caller.start()
    barrier.wait(DEADLINE)  # both are inside their handlers
    assert live.get("/health").json() == {"status": "ok"}
    barrier.wait(DEADLINE)
    for caller in callers:
        caller.join(DEADLINE)
    assert [answer.json()["output"] for answer in answers] == ["met", "met"]


def test_the_context_is_there_and_silent_without_a_stream(serve: Serve) -> None:
    async def aware(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        await context.emit_progress("half", 0.5)
        return {"same": get_current_context() is context, "run_id": context.run_id}

    answer = serve(aware).post("/invoke")
    assert answer.json()["output"] == {"same": True, "run_id": answer.headers["x-request-id"]}


def test_more_than_the_allowed_executions_are_503_and_health_still_answers(serve: Serve) -> None:
    entered = threading.Semaphore(0)
    release = threading.Event()

    def hold(payload: dict[str, Any]) -> str:
        entered.release()
        release.wait(DEADLINE)
        return "done"

    live = serve(hold, expose={"max_concurrent": 4})
    done: list[int] = []
    callers = [
        threading.Thread(target=lambda: done.append(live.post("/invoke").status_code)) for _ in range(4)
    ]
    for caller in callers:
        caller.start()
    for _ in callers:
        assert entered.acquire(timeout=DEADLINE)
    for path in ["/invoke", "/invoke/stream"] * 18:  # nearly ten times what fits
        refused = live.post(path)
        assert refused.status_code == 503
        assert refused.json()["code"] == "OVERLOADED"
        assert int(refused.headers["retry-after"]) >= 1
    assert live.get("/health").status_code == 200
    release.set()
    for caller in callers:
        caller.join(DEADLINE)
    assert done == [200] * 4
    assert live.service.active == 0
    assert live.post("/invoke").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/nowhere", 404, "NOT_FOUND"),
        ("GET", "/invoke", 405, "METHOD_NOT_ALLOWED"),
        ("DELETE", "/health", 405, "METHOD_NOT_ALLOWED"),
    ],
)
def test_wrong_routes_are_problems_too(serve: Serve, method: str, path: str, status: int, code: str) -> None:
    with serve(echo).client() as client:
        answer = client.request(method, path)
    assert answer.status_code == status
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert answer.json()["code"] == code


def test_thread_id_is_checked(serve: Serve) -> None:
    live = serve(echo)
    for good in ("a.b:c-1_", "me@example.com", "+49 170 1234567", "a/b", "Zoë 🙂", "x" * 255):
        assert live.post("/invoke", params={"thread_id": good}).status_code == 200
    for bad in ("", "x" * 256, "a\nb", "\x1b[2J", "a\u2028b", "\u202egnp", "\x7f"):
        answer = live.post("/invoke", params={"thread_id": bad})
        assert answer.status_code == 400
        assert answer.json()["code"] == "INVALID_THREAD_ID"


def test_informing_routes(serve: Serve) -> None:
    live = serve(echo, io_schema={"input": SCHEMA}, streaming={"events": {"allowed": "chat"}})
    assert live.get("/ready").json() == {"status": "ready", "agent": "tested"}
    info = live.get("/info").json()
    assert info["name"] == "tested"
    assert info["events"] == ["token", "step", "heartbeat"]
    schema = live.get("/schema").json()
    assert schema["input"] == SCHEMA
    assert set(schema["events"]) >= {"started", "token", "complete", "error"}
    page = live.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://127.0.0.1", "")
    assert "https://" not in page.text
    for asset in ("swagger-ui-bundle.js", "swagger-ui.css", "page.js"):
        assert f'"/docs/assets/{asset}"' in page.text
        assert live.get(f"/docs/assets/{asset}").status_code == 200
    described = json.loads(live.get("/docs/openapi.json").content)
    assert {"/invoke", "/invoke/stream", "/health", "/ready", "/info", "/schema"} <= set(described["paths"])


def test_switches_take_routes_away(serve: Serve) -> None:
    live = serve(echo, expose={"rest": False, "streaming": "none"})
    assert live.post("/invoke").status_code == live.post("/invoke/stream").status_code == 404
    assert live.get("/info").status_code == live.get("/schema").status_code == 404
    assert live.get("/health").status_code == 200


def test_cors_where_it_is_asked_for(serve: Serve) -> None:
    live = serve(echo, expose={"cors": {"origins": ["https://app.example"]}})
    headers = {"Origin": "https://app.example", "Access-Control-Request-Method": "POST"}
    with live.client() as client:
        allowed = client.options("/invoke", headers=headers)
        assert allowed.headers["access-control-allow-origin"] == "https://app.example"
        other = client.options("/invoke", headers={**headers, "Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers
    assert "access-control-allow-origin" not in serve(echo).get("/health", headers=headers).headers


def test_cors_headers_are_on_answers_that_could_be_written_at_once(serve: Serve) -> None:
    live = serve(echo, expose={"cors": {"origins": ["https://app.example"]}}, streaming={"async_runs": True})
    for path, status in (("/invoke", 200), ("/runs", 202)):
        answer = live.post(path, {"a": 1}, headers={"Origin": "https://app.example"})
        assert answer.status_code == status
        assert answer.headers["access-control-allow-origin"] == "https://app.example"
