"""Errors as clients see them: RFC 9457 problem details, with a code of ours."""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import Any, Final

from litestar import Request, Response
from litestar.exceptions import HTTPException

from dockrion_events import BackendUnavailable, RunUnreadable, encode_json

from .observability.correlation import correlate, current_ids
from .private import PRIVATE, PRIVATE_HEADERS
from .uuids import random_uuid

log = logging.getLogger("dockrion")

PROBLEM_JSON: Final = "application/problem+json"
PROBLEM_HEADERS: Final = ((b"content-type", PROBLEM_JSON.encode()), *PRIVATE)
"""The headers of a problem that is sent without Litestar."""


class Problem(Exception):
    """A request that is refused or has failed, with all that its answer says.

    ``code`` is stable and meant for programs, ``detail`` is one sentence for people, ``extra`` holds
    further members of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        headers: dict[str, str] | None = None,
        **extra: Any,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.headers = headers or {}
        self.extra = extra


def overloaded(detail: str, *, code: str = "OVERLOADED", retry_after: int = 1) -> Problem:
    """Return the 503 that asks the client to come back."""
    return Problem(503, code, detail, headers={"Retry-After": str(retry_after)})


def unavailable(error: BackendUnavailable) -> Problem:
    """Return the 503 for a store that does not answer; its address is nothing for clients.

    A run that is there and cannot be read is a 500, or a 503 where another server may be able to.
    """
    if isinstance(error, RunUnreadable):
        if error.newer:
            told = "the run was written by a newer version of dockrion than this server's"
            return overloaded(told, code="RUN_TOO_NEW", retry_after=5)
        return Problem(
            500, "RUN_UNREADABLE", "the store's record of the run is broken; the server's log says how"
        )
    return overloaded("the store of runs does not answer", code="STORE_UNAVAILABLE")


def not_started() -> Problem:
    """Return the 503 of an application whose lifespan nobody runs, or that has ended."""
    return overloaded(
        "the agent is not open: an application that mounts this one has to run its lifespan, by "
        "`async with app.lifespan(): ...` in its own",
        code="NOT_STARTED",
        retry_after=5,
    )


def title_of(status: int) -> str:
    """Return what HTTP calls a status, by the same name on every version of Python."""
    return _TITLES.get(status) or HTTPStatus(status).phrase


_TITLES: Final = {413: "Request Entity Too Large", 422: "Unprocessable Entity"}  # renamed in Python 3.13


def problem_body(problem: Problem) -> bytes:
    """Return a problem's document; it names the request, where that has an id."""
    body: dict[str, Any] = {
        "type": "about:blank",
        "title": title_of(problem.status),
        "status": problem.status,
        "code": problem.code,
        "detail": problem.detail,
        **problem.extra,
    }
    if "request_id" in current_ids():
        body["request_id"] = current_ids()["request_id"]
    return encode_json(body)


def problem_response(problem: Problem) -> Response[bytes]:
    """Return the answer that a problem stands for."""
    headers = {**PRIVATE_HEADERS, **problem.headers}
    if "request_id" in current_ids():
        headers["X-Request-ID"] = current_ids()["request_id"]
    return Response(
        problem_body(problem), status_code=problem.status, media_type=PROBLEM_JSON, headers=headers
    )


def with_head(allowed: str) -> str:
    """Return the value of ``Allow``, for which HEAD goes with GET."""
    methods = set(allowed.split(", "))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))


_CODES = {
    400: "BAD_REQUEST",
    401: "UNAUTHORIZED",
    404: "NOT_FOUND",
    405: "METHOD_NOT_ALLOWED",
    413: "BODY_TOO_LARGE",
}


def handle_problem(request: Request[Any, Any, Any], problem: Problem) -> Response[bytes]:
    request.app.state.service.observability.meter.problems[str(problem.status)] += 1
    return problem_response(problem)


def handle_http(request: Request[Any, Any, Any], error: HTTPException) -> Response[bytes]:
    """Answer for Litestar's own refusals: unknown routes, wrong methods, bodies over the limit."""
    status = error.status_code
    detail = error.detail
    if status == 404:
        detail = f"there is nothing at {request.url.path}"
    elif status == 405:
        detail = f"{request.method} is not allowed at {request.url.path}"
    elif status == 413:
        detail = f"the request body has more than {request.app.request_max_body_size:,} bytes"
    headers = {
        key: with_head(value) for key, value in (error.headers or {}).items() if key.lower() == "allow"
    }
    code = _CODES.get(status, "BAD_REQUEST" if status < 500 else "INTERNAL_ERROR")
    return handle_problem(request, Problem(status, code, detail, headers=headers))


def handle_unexpected(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    """Answer for a fault of ours: logged in full, told to the client by the request's id only."""
    if "request_id" not in current_ids():
        correlate(request_id=random_uuid())
    request_id = current_ids()["request_id"]
    log.error("%s %s failed, request %s", request.method, request.url.path, request_id, exc_info=error)
    return handle_problem(
        request, Problem(500, "INTERNAL_ERROR", "the server failed; its log has the details")
    )


class ClientLeft(Exception):
    """The client has closed its connection: there is nobody to answer."""


def handle_left(request: Request[Any, Any, Any], error: ClientLeft) -> Response[bytes]:
    """Answer a client that is not there any more, with what nginx logs in such a case."""
    del request, error
    return Response(b"", status_code=499)


EXCEPTION_HANDLERS: Final[dict[Any, Any]] = {
    Problem: handle_problem,
    ClientLeft: handle_left,
    HTTPException: handle_http,
    Exception: handle_unexpected,
}
