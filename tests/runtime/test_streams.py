"""``POST /invoke/stream``: one execution, live, to one reader."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from dockrion_events import RunCancelled, get_current_context

from .conftest import DEADLINE, Serve


class Gate:
    """Lets an agent go on only when the test says so, and tells the test how far it is."""

    def __init__(self) -> None:
        self.go = threading.Event()
        self.left = threading.Event()

    def pass_through(self) -> None:
        assert self.go.wait(DEADLINE)
        self.left.set()

    async def apass_through(self) -> None:
        await asyncio.to_thread(self.pass_through)


def forms(gate: Gate) -> dict[str, Any]:
    def sync(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        context.sync_emit_token("first")
        gate.pass_through()
        context.sync_emit_token("second")
        return {"text": "firstsecond"}

    async def asynchronous(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        await context.emit_token("first")
        await gate.apass_through()
        await context.emit_token("second")
        return {"text": "firstsecond"}

    def generator(payload: dict[str, Any]) -> Iterator[str]:
        yield "first"
        gate.pass_through()
        yield "second"

    async def asynchronous_generator(payload: dict[str, Any]) -> AsyncIterator[str]:
        yield "first"
        await gate.apass_through()
        yield "second"

    return {f.__name__: f for f in (sync, asynchronous, generator, asynchronous_generator)}


@pytest.mark.parametrize("form", ["sync", "asynchronous", "generator", "asynchronous_generator"])
def test_events_arrive_while_the_handler_runs(serve: Serve, form: str) -> None:
    gate = Gate()
    live = serve(forms(gate)[form])
    with live.stream() as events:
        assert next(events)["type"] == "started"
        first = next(events)
        assert (first["type"], first["content"]) == ("token", "first")
        assert not gate.left.is_set()  # received before the handler may go on
        assert live.get("/health").status_code == 200
        gate.go.set()
        second, complete = list(events)
    assert second["content"] == "second"
    assert complete["output"] == {"text": "firstsecond"}
    assert [first["sequence"], second["sequence"], complete["sequence"]] == [2, 3, 4]
    assert {event["request_id"] for event in (first, second, complete)} == {first["request_id"]}


def test_the_frames_and_headers_are_what_the_standard_wants(serve: Serve) -> None:
    async def speak(payload: dict[str, Any], context: Any) -> str:
        await context.emit("note", text="a\r\nb\u2028c")
        return "done"

    live = serve(speak)
    with live.client() as client, client.stream("POST", "/invoke/stream", json={}) as answer:
        body = answer.read()
    assert answer.headers["content-type"] == "text/event-stream"
    assert answer.headers["cache-control"] == "no-cache, no-transform"
    assert answer.headers["x-accel-buffering"] == "no"
    assert answer.headers["connection"] == "keep-alive"
    assert b"\r" not in body
    frames = body.decode().split("\n\n")
    assert frames[-1] == ""
    assert [frame.split("\n")[0] for frame in frames[:-1]] == [
        "event: started",
        "event: custom:note",
        "event: complete",
    ]
    for number, frame in enumerate(frames[:-1], 1):
        name, data = frame.split("\n")
        event = json.loads(data.removeprefix("data: "))
        assert event["type"] == name.removeprefix("event: ")
        assert event["sequence"] == number
        assert event["request_id"] == answer.headers["x-request-id"]


def test_only_allowed_events_leave(serve: Serve) -> None:
    async def chatty(payload: dict[str, Any], context: Any) -> None:
        await context.emit_token("t")
        await context.emit_progress("p", 0.5)
        await context.checkpoint("c", {})
        await context.emit_step("s")
        await context.emit("fraud_check", score=1)
        await context.emit("analytics")

    def types(allowed: Any) -> list[str]:
        live = serve(chatty, streaming={"events": {"allowed": allowed}})
        return [event["type"] for event in live.events()[1:-1]]

    assert types("minimal") == types([]) == []
    assert types("chat") == ["token", "step"]
    assert types("debug") == types(None)
    assert types(["token", "custom:fraud_check"]) == ["token", "custom:fraud_check"]
    assert types(["custom"]) == ["custom:fraud_check", "custom:analytics"]


def test_a_failing_agent_ends_in_one_error_event(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    async def broken(payload: dict[str, Any], context: Any) -> None:
        await context.emit_token("before")
        raise LookupError("nothing there")

    with caplog.at_level(logging.ERROR, logger="dockrion"):
        events = serve(broken, expose={"errors": "full"}).events()
    assert [event["type"] for event in events] == ["started", "token", "error"]
    error = events[-1]
    assert error["code"] == "AGENT_ERROR"
    assert error["error"] == "LookupError: nothing there"
    assert error["sequence"] == 3
    assert "Traceback" not in json.dumps(events)
    logged = next(r.getMessage() for r in caplog.records if error["request_id"] in r.getMessage())
    assert "Traceback" in logged


@pytest.mark.parametrize("raised", [SystemExit(3), KeyboardInterrupt(), asyncio.CancelledError()])
def test_whatever_an_agent_raises_the_stream_ends_and_the_server_lives(
    serve: Serve, raised: BaseException
) -> None:
    def rude(payload: dict[str, Any]) -> None:
        raise raised

    live = serve(rude)
    assert [event["type"] for event in live.events()] == ["started", "error"]
    assert live.get("/health").status_code == 200
    assert live.service.active == 0


def test_the_time_limit_is_an_error_event(serve: Serve) -> None:
    stopped = threading.Event()

    async def endless(payload: dict[str, Any], context: Any) -> None:
        await context.emit_token("begun")
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    events = serve(endless, streaming={"events": {"max_run_duration": 0.2}}).events()
    assert [event["type"] for event in events] == ["started", "token", "error"]
    assert events[-1]["code"] == "RUN_TIMEOUT"
    assert stopped.wait(DEADLINE)


def test_an_adapter_with_only_invoke_gives_started_and_complete(serve: Serve) -> None:
    live = serve(lambda payload: None)
    assert [event["type"] for event in live.events()] == ["started", "complete"]
    only = serve(f"{__name__}:InvokeOnly")
    events = only.events({"a": 1})
    assert [event["type"] for event in events] == ["started", "complete"]
    assert events[-1]["output"] == {"invoked": {"a": 1}}
    assert events[0]["framework"] == "bare"


class InvokeOnly:
    """The least that is an adapter."""

    framework = "bare"
    agent_name = "bare"

    def load(self, target: Any) -> None:
        pass

    def invoke(self, payload: Any, *, config: Any = None, context: Any = None) -> Any:
        return {"invoked": payload}


def test_an_agent_cannot_end_the_stream_itself(serve: Serve) -> None:
    async def meddling(payload: dict[str, Any], context: Any) -> str:
        with pytest.warns(UserWarning, match=r"emit_complete\(\) was ignored"):
            await context.emit_complete({"mine": True}, 0.1)
        with pytest.warns(UserWarning, match=r"emit_started\(\) was ignored"):
            await context.emit_started("me")
        return "ours"

    events = serve(meddling).events()
    assert [event["type"] for event in events] == ["started", "complete"]
    assert events[-1]["output"] == "ours"


def test_silence_is_filled_with_heartbeats_outside_the_numbering(serve: Serve) -> None:
    gate = Gate()

    async def slow(payload: dict[str, Any], context: Any) -> None:
        await gate.apass_through()
        await context.emit_token("late")

    live = serve(slow, streaming={"events": {"allowed": "chat", "heartbeat_interval": 0.05}})
    with live.stream() as events:
        assert next(events)["type"] == "started"
        for _ in range(3):
            beat = next(events)
            assert beat["type"] == "heartbeat"
            assert "sequence" not in beat
            assert beat["request_id"]
        gate.go.set()
        rest = [event for event in events if event["type"] != "heartbeat"]
    assert [(event["type"], event["sequence"]) for event in rest] == [("token", 2), ("complete", 3)]


def test_where_the_filter_has_no_heartbeat_a_comment_fills_the_silence(serve: Serve) -> None:
    gate = Gate()

    async def slow(payload: dict[str, Any]) -> None:
        await gate.apass_through()

    live = serve(slow, streaming={"events": {"allowed": "minimal", "heartbeat_interval": 0.05}})
    with live.client() as client, client.stream("POST", "/invoke/stream", json={}) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: started"
        assert next(line for line in lines if line.startswith(":")) == ": heartbeat"
        gate.go.set()
        assert "event: complete" in list(lines)


def test_emit_heartbeat_reaches_the_reader_now(serve: Serve) -> None:
    gate = Gate()

    async def beating(payload: dict[str, Any], context: Any) -> None:
        await context.emit_heartbeat()
        await gate.apass_through()

    with serve(beating).stream() as events:
        seen = [next(events)["type"], next(events)["type"]]
        gate.go.set()
        seen += [event["type"] for event in events]
    assert seen == ["started", "heartbeat", "complete"]


def test_a_hundred_streams_with_emitters_everywhere_are_each_contiguous(serve: Serve) -> None:
    async def scattered(payload: dict[str, Any], context: Any) -> int:
        def bare() -> None:
            for i in range(10):
                context.sync_emit("bare", i=i)

        def through_context() -> None:
            current = get_current_context()
            assert current is context
            for i in range(10):
                current.sync_emit_progress("thread", i / 10)

        async def task() -> None:
            for _ in range(10):
                await context.emit_token("t")
                await asyncio.sleep(0)

        thread = threading.Thread(target=bare)
        thread.start()
        await asyncio.gather(asyncio.to_thread(through_context), task(), task())
        await asyncio.to_thread(thread.join)
        return int(payload["n"])

    live = serve(scattered)

    def one(n: int) -> list[dict[str, Any]]:
        return live.events({"n": n})

    with ThreadPoolExecutor(100) as pool:
        streams = list(pool.map(one, range(100)))
    for n, events in enumerate(streams):
        assert [event["sequence"] for event in events] == list(range(1, 43))
        assert events[0]["type"] == "started"
        assert events[-1]["type"] == "complete"
        assert events[-1]["output"] == n
        assert len({event["request_id"] for event in events}) == 1
        assert [e["data"]["i"] for e in events if e["type"] == "custom:bare"] == list(range(10))
    assert live.service.active == 0


# -- readers that leave or stop reading --------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1_000_000])  # reading stops while a large body is not taken
def test_a_reader_that_leaves_stops_an_asynchronous_agent(serve: Serve, size: int) -> None:
    cancelled = threading.Event()

    async def endless(payload: dict[str, Any], context: Any) -> None:
        try:
            while True:
                await context.emit_token("x")
                await asyncio.sleep(0.001)
        except asyncio.CancelledError:
            cancelled.set()
            raise

    live = serve(endless)
    with live.stream({"text": "x" * size}) as events:
        for _ in range(10):
            next(events)
    assert cancelled.wait(1.0)
    live.until(lambda: live.service.active == 0)


def test_a_reader_that_leaves_stops_a_synchronous_agent_at_its_next_emit(serve: Serve) -> None:
    left, told = threading.Event(), threading.Event()

    def patient(payload: dict[str, Any], context: Any) -> None:
        context.sync_emit_token("x")
        assert left.wait(DEADLINE)
        try:
            context.sync_emit_token("too late")
        except RunCancelled:
            assert context.cancelled
            told.set()
            raise

    live = serve(patient)
    with live.stream() as events:
        next(events)
        next(events)
    live.until(lambda: live.service.active == 0)
    assert live.get("/info").json()["abandoned_threads"] == 1
    left.set()
    assert told.wait(DEADLINE)
    live.until(lambda: live.service.agent.pool.abandoned == 0)


def test_pouring_agents_leave_the_loop_to_others_when_the_reader_is_gone(serve: Serve) -> None:
    stopped = threading.Event()

    async def pouring(payload: dict[str, Any], context: Any) -> None:
        try:
            while True:  # never truly waits by itself
                await context.emit_token("x" * 100)
        finally:
            stopped.set()

    live = serve(pouring)
    with live.stream() as events:
        for _ in range(5000):
            next(events)
        assert live.get("/health").status_code == 200  # also while it pours
    assert stopped.wait(DEADLINE)
    live.until(lambda: live.service.active == 0)
    assert live.get("/health").status_code == 200
