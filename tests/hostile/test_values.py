"""Payloads of valid size that are expensive to read, to check, or to refuse, from clients with a key."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import connect

from .support import KEY, MIB, Target, Watch, serving

SCHEMA = {
    "type": "object",
    "properties": {
        "messages": {"type": "array", "items": {"$ref": "#/$defs/message"}},
        "either": {"anyOf": [{"type": "array", "items": {"type": "string"}}, {"type": "null"}]},
        "unique": {"type": "array", "uniqueItems": True},
        "words": {"type": "string", "pattern": r"^(\w+\s?)+$"},
        "explodes": {"type": "array", "items": {"type": "string", "pattern": "[ab]*a[ab]{500}c"}},
        "tree": {"$ref": "#/$defs/tree"},
    },
    "$defs": {
        "message": {
            "type": "object",
            "required": ["role", "content"],
            "properties": {"role": {"enum": ["user", "ai"]}, "content": {"type": "string"}},
        },
        "tree": {
            "anyOf": [
                {"type": "object", "properties": {"c": {"$ref": "#/$defs/tree"}}, "required": ["c"]},
                {"type": "object", "properties": {"c": {"$ref": "#/$defs/tree"}}, "minProperties": 1},
            ]
        },
    },
}
SIZE = 9 * MIB
SECONDS = 1.0
"""Of the processor's time, that one request may cost."""
AGENT = """
async def handle(payload, context):
    return len(payload)
"""


def repeated(name: str, item: bytes) -> bytes:
    return b'{"%s":[' % name.encode() + b",".join([item] * (SIZE // (len(item) + 1))) + b"]}"


def joined(name: str, items: Iterator[str]) -> bytes:
    return b'{"%s":[' % name.encode() + ",".join(items).encode() + b"]}"


BODIES: dict[str, Callable[[], bytes]] = {
    "numbers": lambda: repeated("a", b"1"),
    "floats": lambda: repeated("a", b"1.5"),
    "large floats": lambda: repeated("a", b"1e308"),
    "tiny floats": lambda: repeated("a", b"1e-320"),
    "empty objects": lambda: repeated("a", b"{}"),
    "empty arrays": lambda: repeated("a", b"[]"),
    "small objects": lambda: repeated("a", b'{"a":1}'),
    "small texts": lambda: repeated("a", b'"ab"'),
    "different names": lambda: b"{" + ",".join(f'"{i:07d}":0' for i in range(800_000)).encode() + b"}",
    "escapes": lambda: b'{"a":"' + rb"\\" * (SIZE // 2) + b'"}',
    "halves of characters": lambda: b'{"a":"' + rb"\ud83d" * (SIZE // 6) + b'"}',
    "a wide text": lambda: b'{"a":"' + b"x" * SIZE + "😀".encode() + b'"}',
    "depth": lambda: b'{"a":' + b"[" * (SIZE // 2) + b"]" * (SIZE // 2) + b"}",
    "faults": lambda: repeated("messages", b"1"),
    "missing fields": lambda: repeated("messages", b'{"role": "someone that nobody knows"}'),
    "a fault at the end": lambda: (
        repeated("messages", b'{"role":"ai","content":"%s"}' % (b"x" * 60))[:-2] + b",1]}"
    ),
    "faults in a branch": lambda: repeated("either", b"1"),
    "a long text in place of an array": lambda: b'{"messages":"' + b"x" * SIZE + b'"}',
    "unique numbers": lambda: joined("unique", map(str, range(1_100_000))),
    "unique large numbers": lambda: joined("unique", (str(10**25 + i) for i in range(300_000))),
    "unique objects": lambda: joined("unique", (f'{{"a":"{i:060d}"}}' for i in range(130_000))),
    "a pattern that backtracks": lambda: b'{"words":"' + b"a" * 30 + b'!"}',
    "a long text for it": lambda: b'{"words":"' + b"a" * SIZE + b'!"}',
    "a pattern that explodes": lambda: joined(
        "explodes", (f'"{"".join(random.Random(7).choices("ab", k=50_000))}"' for _ in range(180))
    ),
    "a tree": lambda: b'{"tree":' + b'{"c":' * 200 + b"1" + b"}" * 201,
}


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    folder = tmp_path_factory.mktemp("values")
    limits = {"message_bytes": 10 * MIB}  # a frame may be as large as a body here
    schema = {"input": SCHEMA}
    with serving(
        folder, agent=AGENT, keys=True, a2a=True, io_schema=schema, expose={"limits": limits}
    ) as found:
        yield found


def cpu_seconds(target: Target) -> float:
    """Return the processor's time that the server has had: the machine may be busy with others."""
    stat = Path(f"/proc/{target.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(stat[11]) + int(stat[12])) / os.sysconf("SC_CLK_TCK")


def warmed(target: Target) -> None:
    with target.client() as client:
        assert client.post("/invoke", json={}).status_code == 200


@pytest.mark.parametrize("kind", BODIES)
def test_a_body_costs_a_second_at_most(target: Target, kind: str) -> None:
    body = BODIES[kind]()
    assert len(body) < 10 * MIB
    warmed(target)
    with target.client() as client:
        for path in ("/invoke", "/invoke/stream", "/runs"):
            with Watch(target) as watch:
                before = cpu_seconds(target)
                answer = client.post(path, content=body)
                took = cpu_seconds(target) - before
            assert answer.status_code in (200, 202, 400, 413, 422, 503), answer.text[:300]
            assert len(answer.content) < 20_000
            assert took < SECONDS, f"{path}: {took:.2f} s"
            watch.check(growth=10 * len(body) + 16 * MIB, latency=2 * SECONDS)


@pytest.mark.parametrize("kind", BODIES)
def test_a_frame_costs_a_second_at_most(target: Target, kind: str) -> None:
    frame = (b'{"payload":' + BODIES[kind]() + b"}").decode()
    warmed(target)
    url = f"ws://127.0.0.1:{target.port}/invoke/ws"
    with (
        connect(url, additional_headers={"X-API-Key": KEY}, max_size=None, compression=None) as socket,
        Watch(target) as watch,
    ):
        before = cpu_seconds(target)
        socket.send(frame)
        said = json.loads(socket.recv(30))
        took = cpu_seconds(target) - before
    assert said["type"] in ("started", "problem"), said
    assert took < SECONDS, f"{took:.2f} s"
    watch.check(growth=10 * len(frame) + 16 * MIB, latency=2 * SECONDS)


@pytest.mark.parametrize("values", [9_900, 200_000, 1_000_000])
@pytest.mark.parametrize("version", ["1.0", "0.3"])
def test_an_a2a_message_costs_a_second_at_most(target: Target, values: int, version: str) -> None:
    data: Any = {"a": [1] * values}
    part = {"data": data} if version == "1.0" else {"kind": "data", "data": data}
    message = {"messageId": "m-1", "role": "ROLE_USER" if version == "1.0" else "user", "parts": [part]}
    method = "SendMessage" if version == "1.0" else "message/send"
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {"message": message}}
    warmed(target)
    with target.client() as client, Watch(target) as watch:
        before = cpu_seconds(target)
        answer = client.post("/a2a", json=body, headers={"A2A-Version": version})
        took = cpu_seconds(target) - before
    assert answer.status_code == (200 if values < 10_000 else 413)
    if values > 10_000:
        assert answer.json()["code"] == "TOO_MANY_VALUES"
    assert took < SECONDS, f"{took:.2f} s"
    watch.check(growth=64 * MIB, latency=2 * SECONDS)


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("SendMessage", {"message": [1] * 9000}),
        ("SendMessage", {"message": {"messageId": {"a": "x" * 2_000_000}}}),
        ("SendMessage", {"message": {"role": "x" * 2_000_000}}),
        ("message/send", {"message": {"parts": [{"kind": "x" * 100}] * 3000}}),
        ("message/send", {"message": "x" * 2_000_000}),
        ("x" * 2_000_000, {}),
        (7, {}),
    ],
)
def test_a_malformed_a2a_message_is_told_in_a_few_words(target: Target, method: Any, params: Any) -> None:
    before = len(target.log)
    with target.client() as client, Watch(target) as watch:
        body = {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}
        answer = client.post("/a2a", json=body, headers={"A2A-Version": "1.0"})
    assert "error" in answer.json()
    assert len(answer.content) < 10_000
    logged = target.log[before:]
    assert "Traceback" not in logged
    assert len(logged) < 10_000
    watch.check(latency=2 * SECONDS)
