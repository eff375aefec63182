"""Clients that break the protocol, or half of the connection: its own error, and nothing is left of them."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from websockets.frames import Frame, Opcode

from .a2a_client import EXPOSE
from .conftest import DEADLINE, Live, Serve, Store

EVERYTHING = {"expose": {**EXPOSE, "streaming": ["sse", "websocket"]}}
ENDLESS = {"tokens": 1_000_000, "pause": 0.01}


async def talk(payload: dict[str, Any], context: Any) -> None:
    for number in range(payload.get("tokens", 1)):
        await context.emit_token(f"t{number}" + "x" * payload.get("size", 0))
        await asyncio.sleep(payload.get("pause", 0))


@pytest.fixture
def live(serve: Serve) -> Live:
    return serve(talk, streaming={"async_runs": True}, **EVERYTHING)


def impatient(serve: Serve, agent: Any = talk, **limits: float) -> Live:
    """Serve with limits that are reached within the time of a test."""
    return serve(agent, streaming={"async_runs": True}, expose={**EVERYTHING["expose"], "limits": limits})


def tasks(live: Live) -> int:
    async def count() -> int:
        return len(asyncio.all_tasks())

    return asyncio.run_coroutine_threadsafe(count(), live.loop).result(DEADLINE)


@contextmanager
def leaving_nothing(live: Live) -> Iterator[None]:
    """In the end there is no connection, execution, subscriber or task that was not there before."""
    live.get("/health")
    live.until(lambda: not live.server.server_state.connections)
    before = tasks(live)
    yield
    live.until(lambda: live.service.active == 0)
    live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)
    live.until(lambda: not live.server.server_state.connections)
    live.until(lambda: len(asyncio.all_tasks()) <= before)


@contextmanager
def connected(live: Live, request: bytes, answer: bytes) -> Iterator[socket.socket]:
    """Send a request and read the beginning of its answer."""
    with closing(socket.create_connection(("127.0.0.1", live.port), timeout=DEADLINE)) as client:
        client.sendall(request)
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += client.recv(1)
        assert head.startswith(b"HTTP/1.1 " + answer), head
        yield client


def opening(path: str) -> bytes:
    return (
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()


def posting(path: str, body: bytes, length: int | None = None) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nA2A-Version: 1.0\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    )
    return head.encode() + body


def text(message: Any) -> bytes:
    return Frame(Opcode.TEXT, json.dumps(message).encode()).serialize(mask=True)


def frames(client: socket.socket) -> Iterator[tuple[int, bytes]]:
    """Yield opcode and payload of the frames that come, to the end of the connection."""
    with client.makefile("rb") as file:
        while head := file.read(2):
            length = head[1]
            if length >= 126:
                length = int.from_bytes(file.read(2 if length == 126 else 8))
            yield head[0] & 0x0F, file.read(length)


def close_code(client: socket.socket) -> int:
    for opcode, payload in frames(client):
        if opcode == Opcode.CLOSE:
            return int.from_bytes(payload[:2])
    raise AssertionError("the connection ended without a close frame")


def running(live: Live) -> str:
    """Make a run that goes on and on; it is cancelled when the server ends."""
    run_id: str = live.post("/runs", ENDLESS).json()["run_id"]
    live.eventually(lambda: live.get(f"/runs/{run_id}").json()["status"] == "running")
    return run_id


# -- WebSocket -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(b"\x81\x02{}", 1002, id="not masked"),
        pytest.param(b"\x83\x80\0\0\0\0", 1002, id="unknown opcode"),
        pytest.param(b"\xc1\x80\0\0\0\0", 1002, id="reserved bit"),
        pytest.param(b"\x80\x80\0\0\0\0", 1002, id="continuation of nothing"),
        pytest.param(b"\x89\xfe\x00\x7e\0\0\0\0" + b"x" * 126, 1002, id="large ping"),
        pytest.param(b"\x81\x82\0\0\0\0\xff\xfe", 1007, id="no UTF-8"),
    ],
)
@pytest.mark.parametrize("path", ["/invoke/ws", "/runs/{}/ws"])
def test_a_malformed_frame_closes_the_socket_with_its_code(
    live: Live, path: str, sent: bytes, code: int
) -> None:
    run_id = running(live) if "{}" in path else ""
    with leaving_nothing(live), connected(live, opening(path.format(run_id)), b"101") as client:
        if not run_id:
            client.sendall(text({"payload": ENDLESS}))
        assert next(frames(client))[0] == Opcode.TEXT
        client.sendall(sent)
        assert close_code(client) == code


@pytest.mark.parametrize("path", ["/invoke/ws", "/runs/{}/ws"])
def test_a_half_closed_socket_is_a_reader_that_left(live: Live, path: str) -> None:
    run_id = running(live) if "{}" in path else ""
    with leaving_nothing(live), connected(live, opening(path.format(run_id)), b"101") as client:
        if not run_id:
            client.sendall(text({"payload": ENDLESS}))
        assert next(frames(client))[0] == Opcode.TEXT
        client.shutdown(socket.SHUT_WR)
        list(frames(client))  # the server ends its half, too
    if run_id:
        assert live.get(f"/runs/{run_id}").json()["status"] == "running"


@pytest.mark.parametrize("path", ["/invoke/ws", "/runs/{}/ws"])
def test_a_client_that_answers_no_ping_is_closed(serve: Serve, path: str) -> None:
    live = impatient(serve, ping_seconds=0.2)
    run_id = running(live) if "{}" in path else ""
    with leaving_nothing(live), connected(live, opening(path.format(run_id)), b"101") as client:
        if not run_id:
            client.sendall(text({"payload": ENDLESS}))
        assert close_code(client) == 1011
    assert live.service.edge.refused["silent"] == 1


@pytest.mark.parametrize("path", ["/invoke/ws", "/runs/{}/ws"])
def test_a_client_that_reads_nothing_is_dropped(serve: Serve, path: str) -> None:
    live = impatient(serve, unread_seconds=0.5)
    large = {**ENDLESS, "pause": 0, "size": 1000}
    run_id = live.post("/runs", large).json()["run_id"] if "{}" in path else ""
    with connected(live, opening(path.format(run_id)), b"101") as client:
        if not run_id:
            client.sendall(text({"payload": large}))
        live.until(lambda: live.service.active == 0)
        live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)
        live.until(lambda: not live.server.server_state.connections)


def test_what_a_silent_client_does_not_take_keeps_no_socket_open(serve: Serve) -> None:
    """Nothing is being sent: only its pings tell that the client is gone, and something is still buffered."""
    stuck = threading.Event()

    async def until_stuck(payload: dict[str, Any], context: Any) -> None:
        connections: Any = live.server.server_state.connections
        while not any(one.transport.get_write_buffer_size() for one in connections):
            await context.emit_token("x" * 50_000)  # less than what makes a sender wait
            await asyncio.sleep(0.001)
        stuck.set()
        await asyncio.Event().wait()

    live = impatient(serve, until_stuck, unread_seconds=0.5, ping_seconds=1.0)
    with connected(live, opening("/invoke/ws"), b"101") as client:
        client.sendall(text({"payload": {}}))
        assert stuck.wait(DEADLINE)
        live.until(lambda: live.service.active == 0)
        live.until(lambda: not live.server.server_state.connections)


def test_a_request_that_is_no_handshake_is_refused(live: Live) -> None:
    for path in ("/invoke/ws", "/runs/x/ws"):
        answer = live.get(path)
        assert answer.status_code in (404, 405, 426)
        assert answer.headers["content-type"] == "application/problem+json"
    with leaving_nothing(live), connected(live, opening("/invoke/sw"), b"403"):
        pass


# -- A2A -------------------------------------------------------------------------------------------


def calling(method: Any, params: Any = None) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}).encode()


MESSAGE = {"message": {"messageId": "m", "role": "ROLE_USER", "parts": [{"data": ENDLESS}]}}


def test_a_half_closed_stream_is_a_reader_that_left(live: Live) -> None:
    body = calling("SendStreamingMessage", MESSAGE)
    with leaving_nothing(live):
        with connected(live, posting("/a2a", body), b"200") as client:
            assert b"data: " in client.recv(1000)
            client.shutdown(socket.SHUT_WR)
            while client.recv(1 << 16):
                pass
        live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)
        [run] = live.get("/runs").json()["runs"]
        assert run["status"] == "running"
        with live.client() as client:
            assert client.delete(f"/runs/{run['run_id']}").status_code == 200


def test_a_body_that_is_cut_does_nothing(live: Live) -> None:
    body = calling("SendMessage", MESSAGE)
    with leaving_nothing(live):
        with closing(socket.create_connection(("127.0.0.1", live.port), timeout=DEADLINE)) as client:
            client.sendall(posting("/a2a", body, length=2 * len(body)))
            client.shutdown(socket.SHUT_WR)
            assert b"200 OK" not in client.recv(1 << 16)
    assert live.get("/runs").json()["runs"] == []


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (calling("SendStreamingMessage"), -32602),
        (calling("SendStreamingMessage", {"message": 5}), -32602),
        (calling("SendStreamingMessage", {"message": {"messageId": "m", "parts": [{"what": 1}]}}), -32602),
        (calling("ListTasks", {"pageSize": "many"}), -32602),
        (calling("CancelTask"), -32602),
        (calling("SubscribeToNothing"), -32601),
        (calling(5), -32600),
    ],
)
def test_a_malformed_call_is_the_protocols_error_and_no_stream(live: Live, body: bytes, code: int) -> None:
    with leaving_nothing(live), live.client(headers={"A2A-Version": "1.0"}) as client:
        answer = client.post("/a2a", content=body)
        assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")
        assert answer.json()["error"]["code"] == code
    assert live.get("/runs").json()["runs"] == []


def test_a_version_that_is_not_spoken_is_told(live: Live) -> None:
    with live.client(headers={"A2A-Version": "7.0"}) as client:
        error = client.post("/a2a", content=calling("GetTask", {"id": "x"})).json()["error"]
    assert error["code"] == -32009


def test_a_store_that_is_away_is_told_by_each_protocol(serve: Serve, redis_server: Any) -> None:
    streaming = {"async_runs": True, **Store("redis", {"url": redis_server.url}).streaming()}
    live = serve(talk, streaming=streaming, **EVERYTHING)
    run_id = live.post("/runs").json()["run_id"]
    redis_server.kill()
    with live.client(headers={"A2A-Version": "1.0"}) as client:
        for call in (calling("GetTask", {"id": run_id}), calling("ListTasks")):
            error = client.post("/a2a", content=call).json()["error"]
            assert error["code"] == -32603
            assert "STORE_UNAVAILABLE" in json.dumps(error)
            assert str(redis_server.port) not in json.dumps(error)
    with connected(live, opening(f"/runs/{run_id}/ws"), b"503"):
        pass
    redis_server.start()
