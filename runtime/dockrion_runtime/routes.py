"""The HTTP routes. Each says what a client gets; the work is done elsewhere."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
from litestar import Request, Response, get, post
from litestar.handlers import BaseRouteHandler
from litestar.types import ASGIApp

from dockrion_adapters import DescribesItself, abandoned_threads
from dockrion_adapters.stream import outcome_of
from dockrion_events import EVENT_CLASSES, EventError, encode_json

from .auth import OPEN, owner_of
from .problems import Problem
from .service import Service
from .sse import ExecutionResponse
from .stream import OutputInvalid, failure_event
from .version import VERSION
from .wire import Answer


def invoking_routes(service: Service) -> list[BaseRouteHandler]:
    """Return the routes that execute the agent, as the Dockfile exposes them."""
    expose = service.dockfile.expose

    @post("/invoke", status_code=200, tags=["agent"], summary="Execute the agent and return its output")
    async def invoke(request: Request[Any, Any, Any]) -> Response[Any]:
        request_id = service.new_request_id()
        with service.slot():
            payload = await service.payload(request)
            config = service.config(owner_of(request), service.thread_id(request), request_id)
            started = time.monotonic()
            output = await _bounded(service, payload, config, request_id)
            latency = time.monotonic() - started
        return Answer(invocation(service, output, latency), 200, (b"x-request-id", request_id.encode()))

    @post("/invoke/stream", status_code=200, tags=["agent"], summary="Stream one execution of the agent")
    async def invoke_stream(request: Request[Any, Any, Any]) -> ASGIApp:
        service.enter()
        try:
            payload = await service.payload(request)
            request_id = service.new_request_id()
            config = service.config(owner_of(request), service.thread_id(request), request_id)
            execution = service.execute(payload, config, service.context(request_id, watched=True))
        except BaseException:
            service.leave()
            raise
        return ExecutionResponse(
            execution,
            heartbeat=service.dockfile.streaming.events.heartbeat_interval,
            heartbeat_events=service.events_filter.is_allowed("heartbeat"),
            on_close=lambda: service.forget(execution),
        )

    handlers: list[BaseRouteHandler] = []
    if expose.rest:
        handlers.append(invoke)
    if "sse" in expose.streaming:
        handlers.append(invoke_stream)
    return handlers


def invocation(service: Service, output: bytes, latency_seconds: float) -> bytes:
    """Return what `/invoke` answers, for an output that is JSON already."""
    adapter = service.agent.adapter
    metadata = {
        "agent": adapter.agent_name,
        "framework": adapter.framework,
        "latency_seconds": latency_seconds,
    }
    return b'{"success":true,"output":%b,"metadata":%b}' % (output, encode_json(metadata))


async def _bounded(service: Service, payload: Any, config: dict[str, Any], request_id: str) -> bytes:
    """Execute the agent within the time limit and return its output as JSON. Raises `Problem`."""
    limit = service.dockfile.streaming.events.max_run_duration
    context = service.context(request_id, watched=False)
    loop = asyncio.get_running_loop()
    task = loop.create_task(outcome_of(lambda: service.agent.call(payload, config, context)))
    over = loop.create_future()  # asyncio.wait does the same, at five times the price
    task.add_done_callback(lambda _: _settle(over))
    timer = loop.call_later(limit, _settle, over)
    try:
        await over
    finally:
        timer.cancel()
        if not task.done():
            context.cancel()
            task.cancel()
    headers = {"X-Request-ID": request_id}
    if not task.done():
        detail = f"the execution took longer than {limit:g} s"
        raise Problem(504, "RUN_TIMEOUT", detail, request_id=request_id, headers=headers)
    output, error = task.result()
    failed = error is not None
    if error is None:
        try:
            service.check_output(output)
            return service.encoder.encode_value(output)
        except (OutputInvalid, EventError) as refused:
            error = refused
    label = f"request {request_id}"
    event = failure_event(error, output_refused=not failed, redact=service.redact, label=label)
    status = 503 if event.code == "OVERLOADED" else 500
    if status == 503:
        headers["Retry-After"] = "5"
    raise Problem(status, event.code, event.error, request_id=request_id, headers=headers)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


def informing_routes(service: Service) -> list[BaseRouteHandler]:
    """Return the routes that tell about the server and its agent."""
    dockfile = service.dockfile

    @get("/health", opt={OPEN: True}, tags=["server"], summary="Is the process alive")
    async def health() -> dict[str, Any]:
        return {"status": "ok"}

    @get("/ready", opt={OPEN: True}, tags=["server"], summary="Can the server take work")
    async def ready() -> Response[dict[str, Any]]:
        state = await service.state()
        return Response(
            {"status": state, "agent": dockfile.agent.name}, status_code=200 if state == "ready" else 503
        )

    @get("/info", tags=["agent"], summary="What the agent is and what it streams")
    async def info() -> dict[str, Any]:
        adapter = service.agent.adapter
        return {
            "name": dockfile.agent.name,
            "description": dockfile.agent.description,
            "framework": adapter.framework,
            "version": VERSION,
            "events": list(service.events_filter.allowed),
            "expose": {
                "rest": dockfile.expose.rest,
                "streaming": list(dockfile.expose.streaming),
                "protocols": list(dockfile.expose.protocols),
            },
            "auth": dockfile.auth.mode,
            "active": service.active,
            "runs": None if service.runs is None else service.runs.info(),
            "abandoned_threads": abandoned_threads(),
            "agent": adapter.metadata() if isinstance(adapter, DescribesItself) else {},
        }

    @get("/schema", tags=["agent"], summary="JSON Schemas of the input, the output and the events")
    async def schema() -> dict[str, Any]:
        events = {name: msgspec.json.schema(cls) for name, cls in EVENT_CLASSES.items()}
        return {
            "input": dockfile.io_schema.input or {"type": "object"},
            "output": dockfile.io_schema.output or {},
            "events": events,
        }

    handlers: list[BaseRouteHandler] = [health, ready]
    if dockfile.expose.rest:
        handlers += [info, schema]
    return handlers
