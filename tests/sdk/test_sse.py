"""Streams in web applications of one's own: the same frames from FastAPI, Starlette and Litestar."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import httpx_sse
import litestar
import pytest
import uvicorn
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.routing import Route

from dockrion_adapters import HandlerAdapter
from dockrion_sdk import EventStreamResponse, as_sse

DEADLINE = 10.0
stopped = threading.Event()


async def agent(payload: dict[str, Any], context: Any) -> str:
    try:
        if payload["tokens"] < 0:
            await context.emit_token("before")
            raise ValueError("the password is s3cret")
        for number in range(payload["tokens"]):
            await context.emit_token(f"t{number}")
            await asyncio.sleep(payload.get("pause", 0))
    finally:
        stopped.set()
    return "done"


def answer(tokens: int, pause: float = 0.0, heartbeat: float = 15.0) -> EventStreamResponse:
    payload = {"tokens": tokens, "pause": pause}
    return EventStreamResponse(HandlerAdapter(agent).invoke_stream(payload), heartbeat=heartbeat)


def fastapi() -> Any:
    app = FastAPI()
    app.get("/", response_model=None)(answer)
    return app


def starlette() -> Any:
    async def endpoint(request: Request) -> Any:
        query = request.query_params
        return answer(int(query["tokens"]), float(query.get("pause", 0)), float(query.get("heartbeat", 15)))

    return Starlette(routes=[Route("/", endpoint)])


def litestar_app() -> Any:
    @litestar.get("/")
    async def endpoint(request: litestar.Request[Any, Any, Any]) -> litestar.types.ASGIApp:
        query = request.query_params
        return answer(int(query["tokens"]), float(query.get("pause", 0)), float(query.get("heartbeat", 15)))  # type: ignore[return-value]

    return litestar.Litestar([endpoint])


@pytest.fixture(params=[fastapi, starlette, litestar_app])
def url(request: pytest.FixtureRequest) -> Iterator[str]:
    """Serve the same route by each framework in turn."""
    app: Callable[[], Any] = request.param
    stopped.clear()
    sock = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(uvicorn.Config(app(), log_config=None, lifespan="off"))
    thread = threading.Thread(target=server.run, args=([sock],), daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    server.should_exit = True
    thread.join(DEADLINE)
    assert not thread.is_alive()
    sock.close()


def test_the_frames_are_those_of_the_server(url: str) -> None:
    with (
        httpx.Client(timeout=DEADLINE) as client,
        httpx_sse.connect_sse(client, "GET", f"{url}?tokens=3") as got,
    ):
        assert got.response.headers["content-type"].startswith("text/event-stream")
        assert got.response.headers["cache-control"] == "no-cache, no-transform"
        events = [(event.event, json.loads(event.data)["sequence"]) for event in got.iter_sse()]
    assert events == [("started", 1), ("token", 2), ("token", 3), ("token", 4), ("complete", 5)]


def test_an_agent_that_fails_ends_in_an_error_event(url: str, caplog: pytest.LogCaptureFixture) -> None:
    with (
        httpx.Client(timeout=DEADLINE) as client,
        httpx_sse.connect_sse(client, "GET", f"{url}?tokens=-1") as got,
    ):
        events = [json.loads(event.data) for event in got.iter_sse()]
    assert [event["type"] for event in events] == ["started", "token", "error"]
    assert [event["sequence"] for event in events] == [1, 2, 3]
    assert events[2]["code"] == "AGENT_ERROR"
    assert events[2]["error"] == "ValueError"
    assert "s3cret" not in json.dumps(events)
    assert "s3cret" in caplog.text, "the log says why"


def test_a_reader_that_leaves_stops_the_agent(url: str) -> None:
    with (
        httpx.Client(timeout=DEADLINE) as client,
        httpx_sse.connect_sse(client, "GET", f"{url}?tokens=100000&pause=0.01") as got,
    ):
        assert next(got.iter_sse()).event == "started"
    assert stopped.wait(DEADLINE)


def test_silence_is_filled_with_comments(url: str) -> None:
    with httpx.Client(timeout=DEADLINE) as client:
        body = client.get(f"{url}?tokens=1&pause=0.3&heartbeat=0.05").text
    assert body.count(": heartbeat\n\n") >= 2


async def test_json_strings_are_framed_as_they_are() -> None:
    stream = HandlerAdapter(agent).invoke_stream({"tokens": 1}, serialize=True)
    lines = [line async for line in HandlerAdapter(agent).invoke_stream({"tokens": 1}, serialize=True)]
    frames = [frame.decode() async for frame in as_sse(stream)]
    assert [frame.split("\n")[0] for frame in frames] == ["event: started", "event: token", "event: complete"]
    assert all(frame.endswith("}\n\n") for frame in frames)
    assert json.loads(frames[1].split("data: ")[1])["content"] == json.loads(lines[1])["content"]


@pytest.mark.parametrize("serialize", [False, True])
async def test_a_failure_follows_the_last_event(serialize: bool) -> None:
    async def failing() -> Any:
        async for event in HandlerAdapter(agent).invoke_stream({"tokens": 1}, serialize=serialize):
            yield event
        raise OSError("after its end")

    sent = await _sent(EventStreamResponse(failing()))
    assert sent.count("event: complete") == 1
    assert "event: error" not in sent, "a stream has one terminal event"

    async def lost() -> Any:
        async for event in HandlerAdapter(agent).invoke_stream({"tokens": 2}, serialize=serialize):
            yield event
            if "token" in str(event).lower():
                raise OSError("in its middle")

    frame = (await _sent(EventStreamResponse(lost()))).strip().split("\n\n")[-1]
    kind, data = frame.split("\n")
    last = json.loads(data.removeprefix("data: "))
    assert (kind, last["error"], last["sequence"]) == ("event: error", "OSError", 3)


async def test_a_group_with_a_cancellation_in_it_is_a_failure_too() -> None:
    async def failing() -> Any:
        async for event in HandlerAdapter(agent).invoke_stream({"tokens": 1}):
            yield event
            raise BaseExceptionGroup("several", [asyncio.CancelledError(), OSError("lost")])

    data = (await _sent(EventStreamResponse(failing()))).strip().split("data: ")[-1]
    assert json.loads(data)["details"] == {"exception": "BaseExceptionGroup"}


async def _sent(response: Any) -> str:
    body = b""

    async def receive() -> Any:
        await asyncio.Event().wait()

    async def send(message: dict[str, Any]) -> None:
        nonlocal body
        body += message.get("body", b"")

    await response({"type": "http"}, receive, send)
    return body.decode()
