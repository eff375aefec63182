"""Cursors over HTTP, WebSocket and the client: with the epoch of a store that lost events, and without."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.client import connect

from dockrion_events import LogLost
from dockrion_events.bus import Cursor, Follower, MemoryBackend, RunRecord
from dockrion_events.bus.redis import RedisBackend
from dockrion_events.testing.backend.support import ending, failure, opening, tokens
from dockrion_sdk.client import Client

from ..servers import RedisServer
from .conftest import DEADLINE, Live, Serve
from .test_runs import read

RUN = "mine"


async def nothing(payload: dict[str, Any]) -> None:
    """An agent that is never executed here."""


@asynccontextmanager
async def lost(
    serve: Serve, redis: RedisServer, folder: Path
) -> AsyncIterator[tuple[Live, Cursor, RunRecord]]:
    """Serve a run whose event 6 was lost, and is LOG_LOST now; with the cursor of who had seen the other."""
    both = {"streaming": ["sse", "websocket"]}
    live = serve(
        nothing,
        streaming={"async_runs": True, "backend": "redis", "redis": {"url": redis.url}},
        expose=both,
        executing=False,
    )
    backend = RedisBackend(redis.url, prefix="dockrion:tested:")
    await backend.open()
    try:
        claim = await backend.open_run(RUN, owner="", request=b"")
        await backend.append(claim, opening(RUN, 5))
        redis.back_up(folder / "older")
        await backend.append(claim, tokens(RUN, 1, after=5))
        async with asyncio.timeout(DEADLINE):
            (seen,) = [one async for one in _ids(live, 6)]
        redis.restore(folder / "older")
        with pytest.raises(LogLost):
            await backend.append(claim, tokens(RUN, 1, after=6))
        yield live, seen, await backend.end_run(RUN, ending(RUN, failure("LOG_LOST")))
    finally:
        await backend.close()


async def _ids(live: Live, number: int) -> AsyncIterator[Cursor]:
    """Yield the id of one event."""
    shown = await asyncio.to_thread(read, live, RUN, f"?from_sequence={number}&timeout=0.5")
    for last_id, event in shown:
        if event.get("sequence") == number:
            yield Cursor.parse(last_id)


async def test_who_saw_another_event_in_its_place_gets_a_gap_and_the_end(
    serve: Serve, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with lost(serve, redis_server, tmp_path) as (live, seen, record):
        assert seen.epoch
        forms: list[tuple[str, dict[str, str]]] = [
            ("", {"Last-Event-ID": seen.text}),
            (f"?from_sequence={seen + 1}.{seen.epoch}", {}),
        ]
        for query, headers in forms:
            frames = await asyncio.to_thread(read, live, RUN, query, **headers)
            (_, gap), (last_id, end) = frames
            assert (gap["type"], gap["requested"], gap["first_available"]) == ("gap", 7, 6)
            assert "sequence" not in gap
            assert (end["code"], end["sequence"]) == ("LOG_LOST", 6)
            assert Cursor.parse(last_id).text == f"6.{record.epoch}"

        def status(last_id: str) -> int:
            return live.get(f"/runs/{RUN}/events", headers={"Last-Event-ID": last_id}).status_code

        assert await asyncio.to_thread(status, "6") == 204  # a bare number cannot tell
        assert await asyncio.to_thread(status, f"6.{record.epoch}") == 204

        address = f"ws://127.0.0.1:{live.port}/runs/{RUN}/ws?from_sequence=7.{seen.epoch}"
        for query, told in (("", []), ("&epochs=true", ["epoch"])):
            async with asyncio.timeout(DEADLINE), connect(address + query) as socket:
                events = [json.loads(text) async for text in socket]
            assert [event["type"] for event in events] == ["gap", *told, "error"]
            if told:
                assert events[1] == {"type": "epoch", "run_id": RUN, "epoch": record.epoch}

        async with Client(live.url) as client:
            found = [event async for event in client.runs.events(RUN, from_sequence=f"7.{seen.epoch}")]
        assert [event.type for event in found] == ["gap", "error"]


async def test_a_socket_tells_each_epoch_before_its_first_event(
    serve: Serve, redis_server: RedisServer, tmp_path: Path
) -> None:
    async with lost(serve, redis_server, tmp_path) as (live, seen, record):
        address = f"ws://127.0.0.1:{live.port}/runs/{RUN}/ws?epochs=true"
        async with asyncio.timeout(DEADLINE), connect(address) as socket:
            frames = [json.loads(text) async for text in socket]
        assert [frame.get("sequence", frame.get("epoch")) for frame in frames] == [
            seen.epoch, 1, 2, 3, 4, 5, record.epoch, 6,
        ]  # fmt: skip


@pytest.mark.parametrize(
    "cursor",
    ["-1", "x", "1.5", "1.", ".9f86d081", "1.9f86d081.2", "1.9f86 081", "1.é123456", "9" * 20 + ".9f86d081"],
)
def test_what_is_no_cursor(serve: Serve, cursor: str) -> None:
    live = serve(nothing, streaming={"async_runs": True})
    run_id = live.post("/runs").json()["run_id"]
    answer = live.get(f"/runs/{run_id}/events", params={"from_sequence": cursor})
    assert (answer.status_code, answer.json()["code"]) == (400, "INVALID_CURSOR")
    assert "<sequence>.<epoch>" in answer.json()["detail"]


class WithoutEpochs(MemoryBackend):
    """A store of somebody's who knows nothing of epochs, in its followers nor in its cursors."""

    async def follow(self, key: str, *, after: int) -> Follower:
        follower = await super().follow(key, after=int(after))
        assert not hasattr(follower, "epoch")
        return follower


async def test_a_store_without_epochs_has_bare_ids_and_takes_both_forms(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dockrion_runtime.runs.service.MemoryBackend", WithoutEpochs)
    live = serve(nothing, streaming={"async_runs": True})
    run_id = live.post("/runs").json()["run_id"]
    assert [last_id for last_id, _ in read(live, run_id)] == ["1", "2"]
    for last_id in ("1", "1.9f86d081"):
        assert [event["sequence"] for _, event in read(live, run_id, **{"Last-Event-ID": last_id})] == [2]


async def test_the_client_comes_back_with_the_id_that_it_was_given() -> None:
    """Against a server of two connections, which ends the first in mid-run."""
    asked: list[str] = []
    events = [
        {"type": "token", "content": "a"},
        {"type": "complete", "output": 1, "latency_seconds": 1, "metadata": {}},
    ]

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        asked.append(next((line for line in head.split("\r\n") if line.startswith("last-event-id")), ""))
        sequence = len(asked)
        data = json.dumps({**events[sequence - 1], "sequence": sequence, "timestamp": "2026-01-01T00:00:00Z"})
        frame = f"event: x\ndata: {data}\nid: {sequence}.9f86d081\n\n"
        writer.write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n"
            + f"Content-Length: {len(frame)}\r\n\r\n{frame}".encode()
        )
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        async with asyncio.timeout(DEADLINE), Client(f"http://127.0.0.1:{port}") as client:
            found = [event.sequence async for event in client.runs.events(RUN)]
    assert found == [1, 2]
    assert asked == ["", "last-event-id: 1.9f86d081"]
