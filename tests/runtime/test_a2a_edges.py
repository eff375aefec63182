"""The A2A wire's edges: what is taken and refused, whose it is, and how it ends."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from a2a.types import (
    CancelTaskRequest,
    GetTaskRequest,
    Part,
    SubscribeToTaskRequest,
)
from a2a.utils.errors import (
    ContentTypeNotSupportedError,
    InvalidParamsError,
    TaskNotFoundError,
)
from google.protobuf.json_format import MessageToDict

from dockrion_sdk import DockfileError

from .a2a_client import (
    EXPOSE,
    client_of,
    followed_by,
    saying,
    sent,
    served,
    talk,
    texts,
    told,
)
from .conftest import Serve, Store


async def test_the_same_message_again_is_the_same_task(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    async with client_of(live, streaming=False) as client:
        request, other = saying("hello"), saying("hello")
        first, again, next_one = [await sent(client, one) for one in (request, request, other)]
        assert first.id == again.id != next_one.id
        changed = saying("other words", message_id=request.message.message_id)
        assert (await sent(client, changed)).id != first.id


async def test_parts_make_the_payload(serve: Serve) -> None:
    async def echo(payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": repr(sorted(payload.items()))}  # the protocol's maps have no order

    schema = {
        "input": {
            "properties": {"question": {"type": "string"}, "k": {"type": "integer"}},
            "required": ["question"],
        }
    }
    live = serve(echo, expose=EXPOSE, streaming={"async_runs": True}, io_schema=schema)
    async with client_of(live, streaming=False) as client:
        task = await sent(client, saying("what?", {"k": 3, "x": [1.5, {"big": 2**40}]}))
        expected = {"k": 3, "x": [1.5, {"big": 2**40}], "question": "what?"}
        assert texts(task) == {"output": {"got": repr(sorted(expected.items()))}}
        for wrong in (saying("a", {"question": "b"}), saying(data=[1]), saying(data={"k": 1}), saying()):
            with pytest.raises(InvalidParamsError):
                await sent(client, wrong)
        file = saying("a")
        file.message.parts.append(Part(raw=b"x", filename="x.bin"))
        with pytest.raises(ContentTypeNotSupportedError):
            await sent(client, file)


async def test_what_json_has_and_the_protocol_has_not(serve: Serve) -> None:
    deep: Any = 1
    for _ in range(150):
        deep = {"a": deep}

    async def agent(payload: dict[str, Any]) -> Any:
        return deep if payload["query"] == "deep" else {"n": 2**60 + 1}

    live = serve(agent, expose=EXPOSE, streaming={"async_runs": True})
    async with client_of(live, streaming=False) as client:
        for name, part in (("large", f'{{"n":{2**60 + 1}}}'), ("deep", None)):
            task = await sent(client, saying(name))
            output = task.artifacts[0].parts[0]
            assert output.media_type == "application/json"
            assert output.text == part or (part is None and output.text.startswith('{"a":{"a"'))


async def test_keys_and_owners(serve: Serve, store: Store) -> None:
    env = {"DOCKRION_API_KEY": "alice:key-of-alice,bob:key-of-bob"}
    live = served(serve, store, env=env, auth={"mode": "api_key"})
    card = live.get("/.well-known/agent-card.json").json()
    assert card["securitySchemes"]["apiKey"]["apiKeySecurityScheme"]["name"] == "X-API-Key"
    assert live.post("/a2a").status_code == 401
    alice, bob = {"X-API-Key": "key-of-alice"}, {"Authorization": "Bearer key-of-bob"}
    async with client_of(live, streaming=False, **alice) as hers, client_of(live, **bob) as his:
        task = await sent(hers, saying("hello"))
        for one in (task.id, "absent", "no id at all"):
            with pytest.raises(TaskNotFoundError):
                await his.get_task(GetTaskRequest(id=one))
            with pytest.raises(TaskNotFoundError):
                await his.cancel_task(CancelTaskRequest(id=one))
            with pytest.raises(TaskNotFoundError):
                await told(his.subscribe(SubscribeToTaskRequest(id=one)))
        assert (await hers.get_task(GetTaskRequest(id=task.id))).id == task.id


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{", -32700),
        (b"\xff", -32700),
        (b"[" * 5000, -32700),
        (b"[]", -32600),
        (b"5", -32600),
        (b'{"jsonrpc": "1.0", "id": 1, "method": "GetTask"}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "Nothing"}', -32601),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": 5}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {}}', -32602),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetTask", "params": {"id": "absent"}}', -32001),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "SubscribeToTask", "params": {"id": "absent"}}', -32001),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "GetExtendedAgentCard"}', -32007),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {"id": "absent"}}', -32001),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/get", "params": {}}', -32600),
        (b'{"jsonrpc": "2.0", "id": 1, "method": "tasks/nothing"}', -32601),
    ],
)
async def test_what_is_wrong_gets_the_protocols_own_error(serve: Serve, body: bytes, code: int) -> None:
    live = serve(talk, expose=EXPOSE, streaming={"async_runs": True})
    with live.client(headers={"A2A-Version": "0.3" if b"tasks/" in body else "1.0"}) as client:
        answer = client.post("/a2a", content=body, headers={"X-Request-ID": "order:9"})
    assert answer.status_code == 200
    assert answer.headers["x-request-id"] == "order:9"
    assert answer.json()["error"]["code"] == code
    assert live.get_info()["runs"]["subscribers"] == 0


def test_what_there_is_not(serve: Serve) -> None:
    live = serve(talk, expose={**EXPOSE, "max_body_bytes": 1000}, streaming={"async_runs": True})
    assert live.post("/a2a", {"x": "y" * 2000}).status_code == 413
    assert serve(talk).get("/.well-known/agent-card.json").status_code == 404


async def test_clients_that_leave_leave_nothing_behind(serve: Serve, store: Store) -> None:
    live = served(serve, store)
    for streaming in (True, False):
        client = client_of(live, streaming=streaming)
        async with client as speaking:
            answer = asyncio.ensure_future(
                anext(speaking.send_message(saying(data={"tokens": 1000, "pause": 0.02})))
            )
            await followed_by(live, 1)
            answer.cancel()
            await asyncio.gather(answer, return_exceptions=True)
        await followed_by(live, 0)


async def test_silence_is_filled(serve: Serve) -> None:
    streaming = {"async_runs": True, "events": {"heartbeat_interval": 0.05}}
    live = serve(talk, expose=EXPOSE, streaming=streaming)
    body = {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "SendStreamingMessage",
        "params": MessageToDict(saying(data={"tokens": 1, "pause": 0.4})),
    }
    with live.client(headers={"A2A-Version": "1.0"}) as client:
        text = client.post("/a2a", json=body).text
    assert text.count(": heartbeat\n\n") >= 3
    assert text.endswith("\n\n")
    assert "TASK_STATE_COMPLETED" in text.splitlines()[-2]


async def test_a_server_that_ends_tells_the_end_of_its_tasks(serve: Serve) -> None:
    live = serve(talk, expose={**EXPOSE, "shutdown_grace": 0.2}, streaming={"async_runs": True})
    async with client_of(live) as client:
        stream = client.send_message(saying(data={"tokens": 100_000, "pause": 0.01}))
        await anext(stream)
        draining = asyncio.run_coroutine_threadsafe(live.service.drain(0.2), live.loop)
        [*_, end] = await told(stream)
        assert end["statusUpdate"]["status"]["state"] == "TASK_STATE_CANCELED"
        await asyncio.wrap_future(draining)


def test_the_extra_that_is_missing_is_named(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "a2a", None)
    with pytest.raises(DockfileError, match=r"needs the extra 'a2a'.*pip install 'dockrion-sdk\[a2a\]'"):
        serve(talk, expose=EXPOSE, streaming={"async_runs": True})
