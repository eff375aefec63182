"""Refusals and failures as the protocol's own errors; nothing else of ours gets out."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from a2a.utils.errors import (
    A2AError,
    InternalError,
    InvalidParamsError,
    TaskNotCancelableError,
    TaskNotFoundError,
)

from dockrion_events import BackendUnavailable

from ...observability.correlation import current_ids
from ...problems import Problem, unavailable

log = logging.getLogger("dockrion")


@contextmanager
def told_by_protocol(problems: Counter[str]) -> Iterator[None]:
    """Raise whatever is raised inside as an `A2AError`; a fault of ours is logged, and told by its id.

    A problem is counted in ``problems``, by its status.
    """
    try:
        yield
    except A2AError:
        raise
    except Problem as problem:
        problems[str(problem.status)] += 1
        raise error_of(problem) from None
    except BackendUnavailable as error:
        log.warning("%s", error)
        away = unavailable(error)
        problems[str(away.status)] += 1
        raise error_of(away) from None
    except Exception as error:
        request_id = current_ids().get("request_id")
        log.error("a2a: request %s failed", request_id, exc_info=error)
        told = {"request_id": request_id}
        raise InternalError("the server failed; its log has the details", told) from None


def error_of(problem: Problem) -> A2AError:
    """Return a problem as the protocol tells it; its code stays in the error's data."""
    data = {"code": problem.code}
    if problem.code == "RUN_NOT_FOUND":
        return TaskNotFoundError(problem.detail, data)
    if problem.code == "RUN_ENDED":
        return TaskNotCancelableError(problem.detail, data)
    if problem.status in (400, 409, 413, 422):
        faults = problem.extra.get("errors", ())
        fields = [{"field": fault["path"], "message": fault["message"]} for fault in faults]
        return InvalidParamsError(problem.detail, {**data, "errors": fields} if fields else data)
    return InternalError(problem.detail, data)
