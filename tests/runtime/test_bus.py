"""Runs that a program writes by itself, seen through the server; and agents that the program runs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import httpx_sse
import pytest

from dockrion_adapters import HandlerAdapter
from dockrion_events import EventBus, RunCancelled, StreamContext
from dockrion_events.bus import EventBackend, MemoryBackend
from dockrion_events.bus.redis import RedisBackend

from .conftest import DEADLINE, Live, Serve, Store

PREFIX = "dockrion:tested:"  # of the agent's name

Program = Callable[[EventBackend], Coroutine[Any, Any, Any]]


def serve_runs(serve: Serve, store: Store, agent: Any = lambda payload: payload, **options: Any) -> Live:
    return serve(
        agent, streaming={"async_runs": True, **store.streaming(max_events_per_run=1_000_000)}, **options
    )


def beside(live: Live, store: Store, program: Program) -> Any:
    """Run a program beside the server: on a loop of its own, but on the server's where that has the store."""
    if store.backend == "redis":
        return asyncio.run(
            asyncio.wait_for(program(RedisBackend(store.settings["url"], prefix=PREFIX)), DEADLINE)
        )
    assert live.service.runs is not None
    running = asyncio.run_coroutine_threadsafe(program(live.service.runs.backend), live.loop)
    return running.result(DEADLINE)


def read(live: Live, run_id: str, **headers: str) -> list[dict[str, Any]]:
    with (
        live.client() as client,
        httpx_sse.connect_sse(client, "GET", f"/runs/{run_id}/events", headers=headers) as source,
    ):
        assert source.response.status_code == 200, source.response.read()
        return [json.loads(event.data) for event in source.iter_sse() if event.data]


def test_the_server_shows_what_a_worker_of_ones_own_wrote(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)

    async def worker(backend: EventBackend) -> None:
        async with EventBus(backend) as bus:
            context = StreamContext("report-7", bus=bus)
            await context.emit_started("reporter")
            context.sync_emit_progress("collecting", 0.5)
            await context.emit_complete({"pages": 12}, 1.5)

    beside(live, store, worker)
    events = read(live, "report-7")
    assert [event["type"] for event in events] == ["started", "progress", "complete"]
    assert [(event["sequence"], event["run_id"]) for event in events] == [(n, "report-7") for n in (1, 2, 3)]
    shown = live.get("/runs/report-7").json()
    assert (shown["status"], shown["output"]) == ("completed", {"pages": 12})
    assert [run["run_id"] for run in live.get("/runs").json()["runs"]] == ["report-7"]
    assert live.post("/runs?run_id=report-7", {"a": 1}).status_code == 409
    live.get("/health").raise_for_status()


def test_the_server_cancels_what_a_worker_writes(serve: Serve, store: Store) -> None:
    live = serve_runs(serve, store)

    def work(context: StreamContext) -> None:
        while True:
            context.sync_emit_token("on and on")

    def cancel() -> int:
        with live.client() as client:
            return client.delete("/runs/endless?reason=enough").status_code

    async def worker(backend: EventBackend) -> bool:
        async with EventBus(backend) as bus:
            context = StreamContext("endless", bus=bus)
            await context.emit_started("worker")
            working = asyncio.create_task(asyncio.to_thread(work, context))
            assert await asyncio.to_thread(cancel) == 200
            with pytest.raises(RunCancelled):
                await working
            return context.cancelled

    assert beside(live, store, worker) is True
    events = read(live, "endless")
    assert (events[0]["type"], events[-1]["type"], events[-1]["reason"]) == ("started", "cancelled", "enough")
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))


def test_a_program_reads_what_the_server_executes(serve: Serve, store: Store) -> None:
    modes: list[bool] = []

    async def talk(payload: dict[str, Any], context: StreamContext) -> str:
        modes.append(context.queue_mode)
        await context.emit_token("hello")
        return "done"

    live = serve_runs(serve, store, talk)
    run_id = live.post("/runs", {}).json()["run_id"]

    async def reader(backend: EventBackend) -> list[str]:
        async with EventBus(backend) as bus:
            return [event.type async for event in bus.subscribe(run_id)]

    assert beside(live, store, reader) == ["started", "token", "complete"]
    assert modes == [False]


def test_a_run_belongs_to_the_owner_that_the_bus_is_made_for(serve: Serve, store: Store) -> None:
    env = {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}
    live = serve_runs(serve, store, env=env, auth={"mode": "api_key"})

    async def worker(backend: EventBackend) -> None:
        async with EventBus(backend, owner="alice") as bus:
            context = StreamContext("mine", bus=bus)
            await context.emit_started("worker")
            await context.emit_complete(1, 1.0)

    beside(live, store, worker)
    assert [event["type"] for event in read(live, "mine", **{"X-API-Key": "key-of-alice"})] == [
        "started",
        "complete",
    ]
    for path in ("/runs/mine", "/runs/mine/events"):
        assert live.get(path, headers={"X-API-Key": "key-of-bob"}).status_code == 404


async def test_an_agent_that_the_program_runs_emits_into_the_run() -> None:
    def agent(payload: dict[str, Any], context: StreamContext) -> str:
        for word in payload["text"].split():
            context.sync_emit_token(word)
        return "done"

    adapter = HandlerAdapter(agent)
    async with EventBus(MemoryBackend()) as bus:
        context = StreamContext("r", bus=bus)
        await context.emit_started(adapter.agent_name, adapter.framework)
        output = await adapter.ainvoke({"text": "a b"}, context=context)
        async for event in adapter.invoke_stream({"text": "c"}):  # the other way: its events sent on
            await context.send(event)
        await context.emit_complete(output, 1.0)
        events = [event async for event in bus.subscribe("r")]
    assert [event.type for event in events] == ["started", "token", "token", "token", "complete"]
    assert [event.sequence for event in events] == [1, 2, 3, 4, 5]
