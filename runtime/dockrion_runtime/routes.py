"""The HTTP routes. Each says what a client gets; the work is done elsewhere."""

from __future__ import annotations

import asyncio
import math
import time
from typing import Any, Final

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp

from dockrion_adapters import AgentGraph, DescribesItself, Drawable, abandoned_threads
from dockrion_adapters.outcome import outcome_of
from dockrion_events import EVENT_CLASSES, EventError, encode_json
from dockrion_events.bus.names import ID, THREAD

from .answers import Exposed, Health, Info, Invocation, Ready, Schemas
from .auth import OPEN, owner_of
from .model_failures import MODEL_CODES
from .openapi import ANY_CODE, Describer, Headers, answer, header, parameter, stream
from .problems import ClientLeft, Problem, overloaded
from .service import Service
from .sse import ExecutionResponse
from .stream import EndStatus, OutputInvalid, failure_event
from .version import VERSION
from .wire import Answer, AnyRequest, Client

THREAD_ID: Final = parameter(
    "thread_id",
    "The conversation that this execution goes on with, where the agent keeps any.",
    {"type": "string", "pattern": f"^{THREAD.pattern}$"},
)
REQUEST_ID: Final[Headers] = {"X-Request-ID": header("The id of this request, for correlation only.")}
THREAD_HEADERS: Final[Headers] = {
    "X-Thread-ID": header(
        "The conversation that this belongs to, if the agent keeps any. One that the request did not name is "
        "kept only while it waits for an answer.",
        required=False,
    ),
    "Warning": header(
        "Says that the agent keeps nothing under the `thread_id` of the request.", required=False
    ),
}
OWN_REQUEST_ID: Final = parameter(
    "X-Request-ID",
    "The id to give this request in answers and logs; a new one where it is left out.",
    {"type": "string", "pattern": f"^{ID.pattern}$"},
    place="header",
)


def invoking_routes(service: Service) -> list[BaseRouteHandler]:
    """Return the routes that execute the agent, as the Dockfile exposes them."""
    expose = service.dockfile.expose
    describe = Describer(service.dockfile, checked=service.describes_input)
    refusals = describe.refusals_of_payload()
    refusals[400] += ("INVALID_THREAD_ID",)
    refusals[503] = ("OVERLOADED", "SHUTTING_DOWN")
    failures = {
        500: (
            "AGENT_ERROR",
            *MODEL_CODES,
            "OUTPUT_INVALID",
            "OUTPUT_TOO_LARGE",
            "NOT_SERIALISABLE",
            "INTERNAL_ERROR",
            ANY_CODE,
        ),
        504: ("RUN_TIMEOUT",),
    }

    @post(
        "/invoke",
        status_code=200,
        tags=["agent"],
        summary="Execute the agent and return its output",
        operation_id="invoke",
        operation_class=describe(
            {200: answer(Invocation, "What the agent returned.", {**REQUEST_ID, **THREAD_HEADERS})},
            parameters=[THREAD_ID, OWN_REQUEST_ID],
            body=describe.payload(),
            refusals={**refusals, **failures},
        ),
    )
    async def invoke(request: Request[Any, Any, Any]) -> Response[Any]:
        request_id = service.request_id(request)
        service.enter()
        try:
            payload = await service.payload(request)
            config = service.config(owner_of(request), service.thread_id(request))
            await service.check_input(payload, config)
            started = time.monotonic()
            output, trace_id = await _watched(service, payload, config, request_id, request)
            latency = time.monotonic() - started
        finally:
            service.leave()
        body = invocation(service, output, latency, trace_id, service.thread_of(config))
        return Answer(body, 200, (b"x-request-id", request_id.encode()), *service.thread_headers(config))

    @post(
        "/invoke/stream",
        status_code=200,
        tags=["agent"],
        summary="Stream one execution of the agent",
        operation_id="stream",
        operation_class=describe(
            {
                200: stream(
                    "StreamFrame", "The events, up to the terminal one.", {**REQUEST_ID, **THREAD_HEADERS}
                )
            },
            parameters=[THREAD_ID, OWN_REQUEST_ID],
            body=describe.payload(),
            refusals=refusals,
        ),
    )
    async def invoke_stream(request: Request[Any, Any, Any]) -> ASGIApp:
        request_id = service.request_id(request)
        service.enter()
        try:
            payload = await service.payload(request)
            config = service.config(owner_of(request), service.thread_id(request))
            await service.check_input(payload, config)
            execution = service.execute(payload, config, service.context(request_id, watched=True))
        except BaseException:
            service.leave()
            raise
        return ExecutionResponse(
            execution,
            service.edge,
            heartbeat=service.dockfile.streaming.events.heartbeat_interval,
            heartbeat_events=service.events_filter.is_allowed("heartbeat"),
            on_close=lambda: service.forget(execution),
            headers=service.thread_headers(config),
        )

    handlers: list[BaseRouteHandler] = []
    if expose.rest:
        handlers.append(invoke)
    if "sse" in expose.streaming:
        handlers.append(invoke_stream)
    return handlers


def invocation(
    service: Service,
    output: bytes,
    latency_seconds: float,
    trace_id: str | None = None,
    thread_id: str | None = None,
) -> bytes:
    """Return what `/invoke` answers, for an output that is JSON already."""
    adapter = service.agent.adapter
    metadata = {
        "agent": adapter.agent_name,
        "framework": adapter.framework,
        "latency_seconds": latency_seconds,
    }
    if thread_id is not None:
        metadata["thread_id"] = thread_id
    if trace_id is not None:
        metadata["trace_id"] = trace_id
    return b'{"success":true,"output":%b,"metadata":%b}' % (output, encode_json(metadata))


async def _watched(
    service: Service, payload: Any, config: dict[str, Any], request_id: str, request: AnyRequest
) -> tuple[bytes, str | None]:
    """Execute the agent, and let whoever watches know; return its output as JSON, and the trace's id.

    Raises `Problem`, and `ClientLeft`, which counts as cancelled.
    """
    watchers, trace_id = service.observability.watch("invoke", request_id)
    status: EndStatus = "cancelled"
    code: str | None = None
    for watcher in watchers:
        watcher.enter()
    try:
        output = await _bounded(service, payload, config, request_id, request)
        status = "completed"
    except Problem as problem:
        status, code = "failed", problem.code
        if trace_id is not None:
            problem.extra["trace_id"] = trace_id
        raise
    finally:
        for watcher in watchers:
            watcher.end(status, code)
    return output, trace_id


async def _bounded(
    service: Service, payload: Any, config: dict[str, Any], request_id: str, request: AnyRequest
) -> bytes:
    """Execute the agent within the time limit and return its output as JSON.

    Raises `Problem`, and `ClientLeft` where nobody waits for the output any more.
    """
    limit = service.dockfile.streaming.events.max_run_duration
    context = service.context(request_id, watched=False)
    loop = asyncio.get_running_loop()
    task = loop.create_task(outcome_of(lambda: service.agent.call(payload, config, context)))
    over = loop.create_future()  # asyncio.wait does the same, at five times the price
    task.add_done_callback(lambda _: _settle(over))
    timer = loop.call_later(limit, _settle, over)
    client = Client(request, lambda: _settle(over))
    try:
        await over
    finally:
        timer.cancel()
        client.forget()
        if not task.done():
            context.cancel()
            task.cancel()
    if not task.done():
        if client.left:
            raise ClientLeft
        raise Problem(504, "RUN_TIMEOUT", f"the execution took longer than {limit:g} s")
    output, error = task.result()
    failed = error is not None
    if error is None:
        try:
            service.check_output(output)
            return service.encoder.encode_value(output)
        except (OutputInvalid, EventError) as refused:
            error = refused
    label = f"request {request_id}"
    event = failure_event(error, output_refused=not failed, disclosure=service.disclosure, label=label)
    if event.code == "OVERLOADED":
        raise overloaded(event.error, retry_after=5)
    details = event.details or {}
    if event.code == "INVALID_INPUT":
        raise Problem(422, event.code, event.error, **details)
    wait = details.get("retry_after")
    headers = {} if wait is None else {"Retry-After": str(math.ceil(wait))}
    raise Problem(500, event.code, event.error, headers=headers)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def probe_routes(service: Service) -> list[BaseRouteHandler]:
    """Return the routes that say whether the process lives and can take work; nobody needs a key."""
    describe = Describer(service.dockfile)

    @get(
        "/health",
        opt={OPEN: True},
        tags=["server"],
        summary="Is the process alive",
        operation_id="health",
        operation_class=describe({200: answer(Health, "It is.")}, open_to_all=True),
    )
    async def health() -> Health:
        return Health()

    @get(
        "/ready",
        opt={OPEN: True},
        tags=["server"],
        summary="Can the server take work",
        operation_id="ready",
        operation_class=describe(
            {200: answer(Ready, "It can."), 503: answer(Ready, "It cannot; `status` says why.")},
            open_to_all=True,
        ),
    )
    async def ready() -> Response[Ready]:
        state = await service.state()
        name = service.dockfile.agent.name
        return Response(Ready(state, name), status_code=200 if state == "ready" else 503)

    return [health, ready]


def informing_routes(service: Service) -> list[BaseRouteHandler]:
    """Return the routes that tell about the server and its agent."""
    dockfile = service.dockfile
    describe = Describer(dockfile)

    @get(
        "/info",
        tags=["agent"],
        summary="What the agent is and what it streams",
        operation_id="info",
        operation_class=describe({200: answer(Info, "The agent, and what its server does now.")}),
    )
    async def info() -> Info:
        adapter = service.agent.adapter
        expose = dockfile.expose
        return Info(
            name=dockfile.agent.name,
            description=dockfile.agent.description,
            framework=adapter.framework,
            version=VERSION,
            events=list(service.events_filter.allowed),
            expose=Exposed(expose.rest, list(expose.streaming), list(expose.protocols)),
            auth=dockfile.auth.mode,
            chat=service.chat(),
            graph=isinstance(adapter, Drawable),
            active=service.active,
            runs=None if service.runs is None else service.runs.info(),
            abandoned_threads=abandoned_threads(),
            agent=adapter.metadata() if isinstance(adapter, DescribesItself) else {},
        )

    @get(
        "/schema",
        tags=["agent"],
        summary="JSON Schemas of the input, the output and the events",
        operation_id="schema",
        operation_class=describe({200: answer(Schemas, "The schemas.")}),
    )
    async def schema() -> Schemas:
        return Schemas(
            input=service.input_schema or {"type": "object"},
            output=dockfile.io_schema.output or {},
            events={name: msgspec.json.schema(cls) for name, cls in EVENT_CLASSES.items()},
        )

    @get(
        "/graph",
        tags=["agent"],
        summary="The nodes and edges of the agent's graph",
        operation_id="graph",
        operation_class=describe(
            {200: answer("AgentGraph", "The graph, without any layout.")}, refusals={404: ("NO_GRAPH",)}
        ),
    )
    async def graph() -> AgentGraph:
        adapter = service.agent.adapter
        assert isinstance(adapter, Drawable), "the route is not there without"
        drawn = await asyncio.to_thread(adapter.graph)
        if drawn is None:
            raise Problem(404, "NO_GRAPH", "the agent's graph is made anew for each execution")
        return drawn

    handlers = probe_routes(service)
    if dockfile.expose.rest:
        handlers += [info, schema]
        if isinstance(service.agent.adapter, Drawable):
            handlers.append(graph)
    return handlers
