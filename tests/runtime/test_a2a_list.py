"""Tasks are listed over A2A: the caller's own, the newest change first, by page and by filter."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from a2a.client import Client
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    ListTasksRequest,
    ListTasksResponse,
    Task,
    TaskState,
)
from a2a.utils.errors import InvalidParamsError
from google.protobuf.json_format import MessageToDict

from .a2a_client import EXPOSE, client_of, followed_by, saying, sent, served, talk, texts
from .conftest import Live, Serve, Store

STATE = TaskState


async def listed(client: Client, **wanted: Any) -> ListTasksResponse:
    return await client.list_tasks(ListTasksRequest(**wanted))


def ids(answer: ListTasksResponse) -> list[str]:
    return [task.id for task in answer.tasks]


async def begun(client: Client, **message: Any) -> Task:
    """Begin a task that goes on for long."""
    return await sent(client, saying(data={"tokens": 100_000, "pause": 0.05}, at_once=True, **message))


async def working(live: Live, task: Task) -> None:
    await asyncio.to_thread(
        live.eventually, lambda: live.get(f"/runs/{task.id}").json()["status"] == "running"
    )


async def test_pages_hold_every_task_once_the_newest_change_first(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        empty = await listed(client)
        assert (ids(empty), empty.total_size, empty.page_size, empty.next_page_token) == ([], 0, 50, "")
        running = await begun(client)
        await working(live, running)
        done = [(await sent(client, saying(f"say {number}", {"tokens": 0}))).id for number in range(6)]
        whole = await listed(client)
        assert ids(whole) == [*reversed(done), running.id]
        stamps = [task.status.timestamp.ToNanoseconds() for task in whole.tasks]
        assert stamps == sorted(stamps, reverse=True)
        assert (whole.total_size, whole.next_page_token) == (7, "")

        pages, token = [], ""
        while not pages or token:
            answer = await listed(client, page_size=3, page_token=token)
            assert (answer.total_size, answer.page_size) == (7, 3)
            pages.append(ids(answer))
            token = answer.next_page_token
        assert pages == [ids(whole)[:3], ids(whole)[3:6], ids(whole)[6:]]

        await client.cancel_task(CancelTaskRequest(id=running.id))
        assert ids(await listed(client))[0] == running.id  # it has changed last


async def test_filters(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        ours = await sent(client, saying("one", {"tokens": 0}, context_id="ours"))
        failed = await sent(client, saying(data={"tokens": 0, "fail": True}, context_id="ours"))
        alone = await sent(client, saying("two", {"tokens": 0}))
        running = await begun(client, context_id="ours")
        await working(live, running)
        for wanted, expected in [
            ({"context_id": "ours"}, [running, failed, ours]),
            ({"context_id": alone.id}, [alone]),
            ({"context_id": "no id at all"}, []),
            ({"status": STATE.TASK_STATE_COMPLETED}, [alone, ours]),
            ({"status": STATE.TASK_STATE_FAILED}, [failed]),
            ({"status": STATE.TASK_STATE_WORKING}, [running]),
            ({"status": STATE.TASK_STATE_INPUT_REQUIRED}, []),
            ({"status": STATE.TASK_STATE_COMPLETED, "context_id": "ours"}, [ours]),
        ]:
            answer = await listed(client, **wanted)
            assert (wanted, ids(answer)) == (wanted, [task.id for task in expected])
            assert answer.total_size == len(expected)
        answer = await listed(client, context_id="ours", page_size=1)
        assert (ids(answer), answer.total_size) == ([running.id], 3)

        newest = (await listed(client)).tasks[1].status.timestamp
        assert ids(await listed(client, status_timestamp_after=newest)) == [running.id, alone.id]


async def test_what_is_shown_of_a_task(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        failed = await sent(client, saying(data={"tokens": 2, "fail": True}))
        said = await sent(client, saying("hello", {"tokens": 2}, context_id="ours"))
        brief, full = [await listed(client, include_artifacts=whole) for whole in (False, True)]
        assert [task.context_id for task in brief.tasks] == ["ours", failed.id]
        assert [list(task.artifacts) for task in brief.tasks] == [[], []]
        assert [texts(task) for task in full.tasks] == [texts(said), texts(failed)]
        for answer in (brief, full):
            for task, asked in zip(answer.tasks, (said, failed), strict=True):
                assert task.status.state == asked.status.state
                assert MessageToDict(task.status.message) == MessageToDict(asked.status.message)
            assert "it went wrong" in answer.tasks[1].status.message.parts[0].text


async def test_reading_takes_no_subscribers_place(serve: Serve, store: Store) -> None:
    one = {"async_runs": True, **store.streaming(), "connection": {"max_subscribers_per_run": 1}}
    live = serve(talk, expose=EXPOSE, streaming=one)
    async with client_of(live, streaming=False) as client:
        task = await begun(client)
        with live.client() as other, other.stream("GET", f"/runs/{task.id}/events"):
            await followed_by(live, 1)
            assert (await client.get_task(GetTaskRequest(id=task.id))).id == task.id
            (found,) = (await listed(client, include_artifacts=True)).tasks
            assert found.id == task.id
            cancelled = await client.cancel_task(CancelTaskRequest(id=task.id))
            assert cancelled.status.state == STATE.TASK_STATE_CANCELED


async def test_a_task_without_last_words_has_no_message(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        await sent(client, saying("hello"))
        for whole in (False, True):
            (found,) = (await listed(client, include_artifacts=whole)).tasks
            assert not found.status.HasField("message")


async def test_each_key_has_its_own(serve: Serve, store: Store) -> None:
    env = {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}
    live = served(serve, store, env=env, auth={"mode": "api_key"})
    alice, bob = {"X-API-Key": "key-of-alice"}, {"X-API-Key": "key-of-bob"}
    async with client_of(live, streaming=False, **alice) as hers, client_of(live, **bob) as his:
        task = await sent(hers, saying("hello", context_id="ours"))
        for wanted in ({}, {"context_id": "ours"}):
            nothing = await listed(his, **wanted)
            assert (ids(nothing), nothing.total_size) == ([], 0)
            assert ids(await listed(hers, **wanted)) == [task.id]


@pytest.mark.parametrize(
    "wrong", [{"page_size": 0}, {"page_size": 101}, {"page_token": "x"}, {"history_length": -1}]
)
async def test_what_cannot_be_listed(serve: Serve, wrong: dict[str, Any]) -> None:
    live = serve(talk, expose=EXPOSE, streaming={"async_runs": True})
    async with client_of(live) as client:
        with pytest.raises(InvalidParamsError):
            await listed(client, **wrong)


def test_an_answer_has_what_the_protocol_requires(serve: Serve) -> None:
    live = serve(talk, expose=EXPOSE, streaming={"async_runs": True})
    body = {"jsonrpc": "2.0", "id": 1, "method": "ListTasks", "params": {}}
    answer = live.post("/a2a", body, headers={"A2A-Version": "1.0"}).json()
    assert answer["result"] == {"tasks": [], "nextPageToken": "", "pageSize": 50, "totalSize": 0}
    old = {**body, "method": "tasks/list"}  # 0.3 had none
    assert live.post("/a2a", old, headers={"A2A-Version": "0.3"}).json()["error"]["code"] == -32601


async def test_a_page_ends_before_it_gets_large(serve: Serve, store: Store) -> None:
    live = served(serve, store, limits={"a2a_page_bytes": 20_000})
    async with client_of(live, streaming=False) as client:
        names = [(await sent(client, saying("x" * 6000, {"tokens": 0}))).id for _ in range(5)]
        found: list[str] = []
        token, pages = "", 0
        while not pages or token:
            answer = await listed(client, include_artifacts=True, page_token=token)
            assert answer.total_size == 5
            assert 0 < answer.ByteSize() < 25_000
            assert all(task.artifacts for task in answer.tasks)
            found += ids(answer)
            token, pages = answer.next_page_token, pages + 1
        assert found == names[::-1]
        assert pages > 1
        assert live.service.observability.meter.shortened["a2a_page_bytes"] == pages - 1


async def test_only_the_newest_tasks_are_listed(serve: Serve, store: Store) -> None:
    live = served(serve, store, limits={"a2a_tasks": 3})
    async with client_of(live, streaming=False) as client:
        names = [(await sent(client, saying("x", {"tokens": 0}))).id for _ in range(5)]
        answer = await listed(client)
        assert (ids(answer), answer.total_size) == (names[:1:-1], 3)
    assert live.service.observability.meter.shortened["a2a_tasks"] == 1


async def test_text_beyond_the_limit_is_cut_and_the_task_says_so(serve: Serve, store: Store) -> None:
    streaming = {"async_runs": True, **store.streaming(), "events": {"max_event_bytes": 2000}}
    live = serve(talk, expose=EXPOSE, streaming=streaming)
    async with client_of(live, streaming=False) as client:
        task = await sent(client, saying(data={"tokens": 2000}))
        (found,) = (await listed(client, include_artifacts=True)).tasks
        for shown in (task, found):
            assert 0 < sum(map(len, texts(shown))) <= 2000 + 200
            assert MessageToDict(shown.metadata) == {"truncated": True}
        small = await sent(client, saying(data={"tokens": 2}))
        assert not small.metadata.fields
    assert live.service.observability.meter.shortened["max_event_bytes"] == 2
