"""What passes through nginx: streams as they happen, sockets, refusals, and the news that a client left."""

from __future__ import annotations

import http.client
import json
import os
import signal
import threading
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx_sse
import pytest
from websockets.sync.client import connect

from dockrion_runtime.server import server_config

from .conftest import DEADLINE, Front, until

VERSIONS = pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2"])


@VERSIONS
def test_an_event_arrives_while_the_agent_still_waits(front: Front, version: str, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    with front.client(version) as client, _stream(client, "POST", "/invoke/stream", gate=gate) as source:
        assert source.response.http_version == version
        events = source.iter_sse()
        assert [next(events).event, next(events).event] == ["started", "token"]
        gate.touch()  # only now may the agent go on, so the token was not held back
        assert [event.event for event in events if event.event != "heartbeat"] == ["token", "complete"]


def test_a_reader_that_stops_reading_holds_the_agent(front: Front, tmp_path: Path) -> None:
    """nginx keeps no more of a stream than the connection does: it honours X-Accel-Buffering.

    Otherwise it would take all that the agent says, and the server could not see that nobody reads.
    """
    assert "proxy_buffering off" not in front.config, "all but streams is buffered"
    flooded, stopped = tmp_path / "flooded", tmp_path / "stopped"
    with front.client("HTTP/2") as client:
        with _stream(client, "POST", "/invoke/stream", flooded=flooded, stopped=stopped) as source:
            events = source.iter_sse()
            assert next(events).event == "started"
            until(lambda: flooded.exists() or stopped.exists(), "the end of a stream that nobody reads")
            assert stopped.exists()
            assert not flooded.exists()


@VERSIONS
def test_a_silent_stream_lives_by_its_heartbeats(front: Front, version: str, tmp_path: Path) -> None:
    assert "proxy_read_timeout 1s;" in front.config
    gate = tmp_path / "gate"
    answers: list[Any] = []

    def invoke() -> None:
        with front.client() as client:
            answers.append(client.post("/invoke", json={"gate": str(gate)}))

    invoking = threading.Thread(target=invoke)
    invoking.start()  # all the while this one says nothing at all
    with front.client(version) as client, _stream(client, "POST", "/invoke/stream", gate=gate) as source:
        events = source.iter_sse()
        for _ in range(2 + 6):  # six heartbeats are 1.8 s, longer than nginx waits for a server
            last = next(events)
        assert last.event == "heartbeat"
        gate.touch()
        assert [event.event for event in events][-2:] == ["token", "complete"]
    invoking.join(DEADLINE)
    assert [answer.status_code for answer in answers] == [200]


@VERSIONS
def test_a_client_that_leaves_is_noticed(front: Front, version: str, tmp_path: Path) -> None:
    stopped = tmp_path / "stopped"
    nowhere = tmp_path / "never"
    with front.client(version) as client:
        with _stream(client, "POST", "/invoke/stream", gate=nowhere, stopped=stopped) as source:
            events = source.iter_sse()
            assert [next(events).event, next(events).event] == ["started", "token"]
            assert not stopped.exists()
        client.close()
        until(stopped.exists, "the end of the agent")


def number(cursor: str) -> str:
    """Return the sequence in an id, without the epoch that follows it on Redis."""
    return cursor.partition(".")[0]


@VERSIONS
def test_a_run_is_followed_from_where_a_client_was(front: Front, version: str) -> None:
    with front.client(version) as client:
        run = client.post("/runs", json={}).json()
        with _stream(client, "GET", run["events_url"]) as source:
            seen = [(event.event, event.id) for event in source.iter_sse() if event.event != "heartbeat"]
        last = seen[-1][1]
        seen = [(kind, number(cursor)) for kind, cursor in seen]
        assert seen == [("started", "1"), ("token", "2"), ("token", "3"), ("complete", "4")]
        with _stream(client, "GET", run["events_url"], headers={"Last-Event-ID": "2"}) as source:
            assert [number(event.id) for event in source.iter_sse()] == ["3", "4"]
        ended = client.get(run["events_url"], headers={"Last-Event-ID": last})
        assert (ended.status_code, ended.content) == (204, b"")


@pytest.mark.parametrize("secure", [False, True])
def test_a_web_socket_passes(front: Front, secure: bool, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    address = (front.secure if secure else front.plain).replace("http", "ws", 1)
    with connect(f"{address}/invoke/ws", ssl=front.trusting() if secure else None) as socket:
        socket.send(json.dumps({"payload": {"gate": str(gate)}, "request_id": "one"}))
        assert [json.loads(socket.recv(DEADLINE))["type"] for _ in range(2)] == ["started", "token"]
        for _ in range(6):  # a socket lives by heartbeats too
            assert json.loads(socket.recv(DEADLINE))["type"] == "heartbeat"
        gate.touch()
        while (last := json.loads(socket.recv(DEADLINE)))["type"] == "heartbeat":
            pass
        assert last["type"] == "token"
        assert json.loads(socket.recv(DEADLINE))["type"] == "complete"


@VERSIONS
@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream", "/runs"])
@pytest.mark.parametrize("length", ["announced", "unknown"])
def test_a_large_body_is_refused_by_the_server(front: Front, version: str, path: str, length: str) -> None:
    def pieces(size: int) -> Iterator[bytes]:
        for start in range(0, size, 100_000):
            yield b" " * min(100_000, size - start)

    with front.client(version) as client:
        for size in (100_001, 30_000_000):
            answer = client.post(path, content=b" " * size if length == "announced" else pieces(size))
            assert answer.status_code == 413
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"] == "BODY_TOO_LARGE"
            assert "100,000 bytes" in answer.json()["detail"], "it is the server's answer"
        assert client.post("/invoke", json={}).status_code == 200


def test_a_body_that_not_even_nginx_takes_is_refused_in_the_same_way(front: Front) -> None:
    connection = http.client.HTTPConnection(front.plain.removeprefix("http://"), timeout=DEADLINE)
    connection.putrequest("POST", "/invoke")
    connection.putheader("Content-Length", str(65 * 1024 * 1024))
    connection.endheaders()
    answer = connection.getresponse()
    assert (answer.status, answer.headers["content-type"]) == (413, "application/problem+json")
    assert json.loads(answer.read())["code"] == "BODY_TOO_LARGE"
    connection.close()


def test_connections_to_the_servers_are_kept(front: Front) -> None:
    ports = {int(served.url.rpartition(":")[2]) for served in front.servers}
    with front.client() as client:
        used: set[tuple[int, int]] = set()
        for _ in range(40):
            assert client.post("/invoke", json={}).status_code == 200
            used |= _established(ports)
    assert 1 <= len(used) <= 16, "each of 40 requests would have one of its own"


def test_idle_connections_are_closed_by_nginx_first(front: Front) -> None:
    """Else nginx would now and then send a request into a connection that the server has just closed."""
    keeps = server_config(lambda scope, receive, send: None).timeout_keep_alive  # type: ignore[arg-type,return-value]
    assert "keepalive_timeout 4s;" in front.config
    assert keeps > 4


def test_a_query_string_is_not_logged(front: Front) -> None:
    secret = uuid.uuid4().hex
    with front.client() as client:
        assert client.get("/health", params={"api_key": secret}).status_code == 200
    log = next(line.split()[1] for line in front.config.splitlines() if "access_log" in line)
    lines = until(lambda: [line for line in Path(log).read_text().splitlines() if "/health" in line])
    assert all(secret not in line for line in lines)


def test_a_server_that_dies_takes_its_own_request_along_and_no_other(front: Front, tmp_path: Path) -> None:
    began, gate = tmp_path / "began", tmp_path / "gate"
    answers: list[int] = []

    def invoke() -> None:
        with front.client() as client:
            answers.append(client.post("/invoke", json={"began": str(began), "gate": str(gate)}).status_code)

    with front.client() as client:
        run = client.post("/runs", json={}).json()
        invoking = threading.Thread(target=invoke)
        invoking.start()
        pid = int(until(lambda: began.exists() and began.read_text(), "the beginning of the execution"))
        assert pid in [served.process.pid for served in front.servers]
        os.kill(pid, signal.SIGKILL)
        invoking.join(DEADLINE)
        assert answers == [502]
        gate.touch()
        for _ in range(10):
            assert client.post("/invoke", json={}).json()["output"] == {"said": 2}
        with _stream(client, "GET", run["events_url"]) as source:
            assert [event.event for event in source.iter_sse()][-1] == "complete"
    assert began.read_text().split() == [str(pid)], "no other server has executed it again"


def _stream(client: Any, method: str, path: str, *, headers: Any = None, **files: Path) -> Any:
    body = {"json": {name: str(file) for name, file in files.items()}} if method == "POST" else {}
    return httpx_sse.connect_sse(client, method, path, headers=headers or {}, **body)


def _established(ports: set[int]) -> set[tuple[int, int]]:
    """Return both ends of the connections to these ports."""
    found = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        _, local, remote, state, *_ = line.split()
        if state == "01" and int(local.rpartition(":")[2], 16) in ports:
            found.add((int(local.rpartition(":")[2], 16), int(remote.rpartition(":")[2], 16)))
    return found
