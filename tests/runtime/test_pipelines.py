"""Clients that send their next request before they have the answer to the last."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from contextlib import closing
from typing import Any

import pytest

from .conftest import DEADLINE, Live, Serve

SOON = {"events": {"heartbeat_interval": 0.2}}


def request(method: str, path: str, body: bytes = b"", *headers: str) -> bytes:
    head = (f"{method} {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}", *headers)
    return "\r\n".join((*head, "", "")).encode() + body


def connected(live: Live) -> socket.socket:
    return socket.create_connection(("127.0.0.1", live.port), timeout=DEADLINE)


def answers(client: socket.socket, count: int) -> list[dict[str, Any]]:
    """Read whole answers; their header ``x-request-id`` and their body."""
    read = client.makefile("rb")
    found = []
    for _ in range(count):
        head = b"".join(iter(read.readline, b"\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", head)
        assert length is not None, head
        told = re.search(r"x-request-id: (\S+)", head)
        found.append({"id": told and told[1], **json.loads(read.read(int(length[1])))})
    return found


async def hang(payload: dict[str, Any]) -> Any:
    if payload.get("hang"):
        await asyncio.Event().wait()
    return payload


@pytest.mark.parametrize("path", ["/invoke/stream", "/runs/first/events"])
def test_a_reader_that_leaves_behind_another_request_is_noticed(serve: Serve, path: str) -> None:
    live = serve(hang, streaming={"async_runs": True, **SOON})
    live.post("/runs?run_id=first", {"hang": True})
    method = "GET" if path.startswith("/runs") else "POST"
    with closing(connected(live)) as client:
        client.sendall(request(method, path, b'{"hang": true}') + request("GET", "/health"))
        assert client.recv(1024).startswith(b"HTTP/1.1 200 OK")
        busy = live.get_info()
        assert busy["active"] + busy["runs"]["subscribers"] == 1
    live.until(lambda: live.service.active == 0)
    live.eventually(lambda: live.get_info()["runs"]["subscribers"] == 0)


@pytest.mark.parametrize("size", [0, 300_000])
def test_a_request_s_id_is_not_the_next_one_s(serve: Serve, size: int) -> None:
    live = serve(hang, streaming={"async_runs": True})
    body = json.dumps({"text": "x" * size}).encode()
    with closing(connected(live)) as client:
        client.sendall(request("POST", "/invoke", body, "X-Request-ID: mine") + request("GET", "/runs/none"))
        mine, other = answers(client, 2)
        assert (mine["id"], mine["success"]) == ("mine", True)
        assert (other["id"], other["code"]) == (None, "RUN_NOT_FOUND")
        assert "request_id" not in other


def test_answers_come_in_the_order_of_their_requests(serve: Serve) -> None:
    live = serve(hang, streaming={"async_runs": True})
    with closing(connected(live)) as client:
        for number in range(20):
            body = json.dumps({"number": number, "text": "x" * (number % 4 * 40_000)}).encode()
            client.sendall(request("POST", "/invoke", body, f"X-Request-ID: r{number}"))
        for number, answer in enumerate(answers(client, 20)):
            assert (answer["id"], answer["output"]["number"]) == (f"r{number}", number)


def test_a_stream_has_one_connection_header(serve: Serve) -> None:
    live = serve(hang)
    for asked in ("close", "keep-alive"):
        with closing(connected(live)) as client:
            client.sendall(request("POST", "/invoke/stream", b"{}", f"Connection: {asked}"))
            read = client.makefile("rb")
            head = b"".join(iter(read.readline, b"\r\n"))
        assert re.findall(rb"(?i)connection: (\S+)", head) == [asked.encode()]


def test_only_a_get_becomes_a_websocket(serve: Serve) -> None:
    live = serve(hang, expose={"streaming": ["sse", "websocket"]})
    with closing(connected(live)) as client:
        client.sendall(request("POST", "/ticket", b"", "Connection: Upgrade", "Upgrade: websocket"))
        assert client.recv(1024).startswith(b"HTTP/1.1 201 Created")
