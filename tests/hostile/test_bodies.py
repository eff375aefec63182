"""Bodies of clients that were not let in, or that are slow to send them."""

from __future__ import annotations

import itertools
import json

import pytest

from .support import AUTHORISED, MIB, Target, Watch, answer, ended, head, request, send

TEN_MIB = 10 * MIB - 100
LENGTH = f"Content-Length: {TEN_MIB}"

HEADS = {
    "invoke": request("POST", "/invoke", "Content-Type: application/json", LENGTH),
    "stream": request("POST", "/invoke/stream", "Content-Type: application/json", LENGTH),
    "runs": request("POST", "/runs", "Content-Type: application/json", LENGTH),
    "A2A": request("POST", "/a2a", "A2A-Version: 1.0", LENGTH),
    "health": request("GET", "/health", LENGTH),
    "nothing there": request("POST", "/none", LENGTH),
    "chunked": request("POST", "/invoke", "Transfer-Encoding: chunked"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_the_bodies_of_many_clients_are_not_kept(locked: Target, kind: str) -> None:
    part = b"x" * 65536 if kind != "chunked" else b"10000\r\n" + b"x" * 65536 + b"\r\n"
    with Watch(locked) as watch:
        clients = [locked.connect() for _ in range(200)]
        for client in clients:
            send(client, HEADS[kind] + part, 0.2)
        for _ in range(3):
            for client in clients:
                send(client, part, 0.01)
    expected = {"health": b"200", "nothing there": b"404"}.get(kind, b"401")
    for client in clients:
        assert head(client).startswith(b"HTTP/1.1 " + expected)
        client.close()
    watch.check(growth=24 * MIB)


def test_tiny_chunks_of_many_clients_hold_nobody_up(locked: Target) -> None:
    tiny = HEADS["chunked"] + b"1\r\nx\r\n" * 10_000
    with Watch(locked) as watch:
        clients = [locked.connect() for _ in range(200)]
        for client in clients:
            client.setblocking(False)
        for _ in range(5):
            for client in clients:
                send(client, tiny, 0)
                tiny = b"1\r\nx\r\n" * 10_000
    for client in clients:
        client.close()
    watch.check()


def test_an_unfinished_body_gets_its_answer_and_keeps_no_connection(locked: Target) -> None:
    client = locked.connect()
    client.sendall(HEADS["invoke"] + b"{")
    assert head(client).startswith(b"HTTP/1.1 401 ")


def test_a_body_that_was_refused_may_come_and_the_next_request_be_answered(locked: Target) -> None:
    client = locked.connect()
    body = json.dumps({"text": "x" * 300_000}).encode()
    client.sendall(request("POST", "/invoke", body=body))
    assert head(client).startswith(b"HTTP/1.1 401 ")
    client.sendall(request("GET", "/health"))
    got = client.recv(65536)
    while b'{"status":"ok"}' not in got:
        got += client.recv(65536)
    assert ended(client, 8)  # after the usual silence between two requests


@pytest.mark.parametrize("size", [1, 20_000, 70_000, 1_000_000, 9_000_000])
def test_bodies_of_every_size_arrive_whole(unlocked: Target, size: int) -> None:
    body = json.dumps({"text": "x" * size, "output": 5}).encode()
    client = unlocked.connect()
    sent = request("POST", "/invoke", body=body)
    assert send(client, itertools.chain([sent[:100]], [sent[100:]])) == len(sent)
    assert head(client).startswith(b"HTTP/1.1 200 ")
    client = unlocked.connect()
    chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)
    client.sendall(request("POST", "/invoke", "Transfer-Encoding: chunked") + chunks)
    assert head(client).startswith(b"HTTP/1.1 200 ")


def test_a_client_with_a_key_may_send_much(locked: Target) -> None:
    body = json.dumps({"text": "x" * 5_000_000}).encode()
    client = locked.connect()
    client.sendall(request("POST", "/invoke", *AUTHORISED, body=body))
    assert head(client).startswith(b"HTTP/1.1 200 ")


def test_a_bad_end_of_a_body_is_told(unlocked: Target) -> None:
    client = unlocked.connect()
    client.sendall(request("POST", "/invoke", "Transfer-Encoding: chunked") + b"2\r\n{}\r\nno length\r\n")
    assert answer(client).startswith(b"HTTP/1.1 400 ")
