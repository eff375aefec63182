"""The routes of runs. Each says what a client gets; the work is done elsewhere."""

from __future__ import annotations

import base64
import binascii
import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp

from dockrion_events import BackendUnavailable
from dockrion_events.bus import RunRecord
from dockrion_events.bus.names import run_id_of, run_key

from ..auth import owner_of
from ..problems import Problem, problem_response, unavailable
from ..service import Service
from ..tickets.signing import PURPOSE
from ..wire import Answer, AnyRequest, header, query
from .cursor import position, timeout
from .follow import RunResponse
from .request import RunRequest
from .service import Runs

log = logging.getLogger("dockrion")

PAGE: Final = 50
LONGEST_PAGE: Final = 500
_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def run_routes(service: Service, runs: Runs) -> list[BaseRouteHandler]:
    """Return the routes that make, show, follow and cancel runs."""

    @post("/runs", status_code=202, tags=["agent"], summary="Begin a run, and return without waiting for it")
    async def create(request: AnyRequest) -> Response[dict[str, Any]]:
        payload = await service.payload(request)
        asked = RunRequest(payload, service.thread_id(request))
        record, new = await runs.create(
            owner_of(request),
            asked,
            run_id=query(request, "run_id"),
            idempotency_key=header(request, b"idempotency-key"),
        )
        run_id = run_id_of(record.key)
        location = (b"location", b"/runs/" + run_id.encode())
        if not new:
            return Answer(shown_run(record), 200, location)
        accepted = {
            "run_id": run_id,
            "status": record.status,
            "events_url": f"/runs/{run_id}/events",
            "created_at": record.created_at,
        }
        return Answer(accepted, 202, location)

    @get("/runs", tags=["agent"], summary="List your runs, newest first")
    async def listing(request: AnyRequest) -> dict[str, Any]:
        limit = _page_size(request)
        before = _cursor(request)
        found = await runs.page(owner_of(request), limit=limit + 1, before=before)
        more = len(found) > limit
        return {
            "runs": [shown_run(record) for record in found[:limit]],
            "next": _cursor_behind(found[limit - 1]) if more else None,
        }

    @get("/runs/{run_id:str}", tags=["agent"], summary="Show a run: its status, times, output or error")
    async def show(request: AnyRequest, run_id: FromPath[str]) -> dict[str, Any]:
        return shown_run(await runs.get(owner_of(request), run_id))

    @get(
        "/runs/{run_id:str}/events",
        opt={PURPOSE: "run"},
        tags=["agent"],
        summary="Follow a run's events, from any point on",
    )
    async def events(request: AnyRequest, run_id: FromPath[str]) -> ASGIApp:
        after, seconds = position(request), timeout(request, service)
        owner = owner_of(request)
        record = await runs.get(owner, run_id)
        if record.ended and after == record.last_sequence:
            return ASGIResponse(status_code=204)
        return await runs.follow(
            owner,
            run_id,
            after=after,
            view=lambda follower, closed: RunResponse(
                follower,
                run_id,
                seconds=seconds,
                heartbeat=service.dockfile.streaming.events.heartbeat_interval,
                heartbeat_events=service.events_filter.is_allowed("heartbeat"),
                on_close=closed,
            ),
        )

    @delete("/runs/{run_id:str}", status_code=200, tags=["agent"], summary="Cancel a run")
    async def cancel(request: AnyRequest, run_id: FromPath[str]) -> dict[str, Any]:
        reason = request.query_params.get("reason")
        await runs.cancel(owner_of(request), run_id, reason[:1000] if reason else None)
        return {"run_id": run_id, "status": "cancelled"}

    return [create, listing, show, events, cancel]


def handle_unavailable(_: AnyRequest, error: BackendUnavailable) -> Response[bytes]:
    """Answer for a store that does not."""
    log.warning("%s", error)
    return problem_response(unavailable())


def shown_run(record: RunRecord) -> dict[str, Any]:
    """Return a run as its owner sees it."""
    run_id = run_id_of(record.key)
    shown: dict[str, Any] = {
        "run_id": run_id,
        "status": record.status,
        "attempt": record.attempt,
        "created_at": record.created_at,
        "started_at": record.started_at,
        "ended_at": record.ended_at,
        "first_sequence": record.first_sequence,
        "last_sequence": record.last_sequence,
        "events_url": f"/runs/{run_id}/events",
    }
    if record.terminal is not None:
        end = msgspec.json.decode(record.terminal.json, type=dict[str, msgspec.Raw])
        if record.status == "completed":
            shown["output"] = end["output"]
        elif record.status == "failed":
            shown["error"] = {key: end[key] for key in ("code", "error", "details") if key in end}
        elif "reason" in end:
            shown["reason"] = end["reason"]
    return {key: value for key, value in shown.items() if value is not None}


def _page_size(request: AnyRequest) -> int:
    text = request.query_params.get("limit", str(PAGE))
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:9]) <= LONGEST_PAGE):
        raise Problem(400, "INVALID_LIMIT", f"limit: a number from 1 to {LONGEST_PAGE}")
    return int(text)


def _cursor_behind(record: RunRecord) -> str:
    micros = (record.created_at - _EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(f"{micros}:{run_id_of(record.key)}".encode()).decode().rstrip("=")


def _cursor(request: AnyRequest) -> RunRecord | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    try:
        micros, _, run_id = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode().partition(":")
        created_at = _EPOCH + timedelta(microseconds=int(micros))
    except (binascii.Error, UnicodeDecodeError, ValueError, OverflowError):
        raise Problem(400, "INVALID_CURSOR", "cursor: what 'next' of the page before said") from None
    owner = owner_of(request)
    return RunRecord(
        key=run_key(owner, run_id), owner=owner, status="accepted", request=b"", created_at=created_at
    )
