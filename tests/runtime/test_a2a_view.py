"""How events become updates of a task, and updates a task; no server."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from a2a.types import Task, TaskArtifactUpdateEvent
from google.protobuf.json_format import MessageToDict

from dockrion_events import (
    CancelledEvent,
    CompleteEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    GapEvent,
    MessageEvent,
    RestartedEvent,
    StartedEvent,
    TokenEvent,
    encode_json,
)
from dockrion_runtime.wires.a2a.values import data_of, json_part
from dockrion_runtime.wires.a2a.view import TaskSum, TaskView, Update


def shown(*events: Event) -> list[Update]:
    view = TaskView("t", "c")
    updates: list[Update] = []
    for sequence, event in enumerate(events, 1):
        if event.type != "gap":
            event.sequence = sequence
        updates += view.handle(EncodedEvent(event.type, encode_json(event), event.sequence or None))
    return updates


def chunks(updates: list[Update]) -> list[tuple[str, str, bool]]:
    return [
        (update.artifact.artifact_id, update.artifact.parts[0].text, update.append)
        for update in updates
        if isinstance(update, TaskArtifactUpdateEvent)
    ]


def last_chunks(updates: list[Update]) -> list[tuple[str, str]]:
    return [
        (update.artifact.artifact_id, update.metadata["type"])
        for update in updates
        if isinstance(update, TaskArtifactUpdateEvent) and update.last_chunk
    ]


def summed(updates: list[Update]) -> dict[str, str]:
    whole = TaskSum(Task(id="t"), 1000)
    for update in updates:
        whole.add(update)
    return {artifact.artifact_id: artifact.parts[0].text for artifact in whole.task().artifacts}


def token(content: str, message_id: str | None = None) -> TokenEvent:
    return TokenEvent(content=content, message_id=message_id)


def test_messages_at_once_are_artifacts_of_their_own() -> None:
    updates = shown(
        StartedEvent(agent_name="a"), token("1", "x"), token("2", "y"), token("3", "x"), token("4")
    )
    assert chunks(updates) == [("x", "1", False), ("y", "2", False), ("x", "3", True), ("text", "4", False)]
    assert summed(updates) == {"x": "13", "y": "2", "text": "4"}


def test_a_text_has_a_last_chunk_where_its_message_ends() -> None:
    said = [MessageEvent("x", "assistant", "start"), token("1", "x"), token("2", "x")]
    updates = shown(*said, MessageEvent("x", "assistant", "end"), token("3", "y"))
    assert last_chunks(updates) == [("x", "message")]
    closing, status = updates[-3:-1]
    assert MessageToDict(closing)["artifact"]["parts"] == [{"text": "", "mediaType": "text/plain"}]
    assert closing.append
    assert MessageToDict(status)["metadata"]["type"] == "message"  # the event itself is told as before
    assert summed(updates) == {"x": "12", "y": "3"}


@pytest.mark.parametrize(
    "end",
    [
        CompleteEvent(output="out", latency_seconds=1.0, metadata={}),
        ErrorEvent("failed", "AGENT_ERROR"),
        CancelledEvent(),
    ],
    ids=lambda event: event.type,
)
def test_every_text_has_a_last_chunk_where_its_task_ends(end: Event) -> None:
    said = [token("1", "x"), token("2"), MessageEvent("x", "assistant", "end")]
    updates = shown(*said, end)
    output = [("output", "complete")] if end.type == "complete" else []
    assert last_chunks(updates) == [("x", "message"), ("text", end.type), *output]
    assert summed(updates)["text"] == "2"
    assert "status" in MessageToDict(updates[-1])  # the end stays last


def test_a_message_without_text_has_no_chunk() -> None:
    ends = [MessageEvent("x", "assistant", phase) for phase in ("start", "end")]  # type: ignore[arg-type]
    assert chunks(shown(*ends, CancelledEvent())) == []


@pytest.mark.parametrize(
    "break_",
    [RestartedEvent(attempt=2), GapEvent(requested=2, first_available=9)],
    ids=lambda event: event.type,
)
def test_text_begins_anew_where_it_is_said_again_or_missing(break_: Event) -> None:
    updates = shown(token("lost "), token("words"), break_, token("all "), token("again"))
    assert [append for *_, append in chunks(updates)] == [False, True, False, True]
    assert summed(updates) == {"text": "all again"}
    told = MessageToDict(updates[2])["status"]["message"]["parts"][0]["data"]
    assert told["type"] == break_.type


def test_the_same_log_is_shown_the_same_way() -> None:
    events: list[Event] = [StartedEvent(agent_name="a"), token("x"), CancelledEvent(reason="enough")]
    first, second = shown(*events), shown(*events)
    assert first == second
    end = MessageToDict(first[-1])
    assert end["status"]["state"] == "TASK_STATE_CANCELED"
    assert end["status"]["message"]["parts"][0]["text"] == "enough"
    assert end["metadata"] == {"type": "cancelled", "sequence": 3.0}


@pytest.mark.parametrize("output", [None, "said", {"n": 1}])
def test_an_output_is_an_artifact(output: Any) -> None:
    *artifacts, status = shown(CompleteEvent(output=output, latency_seconds=1.0, metadata={}))
    assert MessageToDict(status)["status"]["state"] == "TASK_STATE_COMPLETED"
    assert len(artifacts) == (output is not None)


@pytest.mark.parametrize("value", [1, -1.5, 2**53, "x", None, True, [], {}, {"a": [{"b": 0}, 1.0]}])
def test_json_comes_back_as_it_went(value: Any) -> None:
    assert data_of(json_part(msgspec.json.encode(value))) == value
