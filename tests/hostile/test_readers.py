"""Clients that do not read their answer, and clients that leave before they have it."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest

from dockrion_sdk.dockfile import Limits

from .support import MIB, Target, Watch, request, serving, until

LARGE = request("POST", "/invoke", body=b'{"output": 6000000}')


def calling(method: str, **params: object) -> bytes:
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode()
    return request("POST", "/a2a", "A2A-Version: 1.0", body=body)


DATA = {"messageId": "m", "role": "ROLE_USER", "parts": [{"data": {"output": 6_000_000}}]}

ANSWERS = {
    "JSON": LARGE,
    "JSON, and the end of the connection": LARGE.replace(b"Host:", b"Connection: close\r\nHost:"),
    "HTTP/1.0": LARGE.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "A2A": calling("SendMessage", message=DATA),
    "static files": request("GET", "/docs/assets/swagger-ui-bundle.js") * 16,
}


def test_answers_that_nobody_reads_are_dropped(tmp_path: Path) -> None:
    """All kinds at once, because each takes the deadline."""
    with serving(tmp_path, a2a=True, env={"DOCKRION_TESTED": "1"}) as target:
        before = target.rss
        clients = {}
        for kind, sent in ANSWERS.items():
            for _ in range(4):
                client = target.connect(receive_buffer=4096)
                client.sendall(sent)
                clients[client] = kind
        slow = target.connect(receive_buffer=4096)
        slow.sendall(LARGE)
        expected = 6_000_000
        got = 0
        held = 0
        began = time.monotonic()
        while time.monotonic() < began + Limits().unread_seconds + 4:
            got += len(slow.recv(8192))
            held = max(held, target.rss - before)
            time.sleep(0.05)
        assert got > 1 * MIB
        assert held > 40 * MIB  # or nothing was there to be dropped
        until(lambda: target.metric("dockrion_connections") <= 2)
        assert target.metric("dockrion_connections_refused_total", reason="unread") >= 16
        while got < expected:  # who reads slowly still gets all
            received = slow.recv(65536)
            assert received, f"the connection ended after {got} bytes"
            got += len(received)
        assert "do not read" in target.log


@pytest.mark.parametrize("how", ["closed", "half closed", "reset"])
def test_a_client_that_leaves_frees_its_place_and_stops_the_agent(tmp_path: Path, how: str) -> None:
    with serving(tmp_path, expose={"max_concurrent": 4}) as target:
        hang = request("POST", "/invoke", body=b'{"hang": true}')
        clients = [target.connect() for _ in range(4)]
        for client in clients:
            client.sendall(hang)
        until(lambda: target.metric("dockrion_executions_active", kind="invoke") == 4)
        with target.client() as http:
            assert http.post("/invoke", json={}).status_code == 503
        for client in clients:
            if how == "half closed":
                client.shutdown(1)
            else:
                if how == "reset":
                    client.setsockopt(1, 13, b"\1\0\0\0\0\0\0\0")  # SO_LINGER, 0 s
                client.close()
        left = time.monotonic()
        until(lambda: target.metric("dockrion_executions_active", kind="invoke") == 0)
        assert time.monotonic() < left + 1
        assert target.metric("dockrion_executions_total", kind="invoke", status="cancelled") == 4
        with target.client() as http:
            assert http.post("/invoke", json={}).status_code == 200
        assert "Traceback" not in target.log


def test_a_client_that_leaves_behind_its_next_request_is_noticed(unlocked: Target) -> None:
    client = unlocked.connect()
    client.sendall(request("POST", "/invoke", body=b'{"hang": true}') + request("GET", "/health"))
    until(lambda: unlocked.metric("dockrion_executions_active", kind="invoke") == 1)
    client.close()
    until(lambda: unlocked.metric("dockrion_executions_active", kind="invoke") == 0)


def test_clients_that_come_and_go_cost_nothing(locked: Target) -> None:
    with Watch(locked) as watch:
        for _ in range(1000):
            client = locked.connect()
            client.sendall(b"GET /health HT")
            client.close()
    watch.check(growth=4 * MIB)
    until(lambda: locked.metric("dockrion_connections") == 1)
