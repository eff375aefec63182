"""The A2A wire, by its SDK's own client: tasks are runs."""

from __future__ import annotations

import asyncio

import pytest
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    SubscribeToTaskRequest,
    Task,
    TaskState,
)
from a2a.utils.errors import (
    InvalidParamsError,
    TaskNotCancelableError,
    UnsupportedOperationError,
)
from google.protobuf.json_format import MessageToDict

from .a2a_client import (
    EXPOSE,
    VERSIONS,
    client_of,
    followed_by,
    saying,
    sent,
    served,
    states,
    talk,
    texts,
    told,
)
from .conftest import Serve, Store
from .test_auth import remembering_graph


async def test_the_card_says_what_the_dockfile_does(serve: Serve) -> None:
    schema = {
        "input": {
            "properties": {"query": {"type": "string", "description": "what to say"}},
            "required": ["query"],
        }
    }
    live = serve(talk, expose=EXPOSE, streaming={"async_runs": True}, io_schema=schema)
    answer = live.get("/.well-known/agent-card.json", follow_redirects=False)
    assert answer.status_code == 200
    card = answer.json()
    assert (card["name"], card["capabilities"]["streaming"]) == ("tested", True)
    assert [one["protocolVersion"] for one in card["supportedInterfaces"]] == VERSIONS
    assert {one["url"] for one in card["supportedInterfaces"]} == {card["url"]} == {f"{live.url}/a2a"}
    [skill] = card["skills"]
    assert skill["tags"] == ["handler"]
    assert "query (string, required): what to say" in skill["description"]
    assert "securitySchemes" not in card


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("https://agents.example.com", "https://agents.example.com/a2a"),
        ("https://example.com/agents/mine/", "https://example.com/agents/mine/a2a"),
    ],
)
def test_the_card_of_a_server_behind_a_proxy_says_its_public_address(
    serve: Serve, given: str, told: str
) -> None:
    live = serve(talk, expose={**EXPOSE, "public_url": given}, streaming={"async_runs": True})
    card = live.get("/.well-known/agent-card.json", headers={"Host": "localhost:8080"}).json()
    assert {card["url"], *(one["url"] for one in card["supportedInterfaces"])} == {told}


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_message_is_answered_by_a_task_that_has_ended(
    serve: Serve, store: Store, version: str
) -> None:
    live = served(serve, store)
    async with client_of(live, version, streaming=False) as client:
        task = await sent(client, saying("hello"))
        assert task.status.state == TaskState.TASK_STATE_COMPLETED
        assert texts(task) == {"text": "t0 t1 t2 ", "output": {"said": "hello", "tokens": 3}}
        assert live.get(f"/runs/{task.id}").json()["output"] == {"said": "hello", "tokens": 3}
        again = await client.get_task(GetTaskRequest(id=task.id))
        assert MessageToDict(again) == MessageToDict(task)
    if store.backend == "redis":
        async with client_of(served(serve, store), version) as client:  # one that was not there yet
            assert MessageToDict(await client.get_task(GetTaskRequest(id=task.id))) == MessageToDict(task)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_stream_follows_the_log(serve: Serve, store: Store, version: str) -> None:
    live = served(serve, store)
    async with client_of(live, version) as client:
        [first, *updates] = await told(client.send_message(saying("hello", {"tokens": 2})))
    task_id = first["task"]["id"]
    assert first["task"]["contextId"] == task_id
    assert states(updates) == [f"TASK_STATE_{state}" for state in ("WORKING", "WORKING", "COMPLETED")]
    chunks = [update["artifactUpdate"] for update in updates if "artifactUpdate" in update]
    assert [chunk["artifact"]["artifactId"] for chunk in chunks] == ["text", "text", "text", "output"]
    assert [chunk.get("append", False) for chunk in chunks] == [False, True, True, False]
    assert [chunk.get("lastChunk", False) for chunk in chunks] == [False, False, True, True]
    assert [chunk["artifact"]["parts"][0].get("text") for chunk in chunks[:2]] == ["t0 ", "t1 "]
    [thought] = [
        update["statusUpdate"]["status"]["message"] for update in updates[1:-1] if "statusUpdate" in update
    ]
    assert thought["parts"][0]["data"]["type"] == "custom:thought"
    assert thought["parts"][0]["data"]["data"] == {"about": "hello"}
    if version == "1.0":
        sequences = [next(iter(update.values()))["metadata"]["sequence"] for update in updates]
        assert sequences == [1, 2, 3, 4, 5, 5, 5]


@pytest.mark.parametrize("version", VERSIONS)
async def test_subscribing_replays_on_another_server_too(serve: Serve, store: Store, version: str) -> None:
    live = served(serve, store)
    other = served(serve, store) if store.backend == "redis" else live
    async with client_of(live, version) as client, client_of(other, version) as elsewhere:
        stream = client.send_message(saying("hello", {"tokens": 40, "pause": 0.02}))
        first = await anext(stream)
        seen = [MessageToDict(await anext(stream)) for _ in range(5)]
        task_id = first.task.id
        [task, *replayed] = await told(elsewhere.subscribe(SubscribeToTaskRequest(id=task_id)))
        assert task["task"]["id"] == task_id
        seen += await told(stream)
        assert replayed == seen
        with pytest.raises(UnsupportedOperationError):
            await told(elsewhere.subscribe(SubscribeToTaskRequest(id=task_id)))
        whole = await elsewhere.get_task(GetTaskRequest(id=task_id))
        assert texts(whole)["text"] == "".join(f"t{number} " for number in range(40))
    for server in (live, other):
        await followed_by(server, 0)


@pytest.mark.parametrize("version", VERSIONS)
async def test_a_task_is_cancelled_wherever_it_runs(serve: Serve, store: Store, version: str) -> None:
    live = served(serve, store)
    other = served(serve, store) if store.backend == "redis" else live
    async with client_of(live, version) as client, client_of(other, version) as elsewhere:
        stream = client.send_message(saying(data={"tokens": 100_000, "pause": 0.01}))
        task_id = (await anext(stream)).task.id
        await anext(stream)
        task = await elsewhere.cancel_task(CancelTaskRequest(id=task_id))
        assert task.status.state == TaskState.TASK_STATE_CANCELED
        assert states(await told(stream))[-1] == "TASK_STATE_CANCELED"
        again = await client.cancel_task(CancelTaskRequest(id=task_id))
        assert again.status.state == TaskState.TASK_STATE_CANCELED
        [*_, ended] = await told(client.send_message(saying(data={"tokens": 0})))
        with pytest.raises(TaskNotCancelableError):
            await client.cancel_task(CancelTaskRequest(id=ended["statusUpdate"]["taskId"]))


async def test_a_failure_is_a_failed_task(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        task = await sent(client, saying(data={"fail": True}))
    assert task.status.state == TaskState.TASK_STATE_FAILED
    said, event = task.status.message.parts
    assert "it went wrong" in said.text
    assert MessageToDict(event.data)["code"] == "AGENT_ERROR"
    assert texts(task) == {"text": "t0 t1 t2 "}


async def test_a_context_is_a_conversation(serve: Serve, store: Store) -> None:
    live = served(serve, store, remembering_graph(), framework="langgraph")
    async with client_of(live, streaming=False) as client:

        async def say(context_id: str) -> Task:
            return await sent(client, saying("hi", context_id=context_id))

        def remembered(task: Task) -> int:
            return len(texts(task)["output"]["messages"])

        first = await say("ours")
        assert (first.context_id, remembered(first)) == ("ours", 2)
        assert remembered(await say("ours")) == 4
        alone = await say("")
        assert (alone.context_id, remembered(alone)) == (alone.id, 2)
        further = await say(alone.context_id)
        assert (further.context_id, remembered(further)) == (alone.id, 4)
        with pytest.raises(InvalidParamsError):
            await say("two\nlines")
        with pytest.raises(UnsupportedOperationError):
            await sent(client, saying("hi", task_id=first.id))


async def test_a_task_may_be_polled_for(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        task = await sent(client, saying(data={"tokens": 5, "pause": 0.05}, at_once=True))
        assert task.status.state in (TaskState.TASK_STATE_SUBMITTED, TaskState.TASK_STATE_WORKING)
        while task.status.state != TaskState.TASK_STATE_COMPLETED:
            await asyncio.sleep(0.02)
            task = await client.get_task(GetTaskRequest(id=task.id))
    assert texts(task)["text"] == "t0 t1 t2 t3 t4 "
