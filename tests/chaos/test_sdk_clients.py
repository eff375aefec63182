"""The clients of dockrion_sdk under servers and a Redis that are killed: each event once, in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from dockrion_events import CompleteEvent, Event, GapEvent
from dockrion_sdk.client import Client, SyncClient

from ..servers import RedisServer
from .processes import Instance, alive, project
from .runs import eventually

pytestmark = pytest.mark.timeout(120)  # processes start again and again

KILLS = 10
PATIENCE = 20.0
RUN = "long"

AGENT = """
import asyncio, pathlib

here = pathlib.Path(__file__).parent

async def handle(payload, context):
    said = 0
    while not (here / "enough").exists():
        await context.emit_token(str(said))
        said += 1
        await asyncio.sleep(0.005)
    return said
"""


class Reader:
    """What one client has seen of a run."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    async def follow(self, url: str) -> None:
        async with Client(url, patience=PATIENCE) as client:
            async for event in client.runs.events(RUN):
                self.events.append(event)

    def follow_sync(self, url: str) -> None:
        with SyncClient(url, patience=PATIENCE) as client:
            for event in client.runs.events(RUN):
                self.events.append(event)

    @property
    def sequences(self) -> list[int]:
        return [event.sequence for event in self.events]

    async def sees_more(self, than: int = 0) -> None:
        before = len(self.events) + than
        await eventually(lambda: len(self.events) > before)


@asynccontextmanager
async def followed(server: Instance) -> AsyncIterator[list[Reader]]:
    """Begin a run; yield what a client of each kind has seen; at the end both have seen it all."""
    url = f"http://127.0.0.1:{server.port}"
    readers = [Reader(), Reader()]
    async with Client(url) as client:
        await client.runs.create({}, run_id=RUN)
        following = asyncio.gather(readers[0].follow(url), asyncio.to_thread(readers[1].follow_sync, url))
        yield readers
        await following
        run = await client.runs.get(RUN)
        assert run.status == "completed"
        for reader in readers:
            end = reader.events[-1]
            assert isinstance(end, CompleteEvent)
            assert (end.sequence, end.output) == (run.last_sequence, run.last_sequence - 2)
        # Behind the end a server says 204, and the client stops.
        assert [event async for event in client.runs.events(RUN, from_sequence=run.last_sequence + 1)] == []


def served(folder: Path, server: RedisServer, **keep: Any) -> Path:
    return project(folder / "project", AGENT, redis=server.url, streaming={"redis": keep})


async def test_ten_kills_of_the_server_that_is_followed(redis_server: RedisServer, tmp_path: Path) -> None:
    folder = served(tmp_path, redis_server)
    async with alive([Instance(folder, "--no-executor"), Instance(folder, worker=True)]) as (server, _):
        async with followed(server) as readers:
            for _ in range(KILLS):
                await asyncio.gather(*(reader.sees_more() for reader in readers))
                server.kill()
                server.start()
                await server.ready()
            await asyncio.gather(*(reader.sees_more() for reader in readers))
            (folder / "enough").touch()
        for reader in readers:
            assert reader.sequences == list(range(1, len(reader.events) + 1))


async def test_restarts_of_redis(redis_server: RedisServer, tmp_path: Path) -> None:
    folder = served(tmp_path, redis_server)
    async with alive([Instance(folder)]) as (server,):
        async with followed(server) as readers:
            for _ in range(3):
                await asyncio.gather(*(reader.sees_more(20) for reader in readers))
                redis_server.restart()
            await asyncio.gather(*(reader.sees_more(20) for reader in readers))
            (folder / "enough").touch()
        for reader in readers:
            assert reader.sequences == list(range(1, len(reader.events) + 1))


async def test_what_was_trimmed_while_the_server_was_away_is_a_gap(
    redis_server: RedisServer, tmp_path: Path
) -> None:
    folder = served(tmp_path, redis_server, max_events_per_run=200)
    async with alive([Instance(folder, "--no-executor"), Instance(folder)]) as (server, other):
        async with followed(server) as readers, Client(f"http://127.0.0.1:{other.port}") as client:
            await asyncio.gather(*(reader.sees_more() for reader in readers))
            server.kill()
            seen = max(len(reader.events) for reader in readers)

            async def moved_on() -> bool:
                return (await client.runs.get(RUN)).first_sequence > seen + 1

            await eventually(moved_on)
            server.start()
            await server.ready()
            await asyncio.gather(*(reader.sees_more() for reader in readers))
            (folder / "enough").touch()
        for reader in readers:
            [place] = [place for place, event in enumerate(reader.events) if isinstance(event, GapEvent)]
            gap = reader.events[place]
            assert isinstance(gap, GapEvent)
            sequences = reader.sequences
            assert sequences[:place] == list(range(1, gap.requested))
            assert sequences[place + 1 :] == list(range(gap.first_available, sequences[-1] + 1))
            assert gap.first_available > gap.requested
