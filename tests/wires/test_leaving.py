"""docs/wires.md says what a reader that leaves leaves behind, and what it gets when it comes back."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Callable
from concurrent.futures import Future
from contextlib import aclosing
from typing import Any

import pytest

from ..pages import column
from ..runtime.a2a_client import followed_by
from .a2a_carrier import carrier, subscribed
from .carriers import CARRIERS, Carrier, Told, followed, followed_by_socket
from .conftest import DEADLINE, Live, Serve, Store
from .table import PAGE, everywhere

Again = Callable[[Live, str, int], AsyncGenerator[Told]]

WIRES: dict[str, tuple[Carrier, Again | None]] = {
    "`/invoke/stream`": (CARRIERS["`/invoke/stream`"], None),
    "`/runs/{id}/events`": (CARRIERS["`/runs/{id}/events`"], followed),
    "`/invoke/ws`": (CARRIERS["`/invoke/ws`"], None),
    "`/runs/{id}/ws`": (CARRIERS["`/runs/{id}/ws`"], followed_by_socket),
    "A2A": (carrier("1.0"), lambda live, run_id, _: subscribed(live, run_id)),
}
TEXT = ["1", "2", "3"]


@pytest.mark.parametrize("wire", WIRES)
async def test_leaving_and_coming_back(serve: Serve, store: Store, wire: str) -> None:
    go_on, stopped = Future[None](), threading.Event()

    async def agent(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        await context.emit_token(TEXT[0])
        try:
            await asyncio.wrap_future(go_on)
        except asyncio.CancelledError:
            stopped.set()
            raise
        for word in TEXT[1:]:
            await context.emit_token(word)
        return {}

    live = everywhere(serve, store, agent, "handler", protocols=["a2a"])
    begin, again = WIRES[wire]
    cells = column(PAGE, wire)
    async with asyncio.timeout(DEADLINE):
        seen = await _until_token(begin(live, {}))
        if again is None:
            assert await asyncio.to_thread(stopped.wait, DEADLINE)
            assert cells["a reader that leaves"] == "stops the agent"
            assert cells["one that comes back"] == "–"
            return
        await followed_by(live, 0)
        assert not stopped.is_set()
        assert cells["a reader that leaves"] == "the run goes on"
        rest = asyncio.ensure_future(_all(again(live, seen[-1]["run_id"], seen[-1]["sequence"] + 1)))
        await followed_by(live, 1)
        go_on.set_result(None)
        words = [event["content"] for event in await rest if event["type"] == "token"]
        told = {tuple(TEXT[1:]): "gets what it lacks", tuple(TEXT): "gets it all again"}
        assert cells["one that comes back"] == told[tuple(words)]
        assert rest.result()[-1]["type"] == "complete"


async def _until_token(events: AsyncGenerator[Told]) -> list[Told]:
    """Read until there is text, and leave."""
    seen: list[Told] = []
    async with aclosing(events):
        async for event in events:
            seen.append({**(seen[-1] if seen else {}), **event})
            if event["type"] == "token":
                break
    return seen


async def _all(events: AsyncGenerator[Told]) -> list[Told]:
    async with aclosing(events):
        return [event async for event in events]
