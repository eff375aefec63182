"""Runs as tasks, and which of them a client lists."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from a2a.types import ListTasksRequest, Task, TaskState, TaskStatus
from a2a.utils.constants import DEFAULT_LIST_TASKS_PAGE_SIZE
from a2a.utils.errors import InvalidParamsError
from a2a.utils.task import (
    ListTasksCursor,
    decode_list_tasks_cursor,
    encode_list_tasks_cursor,
    validate_history_length,
    validate_page_size,
)
from google.protobuf.timestamp_pb2 import Timestamp

from dockrion_events.bus import RunRecord, RunState
from dockrion_events.bus.base import RunStatus
from dockrion_events.bus.names import run_id_of

STATES: Final[dict[RunStatus, TaskState]] = {
    "accepted": TaskState.TASK_STATE_SUBMITTED,
    "running": TaskState.TASK_STATE_WORKING,
    "completed": TaskState.TASK_STATE_COMPLETED,
    "failed": TaskState.TASK_STATE_FAILED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}


def shown(record: RunRecord) -> Task:
    """Return the task that a run is, without what its log tells."""
    status = TaskStatus(state=STATES[record.status], timestamp=record.changed_at)
    return Task(id=run_id_of(record.key), context_id=context_of(record), status=status)


def listed(state: RunState) -> Task:
    """Return the task that a run is in a list, made of its state alone."""
    status = TaskStatus(state=STATES[state.status], timestamp=state.changed_at)
    return Task(id=run_id_of(state.key), context_id=context_of(state), status=status)


def context_of(run: RunRecord | RunState) -> str:
    """Return the context that a run belongs to: its thread, or itself."""
    return run.thread or run_id_of(run.key)


def selected(states: list[RunState], params: ListTasksRequest) -> list[RunState]:
    """Return the runs that a list is of: those that pass the filters, in their order.

    Raises `InvalidParamsError`.
    """
    validate_history_length(params)
    if params.status:
        states = [state for state in states if STATES[state.status] == params.status]
    if params.HasField("status_timestamp_after"):
        earliest = params.status_timestamp_after.ToNanoseconds()
        states = [state for state in states if _nanoseconds(state.changed_at) >= earliest]
    if params.context_id:
        states = [state for state in states if context_of(state) == params.context_id]
    return states


def page(states: list[RunState], params: ListTasksRequest) -> tuple[list[RunState], str, int]:
    """Return the page that is asked for, the token of the next one, which is empty for none, and its size.

    A token names the last run of a page by its change: a run that changes meanwhile is met at its new
    place, or not again. Raises `InvalidParamsError`.
    """
    size = params.page_size if params.HasField("page_size") else DEFAULT_LIST_TASKS_PAGE_SIZE
    validate_page_size(size)
    if params.page_token:
        cursor = decode_list_tasks_cursor(params.page_token)
        if cursor is None:
            raise InvalidParamsError("pageToken: what nextPageToken of the page before said")
        behind = cursor.sort_key()
        states = [state for state in states if _place(state).sort_key() < behind]
    some = states[:size]
    token = token_after(some[-1]) if len(states) > size else ""
    return some, token, size


def token_after(state: RunState) -> str:
    """Return the token of a page that begins after this run."""
    return encode_list_tasks_cursor(_place(state))


def _place(state: RunState) -> ListTasksCursor:
    return ListTasksCursor(timestamp_ns=_nanoseconds(state.changed_at), task_id=run_id_of(state.key))


def _nanoseconds(moment: datetime) -> int:
    stamp = Timestamp()
    stamp.FromDatetime(moment)
    return int(stamp.ToNanoseconds())
