"""What the routes of runs take and give, for the OpenAPI document."""

from __future__ import annotations

import re
from typing import Any, Final

from litestar.openapi.spec import Link, Operation

from dockrion_events.bus.names import ID
from dockrion_sdk import Dockfile

from ..answers import AcceptedRun, CancelledRun, Run, RunPage
from ..openapi import Describer, Headers, answer, header, nothing, parameter, stream
from ..routes import OWN_REQUEST_ID, REQUEST_ID, THREAD_HEADERS, THREAD_ID
from .cursor import LONGEST_TIMEOUT

GET: Final = "get_run"
FOLLOW: Final = "follow_run"
CANCEL: Final = "cancel_run"
PAGE: Final = 50
CURSOR: Final = re.compile(rf"[0-9]{{1,17}}:{ID.pattern}")
"""Where a page ends: a run's time of creation, in microseconds, and its id."""

_ID: Final[dict[str, Any]] = {"type": "string", "pattern": f"^{ID.pattern}$"}
_SEQUENCE: Final[dict[str, Any]] = {
    "anyOf": [
        {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
        {"type": "string", "pattern": r"^[0-9]{1,18}\.[0-9A-Za-z-]{4,32}$"},
    ]
}
"""A cursor: a sequence, or on stores that may lose data ``<sequence>.<epoch>``; see `Cursor`."""
_FROM_SEQUENCE: Final = (
    "The first event to send; 0 is the first one kept. With the epoch of the event before, "
    "`<sequence>.<epoch>`, a `gap` says where that event is not in the log any more."
)
RUN_ID: Final = parameter("run_id", "The run.", {"type": "string"}, place="path")
_LOCATION: Final[Headers] = {"Location": header("The run's address.")}
STORE: Final = "STORE_UNAVAILABLE"
UNREADABLE: Final = "RUN_UNREADABLE"
TOO_NEW: Final = "RUN_TOO_NEW"


class RunOperations:
    """The ``operation_class`` of each route of runs."""

    def __init__(self, dockfile: Dockfile, *, checked: bool) -> None:
        self._dockfile = dockfile
        self._describe = Describer(dockfile, checked=checked)

    def create(self) -> type[Operation]:
        """POST /runs"""
        refusals = self._describe.refusals_of_payload()
        refusals[400] += ("INVALID_THREAD_ID", "INVALID_IDEMPOTENCY_KEY", "RUN_ID_NOT_ALLOWED")
        parameters = [
            THREAD_ID,
            OWN_REQUEST_ID,
            parameter(
                "Idempotency-Key",
                "Names the run: the same key and payload again find it, and begin no other.",
                {"type": "string", "minLength": 1, "maxLength": 255},
                place="header",
            ),
        ]
        if self._dockfile.streaming.allow_client_ids:
            refusals[400] = (*refusals[400][:-1], "INVALID_RUN_ID", "AMBIGUOUS_RUN")
            told = "The id to give the run. Excludes `Idempotency-Key`."
            parameters.append(parameter("run_id", told, _ID))
        headers: Headers = {**_LOCATION, **REQUEST_ID, **THREAD_HEADERS}
        accepted = answer(AcceptedRun, "The run is accepted.", headers)
        accepted.links = {
            operation: Link(operation_id=operation, parameters={"run_id": "$response.body#/run_id"})
            for operation in (GET, FOLLOW, CANCEL)
        }
        return self._describe(
            {
                200: answer(Run, "The same request has made this run before.", headers),
                202: accepted,
            },
            parameters=parameters,
            body=self._describe.payload(),
            refusals={
                **refusals,
                409: ("RUN_EXISTS",),
                429: ("OWNER_QUOTA",),
                503: ("SHUTTING_DOWN", "QUEUE_FULL", "STORE_FULL", STORE),
            },
        )

    def listing(self) -> type[Operation]:
        """GET /runs"""
        cursor: dict[str, Any] = {"type": "string", "pattern": f"^{CURSOR.pattern}$"}
        most = self._dockfile.expose.limits.page_runs
        size: dict[str, Any] = {
            "type": "integer", "minimum": 1, "maximum": most, "default": min(PAGE, most),
        }  # fmt: skip
        return self._describe(
            {200: answer(RunPage, "A page of runs, without their outputs.")},
            parameters=[
                parameter("limit", "Runs on a page.", size),
                parameter("cursor", "`next` of the page before.", cursor),
            ],
            refusals={400: ("INVALID_LIMIT", "INVALID_CURSOR"), 503: (STORE,)},
        )

    def show(self) -> type[Operation]:
        """GET /runs/{run_id}"""
        return self._describe(
            {200: answer(Run, "The run.")},
            parameters=[RUN_ID],
            refusals={404: ("RUN_NOT_FOUND",), 500: ("INTERNAL_ERROR", UNREADABLE), 503: (STORE, TOO_NEW)},
        )

    def follow(self) -> type[Operation]:
        """GET /runs/{run_id}/events"""
        seconds: dict[str, Any] = {"type": "number", "exclusiveMinimum": 0, "maximum": LONGEST_TIMEOUT}
        default = self._dockfile.streaming.connection.default_timeout
        return self._describe(
            {
                200: stream("RunFrame", "The run's events: those that are kept, then those that happen."),
                204: nothing("The run has ended, and the client has seen its last event."),
            },
            parameters=[
                RUN_ID,
                parameter("from_sequence", _FROM_SEQUENCE, _SEQUENCE),
                parameter(
                    "Last-Event-ID",
                    "The `id` of the last event that was seen; goes before `from_sequence`.",
                    {"anyOf": [*_SEQUENCE["anyOf"], {"type": "string", "maxLength": 0}]},
                    place="header",
                ),
                parameter(
                    "timeout", f"Seconds after which the answer ends; {default:g} unless given.", seconds
                ),
            ],
            refusals={
                400: ("INVALID_CURSOR", "INVALID_TIMEOUT"),
                404: ("RUN_NOT_FOUND",),
                429: ("TOO_MANY_SUBSCRIBERS",),
                500: ("INTERNAL_ERROR", UNREADABLE),
                503: ("SHUTTING_DOWN", STORE, TOO_NEW),
            },
        )

    def cancel(self) -> type[Operation]:
        """DELETE /runs/{run_id}"""
        told = "Why; the `cancelled` event says it. Cut at 1,000 characters."
        return self._describe(
            {200: answer(CancelledRun, "It is cancelled, now or before.")},
            parameters=[RUN_ID, parameter("reason", told, {"type": "string"})],
            refusals={
                404: ("RUN_NOT_FOUND",),
                409: ("RUN_ENDED",),
                500: ("INTERNAL_ERROR", UNREADABLE),
                503: (STORE, TOO_NEW),
            },
        )
