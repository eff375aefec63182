"""WebSockets: bombs, frames after a refusal, fragments and pings without end, clients that do not read."""

from __future__ import annotations

import itertools
import json
import socket
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.frames import Frame, Opcode
from websockets.sync.client import connect

from .support import (
    AUTHORISED,
    DEADLINE,
    KEY,
    MIB,
    Target,
    Watch,
    answer,
    ended,
    head,
    opening,
    send,
    serving,
    until,
)

DEFLATE = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits"


def frame(data: bytes, opcode: Opcode = Opcode.TEXT, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def deflated(data: bytes) -> bytes:
    compressor = zlib.compressobj(9, wbits=-12)
    compressed = compressor.compress(data) + compressor.flush(zlib.Z_SYNC_FLUSH)
    sent = bytearray(frame(compressed[:-4]))
    sent[0] |= 0b01000000
    return bytes(sent)


@pytest.fixture(scope="module")
def bomb() -> bytes:
    """A message of 900 kB that costs its sender one: a JSON object with a long text."""
    return deflated(b'{"payload":{},"request_id":"' + b"x" * 900_000 + b'"}')


def opened(target: Target, *lines: str) -> socket.socket:
    client = target.connect()
    client.sendall(opening("/invoke/ws", *(AUTHORISED if target.keys else ()), *lines))
    assert head(client).startswith(b"HTTP/1.1 101 ")
    return client


def close_code(client: socket.socket) -> int:
    """Read frames up to the server's close and return its code."""
    client.settimeout(DEADLINE)
    with client.makefile("rb") as file:
        while start := file.read(2):
            length = start[1]
            if length >= 126:
                length = int.from_bytes(file.read(2 if length == 126 else 8))
            data = file.read(length)
            if start[0] & 0x0F == Opcode.CLOSE:
                return int.from_bytes(data[:2])
    raise AssertionError("the connection ended without a close frame")


# -- before the handshake is over, and after it was refused ----------------------------------------


REFUSED = {
    "no key": (opening("/invoke/ws"), b"401"),
    "no such socket": (opening("/none/ws"), b"403"),
    "no such run": (opening("/runs/none/ws", *AUTHORISED), b"404"),
    "not a WebSocket's key": (opening("/invoke/ws").replace(b"dGhl", b"x"), b"400"),
    "a body": (opening("/invoke/ws", "Content-Length: 5"), b"4"),
    "a header that the library refuses": (opening("/invoke/ws", "X: " + "x" * 9000), b"4"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_nothing_is_parsed_after_a_refusal(locked: Target, bomb: bytes, kind: str) -> None:
    sent, status = REFUSED[kind]
    sent = sent.replace(b"Upgrade: websocket", b"Upgrade: websocket\r\n" + DEFLATE.encode())
    with Watch(locked) as watch:
        for _ in range(4):
            client = locked.connect()
            client.sendall(sent)
            send(client, itertools.repeat(bomb * 20, 50), 0.5)
            got = answer(client)
            assert got.startswith(b"HTTP/1.1 " + status), got[:100]
            assert ended(client)
    watch.check(growth=4 * MIB)


def test_frames_that_come_with_the_handshake_are_not_lost(unlocked: Target) -> None:
    client = unlocked.connect()
    client.sendall(opening("/invoke/ws"))
    client.sendall(frame(b'{"payload": {}, "request_id": "early"}'))
    client.sendall(frame(b"", Opcode.CLOSE))
    got = answer(client)
    assert got.startswith(b"HTTP/1.1 101 ")


# -- sizes -----------------------------------------------------------------------------------------


def test_compression_is_not_offered(target: Target, bomb: bytes) -> None:
    client = target.connect()
    client.sendall(opening("/invoke/ws", DEFLATE, *(AUTHORISED if target.keys else ())))
    told = head(client)
    assert told.startswith(b"HTTP/1.1 101 ")
    assert b"permessage-deflate" not in told.lower()
    client.sendall(bomb)
    assert close_code(client) == 1002


def test_compression_that_is_on_is_bounded(tmp_path: Path, bomb: bytes) -> None:
    with serving(tmp_path, expose={"limits": {"compression": True}}) as target:
        with connect(f"ws://127.0.0.1:{target.port}/invoke/ws") as usual:
            assert usual.protocol.extensions
            usual.send(json.dumps({"payload": {"tokens": 0}, "request_id": "usual"}))
            assert json.loads(usual.recv(DEADLINE))["type"] == "started"
        with Watch(target) as watch:
            clients = [opened(target, DEFLATE) for _ in range(8)]
            for client in clients:
                send(client, itertools.repeat(bomb, 40), 0.1)
        watch.check(growth=48 * MIB)
        too_large = deflated(b"x" * (MIB + 1))
        client = opened(target, DEFLATE)
        client.sendall(too_large)
        assert close_code(client) == 1009


def large_message() -> Iterator[bytes]:
    yield b"\x81\xff" + (MIB + 1).to_bytes(8) + b"\0\0\0\0"
    yield b"x" * MIB


def fragments_that_grow() -> Iterator[bytes]:
    yield frame(b"x" * 1000, fin=False)
    yield from itertools.repeat(frame(b"x" * 1000, Opcode.CONT, fin=False), 1100)


@pytest.mark.parametrize("sent", [large_message, fragments_that_grow])
def test_a_message_that_is_too_large_closes_with_1009(target: Target, sent: object) -> None:
    assert callable(sent)
    before = target.metric("dockrion_connections_refused_total", reason="message")
    with Watch(target) as watch:
        client = opened(target)
        send(client, sent())
        assert close_code(client) == 1009
    watch.check(growth=8 * MIB)
    assert target.metric("dockrion_connections_refused_total", reason="message") == before + 1


def test_a_message_within_the_limit_is_taken(unlocked: Target) -> None:
    client = opened(unlocked)
    whole = json.dumps({"payload": {"text": "ä" * 150_000}, "request_id": "large"}).encode()
    pieces = [whole[at : at + 999] for at in range(0, len(whole), 999)]  # in the middle of letters, too
    client.sendall(frame(pieces[0], fin=False))
    for piece in pieces[1:-1]:
        client.sendall(frame(piece, Opcode.CONT, fin=False))
    client.sendall(frame(pieces[-1], Opcode.CONT))
    got = b""
    while b'"complete"' not in got:
        got += client.recv(65536)


# -- how many --------------------------------------------------------------------------------------


FLOODS = {
    "empty fragments": (frame(b"", fin=False), frame(b"", Opcode.CONT, fin=False)),
    "tiny fragments": (frame(b"x", fin=False), frame(b"x", Opcode.CONT, fin=False)),
    "pings": (b"", frame(b"", Opcode.PING)),
    "large pings": (b"", frame(b"x" * 125, Opcode.PING)),
    "pongs": (b"", frame(b"x" * 125, Opcode.PONG)),
    "empty messages": (b"", frame(b"")),
    "wrong messages": (b"", frame(b'{"cancel": "none"}')),
    "messages that begin something": (b"", frame(b'{"payload": {"hang": true}}')),
}


@pytest.mark.parametrize("kind", FLOODS)
def test_a_flood_of_frames_is_bounded(target: Target, kind: str) -> None:
    first, more = FLOODS[kind]
    with Watch(target) as watch:
        client = target.connect(receive_buffer=4096)
        client.sendall(opening("/invoke/ws", *(AUTHORISED if target.keys else ())))
        assert head(client).startswith(b"HTTP/1.1 101 ")
        client.sendall(first)
        batch = more * (65536 // len(more))
        began = time.monotonic()
        send(
            client, itertools.takewhile(lambda _: time.monotonic() < began + 1, itertools.repeat(batch)), 0.5
        )
    client.close()
    watch.check(growth=8 * MIB)


def test_pings_of_a_client_that_reads_are_answered(unlocked: Target) -> None:
    client = opened(unlocked)
    count = 20_000
    asked = frame(b"are you there", Opcode.PING) * count
    got = 0
    client.setblocking(False)
    while got < count * 15:
        try:
            asked = asked[client.send(asked) :] if asked else asked
        except BlockingIOError:
            pass
        try:
            got += len(client.recv(65536))
        except BlockingIOError:
            pass
    assert got == count * 15


@pytest.mark.parametrize("payload", [b"\xff\xfe", b"\xc3"])
def test_frames_that_are_not_text_are_counted_and_do_not_fill_the_log(
    unlocked: Target, payload: bytes
) -> None:
    before = unlocked.metric("dockrion_malformed_requests_total")
    for _ in range(20):
        client = opened(unlocked)
        client.sendall(frame(payload))
        assert close_code(client) == 1007
    assert unlocked.metric("dockrion_malformed_requests_total") == before + 20
    assert "Traceback" not in unlocked.log
    assert unlocked.log.count("malformed WebSocket frames") == 1


# -- what is said about the subprotocol ------------------------------------------------------------


@pytest.mark.parametrize("path", ["/invoke/ws", "/runs/{}/ws"])
def test_the_first_subprotocol_that_a_client_names_is_selected(unlocked: Target, path: str) -> None:
    if "{}" in path:
        with unlocked.client() as http:
            path = path.format(http.post("/runs", json={"hang": True}).json()["run_id"])
    for lines, selected in (
        ((), None),
        (("Sec-WebSocket-Protocol: json",), b"json"),
        (("Sec-WebSocket-Protocol: a, b", "Sec-WebSocket-Protocol: c"), b"a"),
    ):
        client = unlocked.connect()
        client.sendall(opening(path, *lines))
        told = head(client).lower()
        assert told.startswith(b"http/1.1 101 "), told
        found = [
            line.partition(b": ")[2]
            for line in told.split(b"\r\n")
            if line.startswith(b"sec-websocket-protocol")
        ]
        assert found == ([] if selected is None else [selected])


def test_a_key_is_needed_whatever_comes_first(locked: Target) -> None:
    client = locked.connect()
    client.sendall(opening("/invoke/ws", f"X-API-Key: {KEY}x") + frame(b'{"payload": {}}'))
    assert answer(client).startswith(b"HTTP/1.1 401 ")
    until(lambda: locked.metric("dockrion_executions_active", kind="stream") == 0)
