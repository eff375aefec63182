"""What a body may be: halves of characters, a byte order mark, and what is no JSON at all."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from websockets.asyncio.client import connect

from .conftest import Live, Serve

HALVES = [
    (rb"a\ud83d", "a�"),
    (rb"\udE00b", "�b"),
    (rb"\ud83d\ud83d\ude00", "�😀"),
    (rb"\ud83d\ude00\ude00", "😀�"),
    (rb"\\ud83d", r"\ud83d"),
    (rb"\\\ud83d", "\\�"),
    (rb"\ud83d\u0041", "�A"),
    (rb"\ud83d\n", "�\n"),
    (rb"\ud83d\ude00", "😀"),
]


async def echo(payload: dict[str, Any]) -> dict[str, Any]:
    return payload


def send(live: Live, body: bytes, path: str = "/invoke", **headers: str) -> Any:
    with live.client() as client:
        return client.post(path, content=body, headers=headers)


@pytest.mark.parametrize(("text", "meant"), HALVES)
def test_half_a_character_becomes_the_replacement_character(serve: Serve, text: bytes, meant: str) -> None:
    live = serve(echo)
    assert send(live, b'{"%s": ["%s"]}' % (text, text)).json()["output"] == {meant: [meant]}


async def test_half_a_character_in_a_frame(serve: Serve) -> None:
    live = serve(echo, expose={"streaming": "websocket"})
    async with connect(f"ws://127.0.0.1:{live.port}/invoke/ws") as socket:
        await socket.send('{"payload": {"a": "\\ud83d"}}')
        events = [json.loads(await socket.recv()) for _ in range(2)]
    assert events[-1]["output"] == {"a": "�"}


def test_half_a_character_in_a_run(serve: Serve) -> None:
    live = serve(echo, streaming={"async_runs": True})
    run_id = send(live, rb'{"a": "\ud83d"}', "/runs").json()["run_id"]
    live.eventually(lambda: live.get(f"/runs/{run_id}").json()["status"] == "completed")
    assert live.get(f"/runs/{run_id}").json()["output"] == {"a": "�"}


def test_a_byte_order_mark_does_no_harm(serve: Serve) -> None:
    live = serve(echo)
    assert send(live, b"\xef\xbb\xbf" + b'{"a": 1}').json()["output"] == {"a": 1}


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1"])
def test_another_encoding_is_refused_with_the_reason(serve: Serve, encoding: str) -> None:
    refused = send(serve(echo), '{"a": "é"}'.encode(encoding))
    assert (refused.status_code, refused.json()["code"]) == (400, "INVALID_JSON")
    assert refused.json()["detail"] == "the body is not UTF-8, as JSON has to be"


@pytest.mark.parametrize("path", ["/invoke", "/invoke/stream", "/runs"])
def test_what_is_no_json_is_415_with_the_reason(serve: Serve, path: str) -> None:
    live = serve(echo, streaming={"async_runs": True})
    packed = send(live, gzip.compress(b'{"a": 1}'), path, **{"Content-Encoding": "gzip"})
    assert (packed.status_code, packed.json()["code"]) == (415, "UNSUPPORTED_ENCODING")
    assert "compressed (gzip)" in packed.json()["detail"]
    with live.client() as client:
        form = client.post(path, files={"file": b"x"})
        plain = client.post(path, content=b"hello", headers={"Content-Type": "text/plain"})
    for refused, kind in ((form, "multipart/form-data"), (plain, "text/plain")):
        assert (refused.status_code, refused.json()["code"]) == (415, "UNSUPPORTED_MEDIA_TYPE")
        assert f"the body is {kind}; it has to be JSON" in refused.json()["detail"]


def test_a_body_that_can_be_read_is_taken_whatever_it_is_called(serve: Serve) -> None:
    live = serve(echo)
    for kind in ("application/x-www-form-urlencoded", "text/plain", "application/json; charset=utf-8"):
        assert send(live, b'{"a": 1}', **{"Content-Type": kind}).json()["output"] == {"a": 1}
    typo = send(live, b'{"a": 1', **{"Content-Type": "application/x-www-form-urlencoded"})
    assert (typo.status_code, typo.json()["code"]) == (400, "INVALID_JSON")
