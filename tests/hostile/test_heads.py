"""Heads without end: refused in linear time, before they are kept."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import pytest

from .support import MIB, Target, Watch, answer, ended, head, opening, request, send, until

LINE = "A2A-Version: 1.0"


def endless(start: bytes, more: bytes, total: int = 24 * MIB) -> Iterator[bytes]:
    yield start
    yield from itertools.repeat(more, total // len(more))


def unfinished(*lines: str, method: str = "GET", path: str = "/health") -> bytes:
    return request(method, path, *lines)[:-2]


UPGRADE = opening("/invoke/ws")[:-2]
CHUNKED = request("POST", "/invoke", "Transfer-Encoding: chunked")

HEADS: dict[str, Callable[[], Iterator[bytes]]] = {
    "one endless header": lambda: endless(unfinished() + b"X: ", b"x" * 65536),
    "one endless header, in small pieces": lambda: endless(unfinished() + b"X: ", b"x" * 100, 200_000),
    "an endless name": lambda: endless(unfinished(), b"x" * 65536),
    "an endless URL": lambda: endless(b"GET /", b"x" * 65536),
    "an endless query": lambda: endless(b"GET /health?", b"x" * 65536),
    "an endless method": lambda: endless(b"", b"P" * 65536),
    "tiny header lines": lambda: endless(unfinished(), b"a:\r\n" * 16384),
    "long header lines": lambda: endless(unfinished(), (b"a:" + b"b" * 4000 + b"\r\n") * 16),
    "empty lines before a request": lambda: endless(b"", b"\r\n" * 32768),
    "spaces in a value": lambda: endless(unfinished() + b"X:", b" " * 65536),
    "an upgrade, tiny lines": lambda: endless(UPGRADE, b"a:\r\n" * 16384),
    "an upgrade, one header": lambda: endless(UPGRADE + b"X: ", b"x" * 65536),
    "A2A, one header": lambda: endless(unfinished(LINE, method="POST", path="/a2a") + b"X: ", b"x" * 65536),
    "A2A, tiny lines": lambda: endless(unfinished(LINE, method="POST", path="/a2a"), b"a:\r\n" * 16384),
}


@pytest.mark.parametrize("attack", HEADS)
def test_an_endless_head_costs_nothing_and_is_refused(target: Target, attack: str) -> None:
    before = target.metric("dockrion_connections_refused_total", reason="head") + target.metric(
        "dockrion_malformed_requests_total"
    )
    with Watch(target) as watch:
        client = target.connect()
        send(client, HEADS[attack]())
        refusal = answer(client)
        assert ended(client)
    watch.check(growth=4 * MIB)
    if refusal:  # else the refusal was lost with the connection, because the client went on sending
        malformed = attack == "an endless method"
        assert refusal.startswith(b"HTTP/1.1 4%b " % (b"00" if malformed else b"31")), refusal[:200]
        assert b"connection: close" in refusal
    after = target.metric("dockrion_connections_refused_total", reason="head") + target.metric(
        "dockrion_malformed_requests_total"
    )
    assert after == before + 1


BODIES = {
    "an endless trailer": lambda: endless(CHUNKED + b"0\r\nX: ", b"x" * 65536),
    "tiny trailers": lambda: endless(CHUNKED + b"0\r\n", b"a:\r\n" * 16384),
    "an endless chunk extension": lambda: endless(CHUNKED + b"1;", b"x" * 65536),
    "an endless chunk size": lambda: endless(CHUNKED, b"0" * 65536),
}


@pytest.mark.parametrize("attack", BODIES)
def test_what_is_around_a_chunked_body_is_bounded_as_a_head_is(target: Target, attack: str) -> None:
    with Watch(target) as watch:
        client = target.connect()
        send(client, BODIES[attack]())
        assert ended(client)
    watch.check(growth=4 * MIB)


def test_extensions_and_chunks_without_end_cost_no_memory(target: Target) -> None:
    with Watch(target) as watch:
        tiny, extended = target.connect(), target.connect()
        send(tiny, endless(CHUNKED, b"1\r\nx\r\n" * 10_000, 12 * MIB), 2)
        send(extended, endless(CHUNKED, b"1;" + b"x" * 8000 + b"\r\nx\r\n", 12 * MIB), 2)
    watch.check(growth=48 * MIB if not target.keys else 4 * MIB)


def test_the_limits_themselves_are_allowed(locked: Target) -> None:
    client = locked.connect()
    client.sendall(request("GET", "/health", *(f"X-{number}: x" for number in range(99))))
    assert head(client).startswith(b"HTTP/1.1 200 ")
    client = locked.connect()
    client.sendall(request("GET", "/health", "X: " + "x" * 65_000))
    assert head(client).startswith(b"HTTP/1.1 200 ")
    client = locked.connect()
    client.sendall(request("GET", "/health", *(f"X-{number}: x" for number in range(100))))
    assert head(client).startswith(b"HTTP/1.1 431 ")
    client = locked.connect()
    client.sendall(request("GET", "/health", "X: " + "x" * 66_000))
    assert head(client).startswith(b"HTTP/1.1 431 ")


def test_a_trailer_is_no_header(unlocked: Target) -> None:
    body = b"2\r\n{}\r\n0\r\nX-Request-ID: of-the-trailer\r\n\r\n"
    client = unlocked.connect()
    client.sendall(request("POST", "/invoke", "Transfer-Encoding: chunked") + body)
    got = head(client)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b"of-the-trailer" not in got


def test_what_is_refused_comes_behind_the_answers_that_are_due(unlocked: Target) -> None:
    client = unlocked.connect()
    asked = b'{"pause": 0.3}'
    client.sendall(request("POST", "/invoke", body=asked) + unfinished() + b"a:\r\n" * 101)
    got = answer(client)
    assert got.startswith(b"HTTP/1.1 200 ")
    assert b'"said"' in got
    assert got.count(b"HTTP/1.1 ") == 1


def test_many_large_heads_share_what_there_is(locked: Target) -> None:
    with Watch(locked) as watch:
        clients = [locked.connect() for _ in range(500)]
        for client in clients:
            send(client, unfinished() + b"X: " + b"x" * 60_000)
        until(lambda: locked.metric("dockrion_connections_refused_total", reason="buffered") > 0)
    watch.check()
    for client in clients:
        client.close()
    with locked.client() as http:
        assert http.get("/info").status_code == 200


@pytest.mark.parametrize(
    "malformed",
    [
        b"GET /\xff HTTP/1.1\r\n\r\n",
        b"GET http://[::1 HTTP/1.1\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\n: x\r\n\r\n",
        b"GET / HTTP/1.1\nHost: x\n\n",
        b"GET / HTTP/1.1\r\nX: a\0b\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 99999999999999999999999999\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_a_malformed_request_is_told_so(locked: Target, malformed: bytes) -> None:
    client = locked.connect()
    client.sendall(malformed)
    got = answer(client)
    assert got.startswith(b"HTTP/1.1 400 "), got
    assert "Traceback" not in locked.log


def test_malformed_requests_are_counted_and_logged_once(locked: Target) -> None:
    before = locked.metric("dockrion_malformed_requests_total")
    for _ in range(200):
        client = locked.connect()
        client.sendall(b"this is not HTTP\r\n\r\n")
        assert head(client).startswith(b"HTTP/1.1 400 ")
        client.close()
    assert locked.metric("dockrion_malformed_requests_total") == before + 200
    assert locked.log.count("malformed requests") == 1
    assert "Invalid HTTP" not in locked.log
