"""Connections without end: idle ones, half requests, more than there may be, and too few descriptors."""

from __future__ import annotations

import selectors
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from .support import DEADLINE, MIB, Target, Watch, answer, ended, head, opening, request, send, serving, until

HEALTH = request("GET", "/health")
QUICK = {"head_seconds": 1.0}
KEYS = {"keys": True, "a2a": True}


def refused(target: Target, reason: str) -> float:
    return target.metric("dockrion_connections_refused_total", reason=reason)


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    """A server with keys on that waits for a head for one second only."""
    with serving(tmp_path_factory.mktemp("quick"), expose={"limits": QUICK}, **KEYS) as target:
        yield target


HALVES = {
    "nothing": b"",
    "a letter": b"G",
    "half a line": b"GET /health HT",
    "half a head": HEALTH[:-2],
    "half an upgrade": opening("/invoke/ws")[:-2],
    "half a call by A2A": request("POST", "/a2a", "A2A-Version: 1.0")[:-2],
    "empty lines": b"\r\n",
}


@pytest.mark.parametrize(
    ("kind", "before"),
    [("nothing", "on a new connection")]
    + [
        (kind, before)
        for kind in HALVES
        if HALVES[kind]
        for before in ("on a new connection", "after a request")
    ],
)
def test_a_head_that_does_not_come_ends_the_connection(quick: Target, kind: str, before: str) -> None:
    client = quick.connect()
    if before == "after a request":
        client.sendall(HEALTH)
        assert head(client).startswith(b"HTTP/1.1 200 ")
        client.recv(100)
    counted = refused(quick, "head")
    began = time.monotonic()
    client.sendall(HALVES[kind])
    got = answer(client)
    assert 0.5 < time.monotonic() - began < 4
    assert got.startswith(b"HTTP/1.1 408 " if HALVES[kind] else b""), got
    until(lambda: refused(quick, "head") == counted + 1)


def test_drops_of_a_head_do_not_gain_time(quick: Target) -> None:
    client = quick.connect()
    began = time.monotonic()
    drops = iter(request("GET", "/health", "X: " + "x" * 1000))
    while time.monotonic() < began + 4:
        if send(client, bytes([next(drops)])) == 0:
            break
        client.settimeout(0.05)
        try:
            if client.recv(1000):
                break
        except TimeoutError:
            continue
    assert time.monotonic() < began + 3


def test_a_stream_goes_on_while_half_a_head_waits_behind_it(tmp_path: Path) -> None:
    with serving(tmp_path, expose={"limits": {"head_seconds": 0.3}}) as target:
        client = target.connect()
        client.sendall(request("POST", "/invoke/stream", body=b'{"tokens": 15, "pause": 0.1}') + b"GET /hea")
        got = answer(client)
        assert b"event: complete" in got
        assert got.endswith(b"0\r\n\r\n") or b"HTTP/1.1 408 " in got


def test_a_head_that_begins_before_the_last_answer_is_read_to_its_end(unlocked: Target) -> None:
    client = unlocked.connect()
    asked = request("GET", "/none", "X-Long: x")
    client.sendall(request("POST", "/invoke", body=b'{"pause": 0.3}') + asked[:-10])
    assert head(client).startswith(b"HTTP/1.1 200 ")
    client.sendall(asked[-10:])
    got = client.recv(65536)
    while b"NOT_FOUND" not in got:
        got += client.recv(65536)


def test_connections_beyond_the_limit_are_refused_and_the_others_go_on(tmp_path: Path) -> None:
    limits = {"connections": 50, "head_seconds": 3.0}
    with serving(tmp_path, expose={"limits": limits}, **KEYS) as target:
        busy = target.connect()
        busy.sendall(request("GET", "/health"))
        assert head(busy).startswith(b"HTTP/1.1 200 ")
        with Watch(target) as watch:
            idle = [target.connect() for _ in range(48)]
            more = [target.connect() for _ in range(20)]
            for client in more:
                got = answer(client, 2)
                assert got.startswith(b"HTTP/1.1 503 "), got
                assert b'"code":"OVERLOADED"' in got
            busy.sendall(request("GET", "/health"))
            busy.recv(1000)
            time.sleep(1.1)  # from then on an unused connection makes room
            late = target.connect()
            late.sendall(HEALTH)
            assert b"HTTP/1.1 200 " in late.recv(1000)
        watch.check()
        assert ended(idle[0], 1)
        assert target.process.poll() is None
        for client in (*idle, *more, busy, late):
            client.close()
        until(lambda: target.metric("dockrion_connections") == 1)
        assert target.metric("dockrion_connections_limit") == 50
        assert refused(target, "connections") >= 20
        assert refused(target, "unused") >= 1
        assert target.log.count("all 50 connections are taken; further ones") == 1


def test_as_many_idle_connections_as_there_may_be(tmp_path: Path) -> None:
    with serving(tmp_path, **KEYS) as target:
        limit = int(target.metric("dockrion_connections_limit"))
        with Watch(target) as watch:
            clients: list[socket.socket] = []
            for number in range(limit - 10):
                client = target.connect()
                clients.append(client)
                if number % 4 == 1:
                    client.sendall(HEALTH[:-2])
                elif number % 4 == 2:
                    client.sendall(HEALTH)
                elif number % 4 == 3:
                    client.sendall(request("POST", "/invoke", "Content-Length: 100000") + b"x" * 5000)
            until(lambda: all(head(client) for client in clients[2::4]))
            until(lambda: all(head(client) for client in clients[3::4]))
        watch.check()
        assert watch.growth < 64 * MIB, watch.growth / MIB
        assert watch.growth > MIB, "nothing was measured"


def test_as_many_large_heads_as_there_may_be(tmp_path: Path) -> None:
    """Each of them is half sent; what is refused holds no memory any more."""
    with serving(tmp_path, **KEYS) as target:
        limit = int(target.metric("dockrion_connections_limit"))
        half = HEALTH[:-2] + b"X: " + b"x" * 60_000
        with Watch(target) as watch:
            for _ in range(limit - 10):
                send(target.connect(), half, seconds=1.0)
            until(lambda: refused(target, "buffered") > 0)
        watch.check()


def test_as_many_clients_as_there_may_be_ask_without_a_pause(tmp_path: Path) -> None:
    """What all of them ask for would hold the loop, were it done in one iteration."""
    ask = request("GET", "/info")
    with serving(tmp_path, **KEYS) as target:
        limit = int(target.metric("dockrion_connections_limit"))
        with Watch(target) as watch, selectors.DefaultSelector() as ready:
            for _ in range(limit - 10):
                client = target.connect()
                client.setblocking(False)
                ready.register(client, selectors.EVENT_READ)
                client.send(ask)
            answered = 0
            while answered < 5 * limit:
                for key, _ in ready.select(DEADLINE):
                    assert isinstance(key.fileobj, socket.socket)
                    if key.fileobj.recv(65536).endswith(b"}"):  # head and body may come apart
                        key.fileobj.send(ask)
                        answered += 1
        watch.check()


def test_the_limit_follows_the_descriptors(tmp_path: Path) -> None:
    with serving(tmp_path, descriptors=100, **KEYS) as target:
        assert target.metric("dockrion_connections_limit") == 68
        clients = [target.connect() for _ in range(120)]
        with target.client() as http:
            until(lambda: any(ended(client, 0.05) for client in clients))
            time.sleep(1)
            assert http.get("/health").status_code == 200
        assert "expose.limits.connections" not in target.log


def test_a_limit_that_the_descriptors_do_not_allow_is_told(tmp_path: Path) -> None:
    with serving(tmp_path, descriptors=100, expose={"limits": {"connections": 90}}) as target:
        assert "expose.limits.connections is 90, and 100 open files leave room for 68" in target.log


HOARDER = """
import os

kept = []


async def handle(payload):
    try:
        while payload["hoard"]:
            kept.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    if not payload["hoard"]:
        while kept:
            os.close(kept.pop())
    return len(kept)
"""


def test_no_descriptors_are_logged_and_counted_and_serving_recovers(tmp_path: Path) -> None:
    with serving(tmp_path, agent=HOARDER, descriptors=200) as target, target.client() as http:
        assert http.post("/invoke", json={"hoard": True}).json()["output"] > 0
        until(lambda: "new connections are dropped: Too many open files" in target.log)
        until(lambda: b"descriptors" in http.get("/metrics").content)
        lines = http.get("/metrics").text.splitlines()
        [counted] = [line for line in lines if 'refused_total{reason="descriptors"}' in line]
        assert float(counted.split()[-1]) >= 1
        assert target.log.count("new connections are dropped") == 1
        assert http.post("/invoke", json={"hoard": False}).status_code == 200
        client = target.connect()
        client.sendall(HEALTH)
        assert head(client).startswith(b"HTTP/1.1 200 ")
