"""What a reader of A2A knows of the events, by the SDK's own client."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from a2a.types import StreamResponse, SubscribeToTaskRequest
from google.protobuf.json_format import MessageToDict

from ..runtime.a2a_client import VERSIONS, client_of, saying
from ..servers.live import Live
from .carriers import Carrier, Told

STATES = {"TASK_STATE_WORKING": "started", "TASK_STATE_COMPLETED": "complete"}


def carrier(version: str) -> Carrier:
    async def a2a(live: Live, payload: dict[str, Any]) -> AsyncGenerator[Told]:
        async with client_of(live, version) as client:
            async for event in understood(client.send_message(saying(data=payload))):
                yield event

    return a2a


async def subscribed(live: Live, task_id: str) -> AsyncGenerator[Told]:
    """Follow a task that goes on."""
    async with client_of(live) as client:
        async for event in understood(client.subscribe(SubscribeToTaskRequest(id=task_id))):
            yield event


async def understood(answers: AsyncIterator[StreamResponse]) -> AsyncGenerator[Told]:
    """Yield the events that updates stand for, with what can be known of each."""
    output: Told = {}
    async for answer in answers:
        update: Any = MessageToDict(answer)
        if "task" in update:
            yield {"type": "task", "run_id": update["task"]["id"]}
        elif "artifactUpdate" in update:
            artifact = update["artifactUpdate"]["artifact"]
            [part] = artifact["parts"]
            if artifact["artifactId"] == "output":
                output = {"output": part.get("data", part.get("text"))}
            elif part["text"] or not update["artifactUpdate"].get("lastChunk"):  # the last one is empty
                known = _known(update["artifactUpdate"])
                yield {"type": "token", "content": part["text"], **_message_id(artifact), **known}
        else:
            yield {**_status(update["statusUpdate"]), **output}


def _status(update: dict[str, Any]) -> Told:
    status = update["status"]
    for part in status.get("message", {}).get("parts", ()):
        if "data" in part:
            event: Told = part["data"]
            return event
    return {"type": STATES[status["state"]], "timestamp": status["timestamp"], **_known(update)}


def _message_id(artifact: dict[str, Any]) -> Told:
    return {} if artifact["artifactId"] == "text" else {"message_id": artifact["artifactId"]}


def _known(update: dict[str, Any]) -> Told:
    sequence = update.get("metadata", {}).get("sequence")
    return {} if sequence is None else {"sequence": sequence}


A2A = {version: carrier(version) for version in VERSIONS}
"""Both have one column in docs/wires.md."""
