"""The clients against a real server: typed events, clear errors, and no event lost or doubled."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import traceback
from pathlib import Path
from typing import Any

import pytest

from dockrion_events import CompleteEvent, GapEvent, StartedEvent, TokenEvent
from dockrion_sdk.client import APIError, Client, Run, ServerUnreachable, StreamBroken, SyncClient

from ..servers import Proxy
from ..servers.redis import free_port
from .conftest import DEADLINE, Live, Serve, Store

KEYS = {"DOCKRION_API_KEY": "alice:key-of-alice"}


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(payload.get("tokens", 3)):
        await context.emit_token(f"t{number} ")
        if payload.get("pause"):
            await asyncio.sleep(payload["pause"])
    if payload.get("fail"):
        raise ValueError("wrong")
    return {"said": payload.get("tokens", 3)}


def served(serve: Serve, store: Store | None = None, agent: Any = talk, **options: Any) -> Live:
    streaming = {"async_runs": True, **(store.streaming() if store is not None else {})}
    return serve(agent, streaming={**streaming, **options.pop("streaming", {})}, **options)


async def test_invoke_returns_the_output(serve: Serve) -> None:
    async with Client(served(serve, expose={"errors": "full"}).url) as client:
        assert await client.invoke({"tokens": 2}) == {"said": 2}
        with pytest.raises(APIError) as failed:
            await client.invoke({"fail": True})
    assert (failed.value.status, failed.value.code) == (500, "AGENT_ERROR")
    assert "wrong" in failed.value.detail


async def test_stream_yields_typed_events_to_the_end(serve: Serve) -> None:
    async with Client(served(serve).url) as client:
        events = [event async for event in client.stream({"tokens": 2})]
        assert [type(event) for event in events] == [StartedEvent, TokenEvent, TokenEvent, CompleteEvent]
        assert [event.sequence for event in events] == [1, 2, 3, 4]
        [*_, failed] = [event async for event in client.stream({"fail": True})]
        assert failed.type == "error"


async def test_leaving_a_stream_stops_the_agent(serve: Serve) -> None:
    stopped = threading.Event()

    async def endless(payload: dict[str, Any], context: Any) -> None:
        try:
            while True:
                await context.emit_token("on")
                await asyncio.sleep(0.01)
        finally:
            stopped.set()

    async with Client(served(serve, agent=endless).url) as client:
        stream = client.stream({})
        async for event in stream:
            if event.type == "token":
                break
        await stream.aclose()  # type: ignore[attr-defined]
        assert await asyncio.to_thread(stopped.wait, DEADLINE)


async def test_a_stream_whose_connection_breaks_says_so(serve: Serve) -> None:
    live = served(serve)
    with Proxy(live.port) as proxy:
        proxy.cut_after(iter([700]))
        async with Client(f"http://127.0.0.1:{proxy.port}") as client:
            with pytest.raises(StreamBroken):
                [event async for event in client.stream({"tokens": 100, "pause": 0.005})]


async def test_nobody_there_is_one_clear_error() -> None:
    async with Client("http://127.0.0.1:9", patience=0.3) as client:
        with pytest.raises(ServerUnreachable):
            await client.invoke({})
        with pytest.raises(ServerUnreachable, match=r"no answer for 0\.3 s"):
            await client.runs.get("x")
        with pytest.raises(ServerUnreachable):
            [event async for event in client.runs.events("x")]


async def test_a_key_is_sent_and_a_wrong_one_is_an_error(serve: Serve) -> None:
    live = served(serve, env=KEYS, auth={"mode": "api_key"})
    async with Client(live.url, api_key="key-of-alice") as client:
        assert await client.invoke({}) == {"said": 3}
        run = await client.runs.create({}, run_id="mine")
        assert [event.sequence async for event in client.runs.events("mine")] == [1, 2, 3, 4, 5]
        assert run.run_id == "mine"
    async with Client(live.url, api_key="key-of-mallory") as client:
        for call in (client.invoke({}), client.runs.get("mine"), client.runs.cancel("mine")):
            with pytest.raises(APIError) as refused:
                await call
            assert refused.value.status == 401


async def test_the_calls_about_runs(serve: Serve, store: Store) -> None:
    async with Client(served(serve, store).url) as client:
        run = await client.runs.create({"tokens": 1})
        assert isinstance(run, Run)
        assert run.status == "accepted"
        events = [event async for event in client.runs.events(run.run_id)]
        assert [event.type for event in events] == ["started", "token", "complete"]
        assert {event.run_id for event in events} == {run.run_id}
        shown = await client.runs.get(run.run_id)
        assert shown.ended
        assert (shown.status, shown.output, shown.last_sequence) == ("completed", {"said": 1}, 3)
        assert [event.sequence async for event in client.runs.events(run.run_id, from_sequence=2)] == [2, 3]
        assert [event async for event in client.runs.events(run.run_id, from_sequence=4)] == []

        slow = await client.runs.create({"tokens": 1000, "pause": 0.05}, run_id="slow")
        again = await client.runs.create({"tokens": 1000, "pause": 0.05}, run_id="slow")
        assert slow.run_id == again.run_id
        await client.runs.cancel("slow", reason="enough")
        [*_, last] = [event async for event in client.runs.events("slow")]
        assert (last.type, (await client.runs.get("slow")).reason) == ("cancelled", "enough")
        assert [found.run_id async for found in client.runs.list(page_size=1)] == ["slow", run.run_id]

        with pytest.raises(APIError) as ended:
            await client.runs.cancel(run.run_id)
        assert (ended.value.status, ended.value.code) == (409, "RUN_ENDED")
        with pytest.raises(APIError) as unknown:
            [event async for event in client.runs.events("nowhere")]
        assert (unknown.value.status, unknown.value.code) == (404, "RUN_NOT_FOUND")


async def test_a_gap_is_yielded(serve: Serve, store: Store) -> None:
    kept = {**store.streaming(max_events_per_run=10), "async_runs": True}
    async with Client(serve(talk, streaming=kept).url) as client:
        run = await client.runs.create({"tokens": 200})
        [*_, last] = [event async for event in client.runs.events(run.run_id)]
        assert last.sequence == 202
        gap, *rest = [event async for event in client.runs.events(run.run_id)]
        assert isinstance(gap, GapEvent)
        assert [event.sequence for event in rest] == list(range(gap.first_available, 203))


async def test_a_cursor_beyond_the_end_is_told_the_end(serve: Serve, store: Store) -> None:
    async with Client(served(serve, store).url) as client:
        run = await client.runs.create({"tokens": 2})
        [*_, last] = [event async for event in client.runs.events(run.run_id)]
        gap, again = [event async for event in client.runs.events(run.run_id, from_sequence=99)]
        assert isinstance(gap, GapEvent)
        assert (gap.requested, again) == (99, last)


async def test_a_hundred_cuts_at_random_bytes_lose_and_double_nothing(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    chance = random.Random(17)
    with Proxy(live.port) as proxy:
        proxy.cut_after(iter([chance.randint(1, 3000) for _ in range(100)]))
        async with Client(live.url) as direct, Client(f"http://127.0.0.1:{proxy.port}") as client:
            run = await direct.runs.create({"tokens": 1500, "pause": 0.0005})
            seen = [event.sequence async for event in client.runs.events(run.run_id)]
        assert seen == list(range(1, 1503))
        assert proxy.lost == 100


async def test_responses_that_end_by_themselves_are_taken_up_again(serve: Serve, store: Store) -> None:
    live = served(serve, store, streaming={"connection": {"default_timeout": 0.1}})
    async with Client(live.url) as client:
        run = await client.runs.create({"tokens": 100, "pause": 0.01})
        assert [event.sequence async for event in client.runs.events(run.run_id)] == list(range(1, 103))


async def test_the_readmes_client_runs(serve: Serve, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (Path(__file__).parents[2] / "README.md").read_text()
    [block] = [
        part.split("```")[0] for part in readme.split("```python\n") if "Client(" in part.split("```")[0]
    ]
    body = block.replace("http://localhost:8080", served(serve).url).replace("\n", "\n    ")
    scope: dict[str, Any] = {}
    exec(f"async def main():\n    {body}", scope)
    await scope["main"]()
    assert capsys.readouterr().out.split() == [
        *("started", "1", "token", "2", "token", "3", "token", "4", "complete", "5")
    ]


def test_the_synchronous_client_does_the_same(serve: Serve, store: Store) -> None:
    with SyncClient(served(serve, store).url) as client:
        assert client.invoke({"tokens": 1}) == {"said": 1}
        assert [event.type for event in client.stream({"tokens": 1})] == ["started", "token", "complete"]
        run = client.runs.create({"tokens": 2})
        assert [event.sequence for event in client.runs.events(run.run_id)] == [1, 2, 3, 4]
        assert client.runs.get(run.run_id).status == "completed"
        assert [found.run_id for found in client.runs.list()] == [run.run_id]
        with pytest.raises(APIError):
            client.runs.cancel(run.run_id)
        for event in client.stream({"tokens": 1000, "pause": 0.01}):
            if event.type == "token":
                break


def test_without_a_server_there_is_one_short_error_with_the_address() -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with SyncClient(url, patience=0) as client:
        for call in (
            lambda: list(client.stream({})),
            lambda: client.invoke({}),
            lambda: client.runs.get("run"),
            lambda: list(client.runs.list()),
            lambda: list(client.runs.events("run")),
        ):
            with pytest.raises(ServerUnreachable, match=re.escape(url)) as caught:
                call()
            told = traceback.format_exception(caught.value)
            assert len("".join(told).splitlines()) < 25
            assert "httpx" not in "".join(told)
            assert (caught.value.__cause__, caught.value.__suppress_context__) == (None, True)
