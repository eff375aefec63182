"""Talking A2A with its SDK's own client."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
from a2a.client import A2ACardResolver, Client, ClientConfig, ClientFactory
from a2a.types import (
    Message,
    Part,
    Role,
    SendMessageConfiguration,
    SendMessageRequest,
    StreamResponse,
    Task,
)
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.struct_pb2 import Value

from .conftest import DEADLINE, Live, Serve, Store

VERSIONS = ["1.0", "0.3"]
EXPOSE = {"protocols": ["a2a"], "errors": "full"}


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for number in range(payload.get("tokens", 3)):
        await context.emit_token(f"t{number} ")
        await asyncio.sleep(payload.get("pause", 0))
    if "fail" in payload:
        raise RuntimeError("it went wrong")
    await context.emit("thought", {"about": payload.get("query", "")})
    return {"said": payload.get("query"), "tokens": payload.get("tokens", 3)}


def served(
    serve: Serve, store: Store, agent: Any = talk, *, limits: dict[str, Any] | None = None, **sections: Any
) -> Live:
    expose = {**EXPOSE, "limits": limits or {}}
    return serve(agent, expose=expose, streaming={"async_runs": True, **store.streaming()}, **sections)


@asynccontextmanager
async def client_of(
    live: Live, version: str = "1.0", *, streaming: bool = True, **headers: str
) -> AsyncIterator[Client]:
    async with asyncio.timeout(DEADLINE), httpx.AsyncClient(timeout=DEADLINE, headers=headers) as http:
        card = await A2ACardResolver(http, live.url).get_agent_card()
        kept = [one for one in card.supported_interfaces if one.protocol_version == version]
        del card.supported_interfaces[:]
        card.supported_interfaces.extend(kept)
        yield ClientFactory(ClientConfig(httpx_client=http, streaming=streaming)).create(card)


def saying(
    text: str | None = None, data: Any = None, *, at_once: bool = False, **fields: Any
) -> SendMessageRequest:
    parts = [Part(text=text)] if text is not None else []
    if data is not None:
        parts.append(Part(data=ParseDict(data, Value())))
    message = Message(**{"message_id": str(uuid.uuid4()), "role": Role.ROLE_USER, "parts": parts, **fields})
    return SendMessageRequest(
        message=message, configuration=SendMessageConfiguration(return_immediately=at_once)
    )


async def told(answers: AsyncIterator[StreamResponse]) -> list[dict[str, Any]]:
    return [MessageToDict(answer) async for answer in answers]


async def sent(client: Client, request: SendMessageRequest) -> Task:
    """Send without streaming, and return the task."""
    [answer] = [answer async for answer in client.send_message(request)]
    return answer.task


def texts(task: Task) -> dict[str, Any]:
    return {
        artifact.artifact_id: MessageToDict(part.data) if part.HasField("data") else part.text
        for artifact in task.artifacts
        for part in artifact.parts
    }


def states(updates: list[dict[str, Any]]) -> list[str]:
    return [update["statusUpdate"]["status"]["state"] for update in updates if "statusUpdate" in update]


async def followed_by(live: Live, readers: int) -> None:
    await asyncio.to_thread(live.eventually, lambda: live.get_info()["runs"]["subscribers"] == readers)
