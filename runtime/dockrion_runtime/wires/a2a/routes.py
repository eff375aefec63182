"""The protocol's two addresses: the card, open to all, and the one that everything else goes to."""

from __future__ import annotations

import asyncio
from typing import Any, Final

from a2a.server.jsonrpc_models import JSONParseError
from a2a.server.request_handlers.response_helpers import agent_card_to_dict, build_error_response
from a2a.server.routes.jsonrpc_dispatcher import JsonRpcDispatcher
from a2a.utils.constants import AGENT_CARD_WELL_KNOWN_PATH
from a2a.utils.errors import A2AError, InvalidRequestError
from litestar import get, post
from litestar.handlers import BaseRouteHandler
from litestar.openapi.spec import OpenAPIMediaType, OpenAPIResponse, RequestBody
from litestar.types import ASGIApp
from sse_starlette.sse import EventSourceResponse
from starlette.requests import Request as StarletteRequest

from ...auth import OPEN, owner_of
from ...front import Hosts, prefix_of
from ...json_text import check_values, decode_json, whole_characters
from ...openapi import Describer, JSONSchema
from ...private import PRIVATE_HEADERS
from ...problems import Problem
from ...runs.service import Runs
from ...service import Service
from ...version import VERSION
from ...wire import Answer, AnyRequest, body_of, header
from .call import Call, CallBuilder, attach
from .card import agent_card
from .handler import RunsHandler
from .malformed import shorten_error, silence_tracebacks
from .response import AnswerStream

PATH: Final = "/a2a"

_LONGEST_ID: Final = 1024

RPC_REQUEST: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "jsonrpc": {"const": "2.0"},
        "method": {"type": "string"},
        "params": {"type": "object"},
        "id": {"type": ["string", "integer", "null"]},
    },
    "required": ["jsonrpc", "method", "id"],
}


def protocol_routes(service: Service, runs: Runs) -> list[BaseRouteHandler]:
    """Return the routes of A2A."""
    silence_tracebacks()
    dispatcher = JsonRpcDispatcher(
        RunsHandler(service, runs), context_builder=CallBuilder(), enable_v0_3_compat=True
    )
    dockfile = service.dockfile
    heartbeat = dockfile.streaming.events.heartbeat_interval

    describe = Describer(dockfile)
    hosts = Hosts(dockfile)
    limits = dockfile.expose.limits

    @get(
        AGENT_CARD_WELL_KNOWN_PATH,
        opt={OPEN: True},
        tags=["a2a"],
        summary="The agent's card",
        operation_id="agent_card",
        operation_class=describe({200: _json("The card.")}, open_to_all=True),
    )
    async def card(request: AnyRequest) -> Answer:
        url = (dockfile.expose.public_url or _address(request, hosts)) + PATH
        framework = service.agent.adapter.framework
        payload = service.input_schema
        card = agent_card(dockfile, url, version=VERSION, framework=framework, payload=payload)
        return Answer(agent_card_to_dict(card), 200)

    rpc_answer = _json("The JSON-RPC answer, an error too; to a streaming method, answers as events.")
    rpc_answer.content = {**(rpc_answer.content or {}), "text/event-stream": OpenAPIMediaType()}

    @post(
        PATH,
        status_code=200,
        tags=["a2a"],
        summary="A2A: JSON-RPC, 1.0 and 0.3",
        operation_id="a2a",
        operation_class=describe(
            {200: rpc_answer},
            body=RequestBody(
                description="A JSON-RPC request; which methods there are is A2A's to say.",
                content={"application/json": OpenAPIMediaType(schema=JSONSchema(RPC_REQUEST))},
                required=True,
            ),
            refusals={408: ("BODY_TIMEOUT",), 413: ("BODY_TOO_LARGE", "TOO_MANY_VALUES")},
        ),
    )
    async def rpc(request: AnyRequest) -> ASGIApp:
        request_id = service.request_id(request)
        body = await _body(request, dockfile.expose.max_body_bytes, limits.body_seconds)
        check_values(body, limits.a2a_values)
        refused = _fault(body)
        if refused is not None:
            told = build_error_response(None, refused)
            return Answer(told, 200, (b"x-request-id", request_id.encode())).to_asgi_response()
        body = whole_characters(body)
        call = Call(owner_of(request))
        response = await _answered(dispatcher, request, body, call)
        if isinstance(response, EventSourceResponse):
            answers: Any = response.body_iterator  # of dicts with event and data, in either version
            return AnswerStream(answers, call, request_id, service.edge, heartbeat=heartbeat)
        response.headers.update({**PRIVATE_HEADERS, "x-request-id": request_id})
        shorten_error(response)
        return response  # type: ignore[no-any-return]

    return [card, rpc]


def _address(request: AnyRequest, hosts: Hosts) -> str:
    """Return where the server was reached, for other agents.

    ``Host`` is what the client says, so it counts only where it is a name of the server's own; otherwise
    this is the address that the connection was made to.
    """
    scope = request.scope
    netloc = header(request, b"host") or ""
    if not hosts.owns(netloc.encode("latin-1")):
        host, port = scope.get("server") or ("localhost", None)
        netloc = f"[{host}]" if ":" in host else host
        netloc = netloc if port is None else f"{netloc}:{port}"
    return f"{scope['scheme']}://{netloc}{prefix_of(scope)}"


def _json(description: str) -> OpenAPIResponse:
    schema = JSONSchema({"type": "object"})
    return OpenAPIResponse(
        description=description, content={"application/json": OpenAPIMediaType(schema=schema)}
    )


def _fault(body: bytes) -> A2AError | JSONParseError | None:
    """Return what is wrong with a request before the SDK sees it, None if nothing is."""
    try:
        asked = decode_json(body)
    except Problem as problem:
        return JSONParseError(message=problem.detail)
    request_id = asked.get("id") if isinstance(asked, dict) else None
    if isinstance(request_id, str) and len(request_id) > _LONGEST_ID:
        return InvalidRequestError(f"id: at most {_LONGEST_ID} characters")
    return None


async def _body(request: AnyRequest, limit: int, seconds: float) -> bytes:
    try:
        async with asyncio.timeout(seconds):
            return await body_of(request, limit)
    except TimeoutError:
        raise Problem(408, "BODY_TIMEOUT", f"the body did not arrive within {seconds:g} s") from None


async def _answered(dispatcher: JsonRpcDispatcher, request: AnyRequest, body: bytes, call: Call) -> Any:
    """Let the SDK answer; where the client leaves meanwhile, nothing is read for it any more."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def watch() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        call.leave_off()

    scope: dict[str, Any] = dict(request.scope)
    attach(scope, call)
    watching = asyncio.create_task(watch())
    try:
        return await dispatcher.handle_requests(StarletteRequest(scope, receive))
    finally:
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
