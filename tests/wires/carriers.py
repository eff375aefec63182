"""Each wire as its reader has it: an execution begun, and the JSON of its events as they come."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, TypeAlias

import httpx
import httpx_sse
from websockets.asyncio.client import connect

from ..servers.live import DEADLINE, Live

Told: TypeAlias = dict[str, Any]
Carrier: TypeAlias = Callable[[Live, dict[str, Any]], AsyncGenerator[Told]]

ENDS = ("complete", "error", "cancelled")


async def direct(live: Live, payload: dict[str, Any]) -> AsyncGenerator[Told]:
    async with aclosing(_sse(live, "POST", "/invoke/stream", json=payload)) as events:
        async for event in events:
            yield event


async def run(live: Live, payload: dict[str, Any]) -> AsyncGenerator[Told]:
    async with aclosing(followed(live, await _made(live, payload), 1)) as events:
        async for event in events:
            yield event


async def socket(live: Live, payload: dict[str, Any]) -> AsyncGenerator[Told]:
    async with connect(_url(live, "/invoke/ws")) as connection:
        await connection.send(json.dumps({"payload": payload}))
        while True:
            event = json.loads(await connection.recv())
            yield event
            if event["type"] in ENDS:
                return


async def run_socket(live: Live, payload: dict[str, Any]) -> AsyncGenerator[Told]:
    async with aclosing(followed_by_socket(live, await _made(live, payload), 1)) as events:
        async for event in events:
            yield event


async def followed(live: Live, run_id: str, start: int) -> AsyncGenerator[Told]:
    """Follow a run by Server-Sent Events."""
    async with aclosing(_sse(live, "GET", f"/runs/{run_id}/events?from_sequence={start}")) as events:
        async for event in events:
            yield event


async def followed_by_socket(live: Live, run_id: str, start: int) -> AsyncGenerator[Told]:
    """Follow a run by a WebSocket."""
    async with connect(_url(live, f"/runs/{run_id}/ws?from_sequence={start}")) as connection:
        async for frame in connection:
            yield json.loads(frame)


CARRIERS: dict[str, Carrier] = {
    "`/invoke/stream`": direct,
    "`/runs/{id}/events`": run,
    "`/invoke/ws`": socket,
    "`/runs/{id}/ws`": run_socket,
}
"""By their heading in docs/wires.md."""


async def whole(carrier: Carrier, live: Live, payload: dict[str, Any]) -> list[Told]:
    """Return everything that a wire brings of one execution."""
    async with asyncio.timeout(DEADLINE), aclosing(carrier(live, payload)) as events:
        return [event async for event in events]


async def _made(live: Live, payload: dict[str, Any]) -> str:
    async with httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as client:
        answer = await client.post("/runs", json=payload)
        assert answer.status_code == 202
        run_id: str = answer.json()["run_id"]
        return run_id


async def _sse(live: Live, method: str, path: str, **options: Any) -> AsyncGenerator[Told]:
    async with (
        httpx.AsyncClient(base_url=live.url, timeout=DEADLINE) as client,
        httpx_sse.aconnect_sse(client, method, path, **options) as source,
    ):
        assert source.response.status_code == 200
        async with aclosing(source.aiter_sse()) as frames:
            async for frame in frames:
                yield json.loads(frame.data)


def _url(live: Live, path: str) -> str:
    return f"ws://127.0.0.1:{live.port}{path}"
