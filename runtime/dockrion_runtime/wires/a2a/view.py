"""A run's events as updates of a task, and a task as the sum of its updates."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypeAlias

from a2a.types import (
    Artifact,
    Message,
    Part,
    Role,
    Task,
    TaskArtifactUpdateEvent,
    TaskState,
    TaskStatus,
    TaskStatusUpdateEvent,
)

from dockrion_events import (
    CancelledEvent,
    CompleteEvent,
    ErrorEvent,
    Event,
    GapEvent,
    MessageEvent,
    RestartedEvent,
    StartedEvent,
    TokenEvent,
    encode_json,
)

from ..view import EventView
from .values import json_part

Update: TypeAlias = TaskStatusUpdateEvent | TaskArtifactUpdateEvent

TEXT = "text"
OUTPUT = "output"


class TaskView(EventView[Update]):
    """Shows a run's log as the updates of a task. The same log is shown the same way each time."""

    def __init__(self, task_id: str, context_id: str) -> None:
        self._task_id = task_id
        self._context_id = context_id
        self._begun: set[str] = set()
        self._open: dict[str, None] = {}  # artifacts that have had no last chunk, in their order

    def handle_started(self, event: StartedEvent) -> Iterable[Update]:
        return [self._status(event, TaskState.TASK_STATE_WORKING)]

    def handle_token(self, event: TokenEvent) -> Iterable[Update]:
        artifact_id = event.message_id or TEXT
        append = artifact_id in self._begun
        self._begun.add(artifact_id)
        self._open[artifact_id] = None
        part = Part(text=event.content, media_type="text/plain")
        return [
            self._artifact(event, Artifact(artifact_id=artifact_id, name=TEXT, parts=[part]), append=append)
        ]

    def handle_message(self, event: MessageEvent) -> Iterable[Update]:
        if event.phase == "end" and event.id in self._open:
            yield self._close(event, event.id)
        yield from self.handle_other(event)

    def handle_complete(self, event: CompleteEvent) -> Iterable[Update]:
        yield from self._close_all(event)
        if event.output is not None:
            artifact = Artifact(artifact_id=OUTPUT, name=OUTPUT, parts=[_output_part(event.output)])
            yield self._artifact(event, artifact, last_chunk=True)
        yield self._status(event, TaskState.TASK_STATE_COMPLETED)

    def handle_error(self, event: ErrorEvent) -> Iterable[Update]:
        parts = [Part(text=event.error, media_type="text/plain"), json_part(self.encoded.json)]
        return [*self._close_all(event), self._status(event, TaskState.TASK_STATE_FAILED, parts)]

    def handle_cancelled(self, event: CancelledEvent) -> Iterable[Update]:
        parts = [Part(text=event.reason, media_type="text/plain")] if event.reason else []
        return [*self._close_all(event), self._status(event, TaskState.TASK_STATE_CANCELED, parts)]

    def handle_restarted(self, event: RestartedEvent) -> Iterable[Update]:
        # The agent says it all again: an artifact's next chunk takes the place of what it had.
        self._begun.clear()
        return self.handle_other(event)

    def handle_gap(self, event: GapEvent) -> Iterable[Update]:
        self._begun.clear()  # what came before is not known to be what the reader has
        return self.handle_other(event)

    def handle_other(self, event: Event) -> Iterable[Update]:
        """Tell the event itself, and that the work goes on."""
        return [self._status(event, TaskState.TASK_STATE_WORKING, [json_part(self.encoded.json)])]

    def _close_all(self, event: Event) -> list[Update]:
        return [self._close(event, artifact_id) for artifact_id in list(self._open)]

    def _close(self, event: Event, artifact_id: str) -> Update:
        """Return the last chunk of a text: an empty one, since the end is known only afterwards."""
        del self._open[artifact_id]
        part = Part(text="", media_type="text/plain")
        artifact = Artifact(artifact_id=artifact_id, name=TEXT, parts=[part])
        return self._artifact(event, artifact, append=True, last_chunk=True)

    def _status(self, event: Event, state: TaskState, parts: Iterable[Part] = ()) -> TaskStatusUpdateEvent:
        status = TaskStatus(state=state, timestamp=event.timestamp)
        parts = list(parts)
        if parts:
            message = Message(
                message_id=f"{self._task_id}:{event.sequence or event.type}",
                task_id=self._task_id,
                context_id=self._context_id,
                role=Role.ROLE_AGENT,
                parts=parts,
            )
            status.message.CopyFrom(message)
        update = TaskStatusUpdateEvent(task_id=self._task_id, context_id=self._context_id, status=status)
        self._mark(update, event)
        return update

    def _artifact(
        self, event: Event, artifact: Artifact, *, append: bool = False, last_chunk: bool = False
    ) -> TaskArtifactUpdateEvent:
        update = TaskArtifactUpdateEvent(
            task_id=self._task_id,
            context_id=self._context_id,
            artifact=artifact,
            append=append,
            last_chunk=last_chunk,
        )
        self._mark(update, event)
        return update

    @staticmethod
    def _mark(update: Update, event: Event) -> None:
        update.metadata["type"] = event.type
        if event.sequence:
            update.metadata["sequence"] = event.sequence


TRUNCATED = "truncated"
"""In the metadata of a task: there was more text than it has."""


class TaskSum:
    """Adds updates to a task, as a client does that takes them all.

    Text beyond ``max_text`` characters is left out; the task's metadata says so.
    """

    def __init__(self, task: Task, max_text: int) -> None:
        self._task = task
        self._room = max_text
        self.truncated: bool = False
        self._artifacts: dict[str, Artifact] = {}
        self._texts: dict[str, list[str]] = {}

    def add(self, update: Update) -> None:
        """Add an update."""
        if isinstance(update, TaskStatusUpdateEvent):
            self._task.status.CopyFrom(update.status)
            return
        artifact = update.artifact
        key = artifact.artifact_id
        text = artifact.parts[0].text
        if key != OUTPUT:
            self._room -= len(text)
            if self._room < 0:
                self._task.metadata[TRUNCATED] = self.truncated = True
                return
        if update.append and key in self._artifacts:
            self._texts[key].append(text)
        else:
            self._artifacts[key] = artifact
            self._texts[key] = [text]

    def task(self) -> Task:
        """Return the task, its artifacts' text joined; once."""
        for key, artifact in self._artifacts.items():
            if len(self._texts[key]) > 1:
                artifact.parts[0].text = "".join(self._texts[key])
            self._task.artifacts.append(artifact)
        return self._task


def _output_part(output: object) -> Part:
    if isinstance(output, str):
        return Part(text=output, media_type="text/plain")
    return json_part(encode_json(output))
