"""What the protocol's methods do, by way of runs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

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
    TaskStatus,
)
from a2a.utils.errors import (
    ExtendedAgentCardNotConfiguredError,
    InvalidParamsError,
    PushNotificationNotSupportedError,
    UnsupportedOperationError,
)

from dockrion_events.bus import RunRecord, RunState
from dockrion_events.bus.names import THREAD_ID_RULE, is_thread_id, run_id_of
from dockrion_sdk.chat import chat_payload

from ...problems import Problem
from ...runs.request import RunRequest
from ...runs.service import Runs
from ...service import Service
from .call import Call, call_of
from .errors import told_by_protocol
from .messages import payload_of
from .tasks import STATES, listed, page, selected, shown, token_after
from .view import TaskSum, TaskView


class RunsHandler(RequestHandler):
    """The methods of the protocol; raises `A2AError` and nothing else. Keeps nothing."""

    def __init__(self, service: Service, runs: Runs) -> None:
        self._service = service
        self._runs = runs
        self._meter = service.observability.meter
        self._limits = service.dockfile.expose.limits
        self._max_text = service.dockfile.streaming.events.max_event_bytes

    # -- messages ------------------------------------------------------------------------------

    @validate_request_params
    async def on_message_send(self, params: SendMessageRequest, context: ServerCallContext) -> Task:
        """Begin a task and return it when it has ended; at once, if the client wants that."""
        call = call_of(context)
        with told_by_protocol(self._meter.problems):
            record = await self._begin(call, params)
            if params.configuration.return_immediately:
                return shown(record)
            return await self._summed(call, record, until=None)

    @validate_request_params
    async def on_message_send_stream(
        self, params: SendMessageRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Begin a task and yield it and its updates."""
        call = call_of(context)
        with told_by_protocol(self._meter.problems):
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
        if message.context_id and not is_thread_id(message.context_id):
            raise InvalidParamsError(f"contextId: {THREAD_ID_RULE}")
        service = self._service
        payload = payload_of(message, self._chat)
        service.check_payload(payload)
        thread_id = message.context_id or None
        await service.check_input(payload, service.config(call.owner, thread_id))
        bare = RunRequest(payload, thread_id).encode()  # the same message again is another request
        name = hashlib.sha256(message.message_id.encode() + b"\0" + bare).hexdigest()
        asked = self._runs.asked(payload, thread_id, conversation=thread_id is None)
        record, _ = await self._runs.create(call.owner, asked, idempotency_key=f"a2a:{name}")
        return record

    def _chat(self, text: str) -> Any:
        service = self._service
        return chat_payload(text, service.agent.adapter, service.input_schema)

    # -- tasks ---------------------------------------------------------------------------------

    @validate_request_params
    async def on_get_task(self, params: GetTaskRequest, context: ServerCallContext) -> Task:
        """Return a task as its log makes it."""
        call = call_of(context)
        with told_by_protocol(self._meter.problems):
            record = await self._runs.get(call.owner, params.id)
            return await self._summed(call, record, until=record.last_sequence)

    @validate_request_params
    async def on_cancel_task(self, params: CancelTaskRequest, context: ServerCallContext) -> Task:
        """Cancel a task, at once; again is as well."""
        call = call_of(context)
        with told_by_protocol(self._meter.problems):
            record = await self._runs.cancel(call.owner, params.id, "client")
            return await self._summed(call, record, until=record.last_sequence)

    @validate_request_params
    async def on_subscribe_to_task(
        self, params: SubscribeToTaskRequest, context: ServerCallContext
    ) -> AsyncGenerator[Event]:
        """Yield a task that goes on, and its updates from the first."""
        call = call_of(context)
        with told_by_protocol(self._meter.problems):
            record = await self._runs.get(call.owner, params.id)
            if record.ended:
                raise UnsupportedOperationError(f"task {params.id} has ended; get it instead")
        async with aclosing(self._updates(call, record)) as updates:
            async for update in updates:
                yield update

    @validate_request_params
    async def on_list_tasks(self, params: ListTasksRequest, context: ServerCallContext) -> ListTasksResponse:
        """Return a page of the tasks that the filters let through, the newest change first.

        Each is as it was when the list was made. A history is not kept.
        """
        call = call_of(context)
        with told_by_protocol(self._meter.problems):
            found = await self._runs.states(call.owner)
            self._meter.shortened["a2a_tasks"] += len(found) >= self._limits.a2a_tasks
            states = selected(found, params)
            some, token, size = page(states, params)
            tasks: list[Task] = []
            room = self._limits.a2a_page_bytes
            last: RunState | None = None
            for state in some:
                task = await self._listed(call, state, artifacts=params.include_artifacts)
                room -= 0 if task is None else task.ByteSize()
                if room < 0 and last is not None:
                    token = token_after(last)
                    self._meter.shortened["a2a_page_bytes"] += 1
                    break
                last = state
                tasks += [] if task is None else [task]
        return ListTasksResponse(tasks=tasks, next_page_token=token, page_size=size, total_size=len(states))

    async def _listed(self, call: Call, state: RunState, *, artifacts: bool) -> Task | None:
        """Return a task as its state was; None if it is not kept any more."""
        if not artifacts and state.status not in ("failed", "cancelled"):  # only these have last words
            return listed(state)
        try:
            record = await self._runs.get(call.owner, run_id_of(state.key))
            if artifacts:
                task = await self._summed(call, record, until=record.last_sequence)
            else:
                task = shown(record)
                whole = TaskSum(task, self._max_text)
                if record.terminal is not None:
                    for update in TaskView(task.id, task.context_id).handle(record.terminal):
                        whole.add(update)
        except Problem as problem:
            if problem.code != "RUN_NOT_FOUND":
                raise
            return None
        told = record.ended and record.status == state.status and task.status.HasField("message")
        message = task.status.message if told else None
        status = TaskStatus(state=STATES[state.status], timestamp=state.changed_at, message=message)
        task.status.CopyFrom(status)
        return task

    async def _updates(self, call: Call, record: RunRecord) -> AsyncGenerator[Event]:
        with told_by_protocol(self._meter.problems):
            task = shown(record)
            yield task
            view = TaskView(task.id, task.context_id)
            async with aclosing(call.read(self._runs, task.id)) as events:
                async for event in events:
                    for update in view.handle(event):
                        yield update

    async def _summed(self, call: Call, record: RunRecord, *, until: int | None) -> Task:
        task = shown(record)
        view = TaskView(task.id, task.context_id)
        whole = TaskSum(task, self._max_text)
        async with aclosing(call.read(self._runs, task.id, until=until)) as events:
            async for event in events:
                for update in view.handle(event):
                    whole.add(update)
        self._meter.shortened["max_event_bytes"] += whole.truncated
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
