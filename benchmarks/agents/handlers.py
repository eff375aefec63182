"""Handlers that emit as fast as they can, or by the clock. They do nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any

from dockrion_events import StreamContext

TEXT = "lorem "


async def burst(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    for _ in range(payload["tokens"]):
        await context.emit_token(TEXT)
    return {"tokens": payload["tokens"]}


def burst_sync(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    for _ in range(payload["tokens"]):
        context.sync_emit_token(TEXT)
    return {"tokens": payload["tokens"]}


async def one_by_one(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    """Gives way after each event, as an agent does that waits for the next token of a model."""
    for _ in range(payload["tokens"]):
        await context.emit_token(TEXT)
        await asyncio.sleep(0)
    return {"tokens": payload["tokens"]}


async def by_the_clock(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    """One token every ``interval`` seconds from ``start`` on; a token's text is when it was made."""
    start, interval = payload["start"], payload["interval"]
    for number in range(payload["tokens"]):
        await asyncio.sleep(start + number * interval - time.monotonic())
        await context.emit_token(str(time.monotonic_ns()))
    return {"tokens": payload["tokens"]}


# -- an event every 100 ms, from each kind of handler ----------------------------------------------


def ticks_sync(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    for _ in range(payload["tokens"]):
        time.sleep(payload["interval"])
        context.sync_emit_token(TEXT)
    return {"tokens": payload["tokens"]}


async def ticks_async(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    for _ in range(payload["tokens"]):
        await asyncio.sleep(payload["interval"])
        await context.emit_token(TEXT)
    return {"tokens": payload["tokens"]}


def ticks_generator(payload: dict[str, Any]) -> Iterator[str]:
    for _ in range(payload["tokens"]):
        time.sleep(payload["interval"])
        yield TEXT


async def ticks_async_generator(payload: dict[str, Any]) -> AsyncIterator[str]:
    for _ in range(payload["tokens"]):
        await asyncio.sleep(payload["interval"])
        yield TEXT


# -- runs ------------------------------------------------------------------------------------------


async def trivial(payload: dict[str, Any]) -> dict[str, Any]:
    return {"answer": payload["question"]}


async def essay(payload: dict[str, Any], context: StreamContext) -> dict[str, Any]:
    """Emits ``tokens`` tokens of ``size`` characters, and goes on for ``seconds``."""
    for _ in range(payload["tokens"]):
        await context.emit_token("x" * payload["size"])
    await asyncio.sleep(payload.get("seconds", 0))
    return {}


async def cancelled(payload: dict[str, Any]) -> None:
    """Makes the file ``note``, waits, and writes into it when it was cancelled, by this machine's clock."""
    with open(payload["note"], "w") as note:  # noqa: ASYNC230 - nothing else runs here
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            note.write(str(time.time()))
            raise
