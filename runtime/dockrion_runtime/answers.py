"""The JSON documents that the routes answer with. What the OpenAPI document says of them is made of these."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType

from dockrion_events.bus import RunStatus

Readiness: TypeAlias = Literal[
    "ready", "starting", "shutting down", "store unavailable", "too many abandoned threads"
]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]


class InvocationMetadata(msgspec.Struct):
    """Who answered, and how long it took, on a monotonic clock.

    ``thread_id`` is the conversation that the execution belongs to, if the agent keeps any.
    """

    agent: str
    framework: str
    latency_seconds: float
    thread_id: str | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET


class Invocation(msgspec.Struct):
    """What the agent returned. Sent in pieces that are JSON already; see `dockrion_runtime.routes`."""

    success: bool
    output: Any
    metadata: InvocationMetadata


class AcceptedRun(msgspec.Struct):
    """A run that was just accepted."""

    run_id: str
    status: RunStatus
    events_url: str
    created_at: Time


class RunError(msgspec.Struct):
    """Why a run has failed."""

    code: str
    error: str
    details: Any | UnsetType = UNSET


class ListedRun(msgspec.Struct, kw_only=True):
    """A run in a list.

    ``attempt`` counts its executions; the log holds the events from ``first_sequence`` to
    ``last_sequence``, which is 0 before the first. ``thread_id`` is there where its creator named one.
    """

    run_id: str
    status: RunStatus
    attempt: int
    created_at: Time
    started_at: Time | UnsetType = UNSET
    ended_at: Time | UnsetType = UNSET
    first_sequence: int
    last_sequence: int
    events_url: str
    thread_id: str | UnsetType = UNSET


class Run(ListedRun, kw_only=True):
    """A run as its owner sees it.

    ``output`` is there where it is completed, ``error`` where it has failed, ``reason`` where it was
    cancelled for one. ``attempt`` counts its executions; the log holds the events from ``first_sequence``
    to ``last_sequence``, which is 0 before the first.
    """

    output: Any | UnsetType = UNSET
    error: RunError | UnsetType = UNSET
    reason: str | UnsetType = UNSET


class RunPage(msgspec.Struct):
    """Runs, newest first, without outputs. ``next`` is the ``cursor`` of the next page, null on the last."""

    runs: list[ListedRun]
    next: str | None


class CancelledRun(msgspec.Struct):
    """A run that was cancelled, now or before."""

    run_id: str
    status: Literal["cancelled"]


class RunTicket(msgspec.Struct, kw_only=True):
    """What follows one run, and the addresses with it; ``expires_in`` is in seconds.

    The ticket is null where no key is needed. ``ws_url`` is there where WebSockets are.
    """

    ticket: str | None
    expires_in: int | None
    events_url: str
    ws_url: str | UnsetType = UNSET


class SocketTicket(msgspec.Struct, kw_only=True):
    """What opens one WebSocket, once, and its address with it; null where no key is needed."""

    ticket: str | None
    expires_in: int | None
    ws_url: str


class Health(msgspec.Struct):
    """The process lives."""

    status: Literal["ok"] = "ok"


class Ready(msgspec.Struct):
    """Whether work can be taken, and why not."""

    status: Readiness
    agent: str


class Exposed(msgspec.Struct):
    """How the agent can be reached."""

    rest: bool
    streaming: list[str]
    protocols: list[str]


class RunsInfo(msgspec.Struct):
    """The store of runs; ``executing`` and ``subscribers`` count those of this process.

    ``executing`` is null where runs are left to other processes.
    """

    backend: str
    executing: int | None
    subscribers: int


class Chat(msgspec.Struct):
    """How a message is said to the agent: in ``payload``, in place of the text at ``path``.

    An empty path stands for the payload itself.
    ``keeps_threads`` says whether executions with the same ``thread_id`` belong together.
    """

    payload: Any
    path: list[str | int]
    keeps_threads: bool


class Info(msgspec.Struct):
    """What the agent is. ``active`` counts executions; ``agent`` is what its adapter tells of it.

    ``chat`` is null where nothing is known of messages; ``graph`` says whether there is one to draw.
    """

    name: str
    description: str
    framework: str
    version: str
    events: list[str]
    expose: Exposed
    auth: str
    chat: Chat | None
    graph: bool
    active: int
    runs: RunsInfo | None
    abandoned_threads: int
    agent: dict[str, Any]


class Schemas(msgspec.Struct):
    """JSON Schemas, those of the events by their type."""

    input: dict[str, Any]
    output: dict[str, Any]
    events: dict[str, dict[str, Any]]


class Fault(msgspec.Struct):
    """One thing that is wrong with a payload; ``path`` is ``$`` where it is the whole."""

    path: str
    message: str


class ProblemDocument(msgspec.Struct, kw_only=True):
    """RFC 9457 problem details. ``code`` is meant for programs and does not change, ``detail`` for people.

    ``errors`` comes with 422; ``request_id`` where the server's log names the request by it; ``trace_id``
    where the failed execution was traced.
    """

    type: Literal["about:blank"]
    title: str
    status: int
    code: str
    detail: str
    errors: list[Fault] | UnsetType = UNSET
    request_id: str | UnsetType = UNSET
    trace_id: str | UnsetType = UNSET
