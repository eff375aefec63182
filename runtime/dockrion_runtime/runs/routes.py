"""The routes of runs. Each says what a client gets; the work is done elsewhere."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Response, delete, get, post
from litestar.handlers import BaseRouteHandler
from litestar.params import FromPath
from litestar.response.base import ASGIResponse
from litestar.types import ASGIApp
from msgspec import UNSET

from dockrion_events import BackendUnavailable, RunUnreadable
from dockrion_events.bus import RunRecord, RunSummary
from dockrion_events.bus.names import run_id_of, run_key

from ..answers import AcceptedRun, CancelledRun, ListedRun, Run, RunError, RunPage
from ..auth import owner_of
from ..front.prefix import prefix_of
from ..problems import Problem, handle_problem, not_started, unavailable
from ..service import Service
from ..tickets.signing import PURPOSE
from ..wire import Answer, AnyRequest, header, query
from .cursor import position, timeout
from .described import CANCEL, CURSOR, FOLLOW, GET, PAGE, RunOperations
from .follow import RunResponse
from .service import Runs

log = logging.getLogger("dockrion")

_EPOCH: Final = datetime.fromtimestamp(0, UTC)


def run_routes(service: Service, runs: Runs) -> list[BaseRouteHandler]:
    """Return the routes that make, show, follow and cancel runs."""

    described = RunOperations(service.dockfile, checked=service.describes_input)

    @post(
        "/runs",
        status_code=202,
        tags=["runs"],
        summary="Begin a run, and return without waiting for it",
        operation_id="create_run",
        operation_class=described.create(),
    )
    async def create(request: AnyRequest) -> Response[Any]:
        request_id = service.request_id(request)
        payload = await service.payload(request)
        owner, thread_id = owner_of(request), service.thread_id(request)
        await service.check_input(payload, service.config(owner, thread_id))
        asked = runs.asked(payload, thread_id)
        record, new = await runs.create(
            owner,
            asked,
            run_id=query(request, "run_id"),
            idempotency_key=header(request, b"idempotency-key"),
        )
        run_id = run_id_of(record.key)
        prefix = prefix_of(request.scope)
        location = f"{prefix}/runs/{run_id}"
        headers = (
            (b"location", location.encode()),
            (b"x-request-id", request_id.encode()),
            *service.thread_headers(service.config(owner, thread_id, run_id)),
        )
        if not new:
            return Answer(shown_run(record, prefix), 200, *headers)
        accepted = AcceptedRun(run_id, record.status, _events_url(prefix, run_id), record.created_at)
        return Answer(accepted, 202, *headers)

    @get(
        "/runs",
        tags=["runs"],
        summary="List your runs, newest first",
        operation_id="list_runs",
        operation_class=described.listing(),
    )
    async def listing(request: AnyRequest) -> RunPage:
        limit = _page_size(request, service.dockfile.expose.limits.page_runs)
        before = _cursor(request)
        found = await runs.page(owner_of(request), limit=limit + 1, before=before)
        more = len(found) > limit
        return RunPage(
            [ListedRun(**_shown(run, prefix_of(request.scope))) for run in found[:limit]],
            _cursor_behind(found[limit - 1]) if more else None,
        )

    @get(
        "/runs/{run_id:str}",
        tags=["runs"],
        summary="Show a run: its status, times, output or error",
        operation_id=GET,
        operation_class=described.show(),
    )
    async def show(request: AnyRequest, run_id: FromPath[str]) -> Run:
        return shown_run(await runs.get(owner_of(request), run_id), prefix_of(request.scope))

    @get(
        "/runs/{run_id:str}/events",
        opt={PURPOSE: "run"},
        tags=["runs"],
        summary="Follow a run's events, from any point on",
        operation_id=FOLLOW,
        operation_class=described.follow(),
    )
    async def events(request: AnyRequest, run_id: FromPath[str]) -> ASGIApp:
        after, seconds = position(request), timeout(request, service)
        owner = owner_of(request)
        record = await runs.get(owner, run_id)
        if record.ended and after == record.last_sequence and after.epoch in ("", record.epoch):
            return ASGIResponse(status_code=204)
        return await runs.follow(
            owner,
            run_id,
            after=after,
            view=lambda follower, closed: RunResponse(
                follower,
                run_id,
                service.edge,
                service.observability.meter,
                seconds=seconds,
                heartbeat=service.dockfile.streaming.events.heartbeat_interval,
                heartbeat_events=service.events_filter.is_allowed("heartbeat"),
                on_close=closed,
            ),
        )

    @delete(
        "/runs/{run_id:str}",
        status_code=200,
        tags=["runs"],
        summary="Cancel a run",
        operation_id=CANCEL,
        operation_class=described.cancel(),
    )
    async def cancel(request: AnyRequest, run_id: FromPath[str]) -> CancelledRun:
        reason = request.query_params.get("reason")
        await runs.cancel(owner_of(request), run_id, reason[:1000] if reason else None)
        return CancelledRun(run_id, "cancelled")

    return [create, listing, show, events, cancel]


def handle_unavailable(request: AnyRequest, error: BackendUnavailable) -> Response[bytes]:
    """Answer for a store that does not."""
    service: Service = request.app.state.service
    if not service.ready:
        return handle_problem(request, not_started())
    log.warning("%s", error)
    return handle_problem(request, unavailable(error))


def shown_run(record: RunRecord, prefix: str) -> Run:
    """Return a run as its owner sees it; ``prefix`` stands before the server's paths.

    Raises `RunUnreadable`.
    """
    try:
        return _with_end(record, Run(**_shown(record, prefix)))
    except (msgspec.MsgspecError, KeyError) as error:
        raise RunUnreadable(f"the last event of the run {record.key!r} is broken: {error}") from None


def _with_end(record: RunRecord, shown: Run) -> Run:
    if record.terminal is not None:
        end = msgspec.json.decode(record.terminal.json, type=dict[str, msgspec.Raw])
        if record.status == "completed":
            shown.output = end["output"]
        elif record.status == "failed":
            shown.error = msgspec.json.decode(record.terminal.json, type=RunError)
        elif "reason" in end:
            shown.reason = msgspec.json.decode(end["reason"], type=str)
    return shown


def _shown(run: RunSummary, prefix: str) -> dict[str, Any]:
    """Return what lists and single runs show alike."""
    run_id = run_id_of(run.key)
    return {
        "run_id": run_id,
        "status": run.status,
        "attempt": run.attempt,
        "created_at": run.created_at,
        "started_at": run.started_at or UNSET,
        "ended_at": run.ended_at or UNSET,
        "first_sequence": run.first_sequence,
        "last_sequence": run.last_sequence,
        "events_url": _events_url(prefix, run_id),
        "thread_id": run.thread or UNSET,
    }


def _events_url(prefix: str, run_id: str) -> str:
    return f"{prefix}/runs/{run_id}/events"


def _page_size(request: AnyRequest, most: int) -> int:
    text = request.query_params.get("limit", str(min(PAGE, most)))
    if not (text.isascii() and text.isdigit() and len(text) < 10 and 1 <= int(text) <= most):
        raise Problem(400, "INVALID_LIMIT", f"limit: a number from 1 to {most}")
    return int(text)


def _cursor_behind(record: RunSummary) -> str:
    micros = (record.created_at - _EPOCH) // timedelta(microseconds=1)
    return f"{micros}:{run_id_of(record.key)}"


def _cursor(request: AnyRequest) -> RunSummary | None:
    text = request.query_params.get("cursor")
    if text is None:
        return None
    if not CURSOR.fullmatch(text):
        raise Problem(400, "INVALID_CURSOR", "cursor: what 'next' of the page before said")
    micros, _, run_id = text.partition(":")
    created_at = _EPOCH + timedelta(microseconds=int(micros))
    owner = owner_of(request)
    return RunSummary(key=run_key(owner, run_id), owner=owner, status="accepted", created_at=created_at)
