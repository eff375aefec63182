"""What the protocol's methods do, by way of runs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final

from a2a.server.context import ServerCallContext
from a2a.server.events import Event
from a2a.server.request_handlers.request_handler import RequestHandler, validate_request_params
from a2a.types import (
    AgentCard,
    CancelTaskRequest,
    DeleteTaskPushNotificationConfigRequest,
    GetExtendedAgentCardRequest,
    GetTaskPushNotificationConfigRequest,
    GetTaskRequest,
    ListTaskPushNotificationConfigsRequest,
    ListTaskPushNotificationConfigsResponse,
    ListTasksRequest,
    ListTasksResponse,
    SendMessageRequest,
    SubscribeToTaskRequest,
    Task,
    TaskPushNotificationConfig,
    TaskState,
    TaskStatus,
)
from a2a.utils.errors import (
    ExtendedAgentCardNotConfiguredError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    UnsupportedOperationError,
)

from dockrion_events.bus import RunRecord
from dockrion_events.bus.base import RunStatus
from dockrion_events.bus.names import ID_RULE, is_id, run_id_of
from dockrion_sdk.chat import chat_payload

from ...runs.request import RunRequest, decode_request
from ...runs.service import Runs
from ...service import Service
from .call import Call, call_of
from .errors import told_by_protocol
from .messages import payload_of
from .view import TaskSum, TaskView

STATES: Final[dict[RunStatus, TaskState]] = {
    "accepted": TaskState.TASK_STATE_SUBMITTED,
    "running": TaskState.TASK_STATE_WORKING,
    "completed": TaskState.TASK_STATE_COMPLETED,
    "failed": TaskState.TASK_STATE_FAILED,
    "cancelled": TaskState.TASK_STATE_CANCELED,
}


class RunsHandler(RequestHandler):
    """The methods of the protocol; raises `A2AError` and nothing else. Keeps nothing."""

    def __init__(self, service: Service, runs: Runs) -> None:
        self._service = service
        self._runs = runs

    # -- messages ------------------------------------------------------------------------------

    @validate_request_params
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        """Begin a task and return it when it has ended; at once, if the client wants that."""
        call = call_of(context)
        with told_by_protocol():
            record = await self._begin(call, params)
            if params.configuration.return_immediately:
                return _shown(record)
            return await self._summed(call, record, until=None)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Begin a task and yield it and its updates."""
        call = call_of(context)
        with told_by_protocol():
            record = await self._begin(call, params)
        async with aclosing(self._updates(call, record)) as updates:
            async for update in updates:
                yield update

    async def _begin(self, call: Call, params: SendMessageRequest) -> RunRecord:
        """Accept the run that a message asks for; the same message again finds the run it has made."""
        message = params.message
        if params.configuration.HasField("task_push_notification_config"):
            raise PushNotificationNotSupportedError
        if message.task_id:
            await self._runs.get(call.owner, message.task_id)
            told = (
                "a task takes one message; send without taskId, with contextId to go on with its conversation"
            )
            raise UnsupportedOperationError(told)
        if message.context_id and not is_id(message.context_id):
            raise InvalidParamsError(f"contextId: {ID_RULE}")
        service = self._service
        payload = payload_of(message, self._chat)
        service.check_payload(payload)
        asked = RunRequest(payload, message.context_id or None)
        name = hashlib.sha256(message.message_id.encode() + b"\0" + asked.encode()).hexdigest()
        record, _ = await self._runs.create(call.owner, asked, idempotency_key=f"a2a:{name}")
        return record

    def _chat(self, text: str) -> Any:
        service = self._service
        return chat_payload(text, service.agent.adapter, service.dockfile)

    # -- tasks ---------------------------------------------------------------------------------

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Return a task as its log makes it."""
        call = call_of(context)
        with told_by_protocol():
            record = await self._runs.get(call.owner, params.id)
            return await self._summed(call, record, until=record.last_sequence)

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Cancel a task, at once; again is as well."""
        call = call_of(context)
        with told_by_protocol():
            record = await self._runs.cancel(call.owner, params.id, "client")
            return await self._summed(call, record, until=record.last_sequence)

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Yield a task that goes on, and its updates from the first."""
        call = call_of(context)
        with told_by_protocol():
            record = await self._runs.get(call.owner, params.id)
            if record.ended:
                raise UnsupportedOperationError(f"task {params.id} has ended; get it instead")
        async with aclosing(self._updates(call, record)) as updates:
            async for update in updates:
                yield update

    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Refuse: a count of all tasks, which the answer needs, is not kept."""
        raise UnsupportedOperationError("tasks are not listed over A2A; GET /runs lists them")

    async def _updates(self, call: Call, record: RunRecord) -> AsyncGenerator[Event]:
        with told_by_protocol():
            task = _shown(record)
            yield task
            view = TaskView(task.id, task.context_id)
            async with aclosing(call.read(self._runs, task.id)) as events:
                async for event in events:
                    for update in view.handle(event):
                        yield update

    async def _summed(self, call: Call, record: RunRecord, *, until: int | None) -> Task:
        task = _shown(record)
        view = TaskView(task.id, task.context_id)
        whole = TaskSum(task)
        async with aclosing(call.read(self._runs, task.id, until=until)) as events:
            async for event in events:
                for update in view.handle(event):
                    whole.add(update)
        return whole.task()

    # -- what there is not ---------------------------------------------------------------------

    async def on_create_task_push_notification_config(
        self, params: TaskPushNotificationConfig, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuse, as the card says."""
        raise PushNotificationNotSupportedError

    async def on_get_task_push_notification_config(
        self, params: GetTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> TaskPushNotificationConfig:
        """Refuse, as the card says."""
        raise PushNotificationNotSupportedError

    async def on_list_task_push_notification_configs(
        self, params: ListTaskPushNotificationConfigsRequest, context: ServerCallContext
    ) -> ListTaskPushNotificationConfigsResponse:
        """Refuse, as the card says."""
        raise PushNotificationNotSupportedError

    async def on_delete_task_push_notification_config(
        self, params: DeleteTaskPushNotificationConfigRequest, context: ServerCallContext
    ) -> None:
        """Refuse, as the card says."""
        raise PushNotificationNotSupportedError

    async def on_get_extended_agent_card(
        self, params: GetExtendedAgentCardRequest, context: ServerCallContext
    ) -> AgentCard:
        """Refuse, as the card says."""
        raise ExtendedAgentCardNotConfiguredError


def _shown(record: RunRecord) -> Task:
    """Return the task that a run is, without what its log tells."""
    run_id = run_id_of(record.key)
    thread_id = decode_request(record.request).thread_id if record.request else None
    moment = record.ended_at or record.started_at or record.created_at
    status = TaskStatus(state=STATES[record.status], timestamp=moment)
    return Task(id=run_id, context_id=thread_id or run_id, status=status)
