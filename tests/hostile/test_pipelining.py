"""Requests without end, and answers that nobody reads."""

from __future__ import annotations

import itertools
import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from .support import AUTHORISED, MIB, Target, Watch, request, send, until

LIST_TASKS = json.dumps({"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}).encode()

REQUESTS = {
    "the shortest that there is": b"GET /\r\n\r\n",
    "health": request("GET", "/health"),
    "metrics": request("GET", "/metrics", *AUTHORISED),
    "an asset": request("GET", "/docs"),
    "nothing there": request("GET", "/none"),
    "a body": request("POST", "/invoke", body=json.dumps({"text": "x" * 5000}).encode()),
    "an output": request("POST", "/invoke", *AUTHORISED, body=b'{"output": 100000}'),
    "A2A": request("POST", "/a2a", "A2A-Version: 1.0", body=LIST_TASKS),
    "A2A with a key": request("POST", "/a2a", "A2A-Version: 1.0", *AUTHORISED, body=LIST_TASKS),
    "a stream": request("POST", "/invoke/stream", *AUTHORISED, body=b'{"tokens": 3}'),
    "headers": request("GET", "/health", *(f"X-{number}: {'x' * 100}" for number in range(90))),
}


def unread(target: Target, one: bytes, total: int) -> socket.socket:
    """Send requests as long as the server takes any, and read nothing."""
    client = target.connect(receive_buffer=4096)
    batch = one * max(1, 65536 // len(one))
    send(client, itertools.repeat(batch, total // len(batch) + 1), 0.5)
    return client


@pytest.mark.parametrize("kind", REQUESTS)
def test_unread_answers_stop_the_requests(target: Target, kind: str) -> None:
    with Watch(target) as watch:
        client = unread(target, REQUESTS[kind], 4 * MIB)
    client.close()
    watch.check(growth=8 * MIB)


def test_many_clients_that_read_nothing(locked: Target) -> None:
    batch = REQUESTS["health"] * 2000
    with Watch(locked) as watch:
        clients = [locked.connect(receive_buffer=4096) for _ in range(300)]
        for client in clients:
            send(client, batch, 0.01)
    for client in clients:
        client.close()
    watch.check()


LONG = "x" * 60_000
ASSET = "/docs/assets/swagger-ui-bundle.js"
HEADS = {
    "a name": request("GET", ASSET, f"{LONG}: 1"),
    "a value": request("GET", ASSET, f"X: {LONG}"),
    "a query": request("GET", f"{ASSET}?{LONG}"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_the_heads_of_many_clients_that_read_nothing_are_not_kept(unlocked: Target, kind: str) -> None:
    """The answers are large enough to fill what the kernel keeps for a client."""
    batch = HEADS[kind] * 12
    before = unlocked.metric("dockrion_connections_refused_total", reason="buffered")
    with Watch(unlocked) as watch:
        clients = [unlocked.connect(receive_buffer=4096) for _ in range(250)]
        sent = [0] * len(clients)

        def refused() -> bool:
            for number, client in enumerate(clients):
                sent[number] += send(client, batch[sent[number] : sent[number] + 65536], 0)
            return unlocked.metric("dockrion_connections_refused_total", reason="buffered") > before

        until(refused)
    for client in clients:
        client.close()
    watch.check(latency=2.0, held=0.2)  # the kernel copies the answers, of over a mebibyte each


def bodies(client: socket.socket) -> Iterator[Any]:
    file = client.makefile("rb")
    while True:
        told = b"".join(iter(file.readline, b"\r\n")).decode().lower()
        length = re.search(r"content-length: (\d+)", told)
        assert length is not None, told
        yield json.loads(file.read(int(length[1])))


def test_all_that_is_asked_is_answered_in_order(unlocked: Target) -> None:
    count = 500
    asked = b"".join(
        request("POST", "/invoke", body=json.dumps({"output": number}).encode()) for number in range(count)
    )
    client = unlocked.connect()
    client.sendall(asked + request("GET", "/none"))
    answers = bodies(client)
    for number in range(count):
        assert next(answers)["output"] == {"said": "y" * number}
    assert next(answers)["code"] == "NOT_FOUND"


def test_a_reader_that_leaves_is_noticed_with_requests_behind_it(unlocked: Target) -> None:
    client = unlocked.connect()
    client.sendall(request("POST", "/invoke/stream", body=b'{"hang": true}'))
    assert client.recv(1000).startswith(b"HTTP/1.1 200")
    for _ in range(5):
        client.sendall(request("GET", "/health"))
    assert unlocked.metric("dockrion_executions_active", kind="stream") == 1
    client.close()
    until(lambda: unlocked.metric("dockrion_executions_active", kind="stream") == 0)
