"""The WebSocket wire, by somebody else's client."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import websockets
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from .conftest import DEADLINE, Live, Serve, Store

BOTH = {"expose": {"streaming": ["sse", "websocket"]}}


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(payload.get("tokens", 2)):
        await context.emit_token(f"{payload.get('name', 't')}{number}")
        await asyncio.sleep(payload.get("pause", 0))
    return {"said": payload.get("tokens", 2)}


def url(live: Live, path: str) -> str:
    return f"ws://127.0.0.1:{live.port}{path}"


@asynccontextmanager
async def socket(live: Live, path: str = "/invoke/ws", **options: Any) -> Any:
    async with asyncio.timeout(DEADLINE), connect(url(live, path), **options) as connection:
        yield connection


async def say(connection: ClientConnection, **message: Any) -> None:
    await connection.send(json.dumps(message))


async def hear(connection: ClientConnection) -> dict[str, Any]:
    frame: dict[str, Any] = json.loads(await connection.recv())
    return frame


async def to_the_end(connection: ClientConnection) -> list[dict[str, Any]]:
    events = []
    while not events or events[-1]["type"] not in ("complete", "error", "cancelled"):
        events.append(await hear(connection))
    return events


async def test_a_payload_is_executed_and_its_events_arrive(serve: Serve) -> None:
    live = serve(talk, **BOTH)
    async with socket(live) as connection:
        for request_id in ("first", "second"):
            await say(connection, payload={"tokens": 2}, request_id=request_id)
            events = await to_the_end(connection)
            assert [event["type"] for event in events] == ["started", "token", "token", "complete"]
            assert [event["sequence"] for event in events] == [1, 2, 3, 4]
            assert {event["request_id"] for event in events} == {request_id}
    live.until(lambda: live.service.active == 0)


async def test_frames_are_what_server_sent_events_have_as_data(serve: Serve) -> None:
    live = serve(talk, **BOTH)
    sse = live.events({"tokens": 1})
    async with socket(live) as connection:
        await say(connection, payload={"tokens": 1})
        over_socket = await to_the_end(connection)
    own = ("timestamp", "request_id", "latency_seconds")
    stripped = [
        [{key: value for key, value in event.items() if key not in own} for event in events]
        for events in (sse, over_socket)
    ]
    assert stripped[0] == stripped[1]


async def test_several_executions_share_a_socket(serve: Serve) -> None:
    live = serve(talk, **BOTH)
    async with socket(live) as connection:
        for name in "abc":
            await say(connection, payload={"tokens": 20, "name": name, "pause": 0.001}, request_id=name)
        seen: dict[str, list[dict[str, Any]]] = {name: [] for name in "abc"}
        while sum(event["type"] == "complete" for events in seen.values() for event in events) < 3:
            event = await hear(connection)
            seen[event["request_id"]].append(event)
    for name, events in seen.items():
        assert [event["sequence"] for event in events] == list(range(1, 23))
        assert [event["content"] for event in events[1:-1]] == [f"{name}{number}" for number in range(20)]


async def test_one_execution_is_cancelled_and_the_other_goes_on(serve: Serve) -> None:
    live = serve(talk, **BOTH)
    async with socket(live) as connection:
        await say(connection, payload={"tokens": 100_000, "pause": 0.01}, request_id="long")
        assert (await hear(connection))["type"] == "started"
        await say(connection, cancel="long")
        [*_, end] = await to_the_end(connection)
        assert (end["type"], end["reason"], end["request_id"]) == ("cancelled", "client", "long")
        await say(connection, payload={"tokens": 0})
        assert (await to_the_end(connection))[-1]["type"] == "complete"


async def test_a_socket_that_goes_stops_its_agents(serve: Serve) -> None:
    stopped = threading.Semaphore(0)

    async def endless(payload: dict[str, Any], context: Any) -> None:
        try:
            while True:
                await context.emit_token("on")
                await asyncio.sleep(0.005)
        finally:
            stopped.release()

    live = serve(endless, **BOTH)
    connection = await connect(url(live, "/invoke/ws"))
    for name in "ab":
        await say(connection, payload={}, request_id=name)
    for _ in range(6):
        await hear(connection)
    connection.transport.abort()
    for _ in range(2):
        assert await asyncio.to_thread(stopped.acquire, timeout=DEADLINE)
    live.until(lambda: live.service.active == 0)


@pytest.mark.parametrize(
    ("frame", "code"),
    [
        ("{", "INVALID_MESSAGE"),
        ("[]", "INVALID_MESSAGE"),
        ("{}", "INVALID_MESSAGE"),
        ('{"payload": 5}', "NOT_AN_OBJECT"),
        ('{"pay": {}}', "INVALID_MESSAGE"),
        ('{"payload": {}, "request_id": "a b"}', "INVALID_REQUEST_ID"),
        ('{"payload": {}, "thread_id": ""}', "INVALID_THREAD_ID"),
        ('{"cancel": "nothing"}', "REQUEST_NOT_FOUND"),
        ('{"payload": {"tokens": "x"}}', "INVALID_INPUT"),
    ],
)
async def test_what_is_wrong_with_a_frame_is_told(serve: Serve, frame: str, code: str) -> None:
    schema = {"input": {"properties": {"tokens": {"type": "integer"}}}}
    live = serve(talk, io_schema=schema, **BOTH)
    async with socket(live) as connection:
        await connection.send(frame)
        told = await hear(connection)
        assert (told["type"], told["problem"]["code"]) == ("problem", code)
        await say(connection, payload={"tokens": 0})
        assert (await to_the_end(connection))[-1]["type"] == "complete"
    live.until(lambda: live.service.active == 0)


async def test_a_name_is_used_once_at_a_time_and_places_are_counted(serve: Serve) -> None:
    live = serve(talk, expose={"streaming": "websocket", "max_concurrent": 1})
    async with socket(live) as connection:
        await say(connection, payload={"tokens": 1000, "pause": 0.05}, request_id="a")
        assert (await hear(connection))["type"] == "started"
        for message, code in (({"request_id": "a"}, "REQUEST_EXISTS"), ({"request_id": "b"}, "OVERLOADED")):
            await say(connection, payload={}, **message)
            while (told := await hear(connection))["type"] != "problem":
                pass
            assert (told["problem"]["code"], told["request_id"]) == (code, message["request_id"])
    assert live.post("/invoke/stream", {}).status_code == 404


async def test_frames_that_are_no_text_or_too_large_close_the_socket(serve: Serve) -> None:
    live = serve(talk, expose={"streaming": "websocket", "max_body_bytes": 1000})
    for frame, code in ((b"{}", 1003), (json.dumps({"payload": {"x": "y" * 2000}}), 1009)):
        async with socket(live) as connection:
            await connection.send(frame)
            with pytest.raises(ConnectionClosed) as closed:
                await connection.recv()
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == code


async def test_a_key_is_needed_and_a_refusal_says_why(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    env = {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}
    live = serve(talk, env=env, auth={"mode": "api_key"}, streaming={"async_runs": True}, **BOTH)
    alice, bob = {"X-API-Key": "key-of-alice"}, {"X-API-Key": "key-of-bob"}
    assert live.post("/runs?run_id=mine", {}, headers=alice).status_code == 202
    for path, headers, status in [
        ("/invoke/ws", {}, 401),
        ("/invoke/ws", {"X-API-Key": "wrong"}, 401),
        ("/invoke/ws?api_key=key-of-alice", {}, 401),
        ("/runs/mine/ws", {}, 401),
        ("/runs/mine/ws", bob, 404),
        ("/runs/absent/ws", alice, 404),
        ("/runs/mine/ws?from_sequence=x", alice, 400),
        ("/runs/mine/ws?timeout=0", alice, 400),
    ]:
        with pytest.raises(InvalidStatus) as refused:
            async with socket(live, path, additional_headers=headers):
                pass
        response = refused.value.response
        assert response.status_code == status, path
        assert json.loads(response.body or b"{}")["status"] == status
        assert response.headers["content-type"] == "application/problem+json"
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []
    async with socket(live, additional_headers=alice) as connection:
        await say(connection, payload={"tokens": 0})
        assert (await to_the_end(connection))[-1]["type"] == "complete"


async def test_a_run_is_followed_from_anywhere(serve: Serve, store: Store) -> None:
    live = serve(talk, streaming={"async_runs": True, **store.streaming()}, **BOTH)
    run_id = live.post("/runs", {"tokens": 5}).json()["run_id"]
    whole: list[str] = []
    async with socket(live, f"/runs/{run_id}/ws") as connection:
        whole += [str(frame) async for frame in connection]
    assert connection.close_code == 1000
    async with httpx.AsyncClient(timeout=DEADLINE) as client:
        body = (await client.get(f"{live.url}/runs/{run_id}/events")).text
    assert whole == [line.removeprefix("data: ") for line in body.split("\n") if line.startswith("data: ")]
    for start in range(1, 8):
        async with socket(live, f"/runs/{run_id}/ws?from_sequence={start}") as connection:
            assert [str(frame) async for frame in connection] == whole[start - 1 :]


async def test_following_ends_with_its_time_and_nothing_is_expected_of_it(serve: Serve, store: Store) -> None:
    live = serve(talk, streaming={"async_runs": True, **store.streaming()}, **BOTH)
    run_id = live.post("/runs", {"tokens": 1000, "pause": 0.05}).json()["run_id"]
    async with socket(live, f"/runs/{run_id}/ws?timeout=0.3") as connection:
        assert [json.loads(frame)["sequence"] async for frame in connection][:2] == [1, 2]
    assert connection.close_code == 1001
    async with socket(live, f"/runs/{run_id}/ws") as connection:
        await connection.send("hello")
        with pytest.raises(ConnectionClosed):
            await to_the_end(connection)
    assert connection.close_code == 1008
    live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)


async def test_silence_is_filled_with_heartbeats(serve: Serve) -> None:
    live = serve(talk, streaming={"events": {"heartbeat_interval": 0.05}, "async_runs": True}, **BOTH)
    run_id = live.post("/runs", {"tokens": 2, "pause": 0.4}).json()["run_id"]
    async with socket(live) as connection, socket(live, f"/runs/{run_id}/ws") as following:
        await say(connection, payload={"tokens": 2, "pause": 0.4})
        for one in (connection, following):
            events = await to_the_end(one)
            beats = [event for event in events if event["type"] == "heartbeat"]
            assert len(beats) >= 3
            assert not any("sequence" in beat for beat in beats)
            assert [event["sequence"] for event in events if event not in beats] == [1, 2, 3, 4]


async def test_a_server_that_ends_says_goodbye(serve: Serve) -> None:
    live = serve(talk, expose={"streaming": "websocket", "shutdown_grace": 0.2})
    async with socket(live) as connection:
        await say(connection, payload={"tokens": 100_000, "pause": 0.01})
        assert (await hear(connection))["type"] == "started"
        draining = asyncio.run_coroutine_threadsafe(live.service.drain(0.2), live.loop)
        [*_, end] = await to_the_end(connection)
        assert (end["type"], end["reason"]) == ("cancelled", "shutdown")
        with pytest.raises(websockets.ConnectionClosed):
            await connection.recv()
        assert connection.close_code == 1001
        await asyncio.wrap_future(draining)
