"""What the SDK logs and answers about malformed requests, made short.

It logs a traceback for each of them, and repeats what it could not read in the log and in its answer.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

import msgspec
from starlette.responses import Response

from dockrion_sdk.json_schema import shortened

_LOGGERS: Final = ("a2a.server.routes.jsonrpc_dispatcher", "a2a.compat.v0_3.jsonrpc_adapter")
_MALFORMED: Final = (
    "Failed to validate base JSON-RPC request",
    "Failed to parse request params",
    "Failed to validate base JSON-RPC request for v0.3",
)
_ORDINARY: Final = 2048
"""Bytes of an answer that may stay as it is."""


QUIET_SECONDS: Final = 60.0
"""How long the SDK's other lines of one kind are left out after one of them was logged."""


class _Short(logging.Filter):
    """Drops the tracebacks of malformed requests, whose clients are told; shortens what is left.

    Of each kind of line there is one a minute: who sends what is malformed does not fill the log.
    """

    def __init__(self) -> None:
        super().__init__()
        self._logged: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        if record.msg in _MALFORMED:
            return False
        kind = f"{record.name} {record.msg}"[:100]
        now = time.monotonic()
        if now - self._logged.get(kind, -QUIET_SECONDS) < QUIET_SECONDS:
            return False
        if len(self._logged) < 100:  # the SDK's own formats, of which there are a few
            self._logged[kind] = now
        if isinstance(record.args, tuple):
            record.args = tuple(shortened(arg) if isinstance(arg, str) else arg for arg in record.args)
        return True


_FILTER: Final = _Short()


def silence_tracebacks() -> None:
    """Let the SDK log malformed requests in a line a minute. Idempotent."""
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_FILTER)


def shorten_error(response: Response) -> None:
    """Cut the texts of an error short that repeats a request; other answers stay as they are."""
    body = bytes(response.body)
    if len(body) <= _ORDINARY or b'"error":' not in body[:_ORDINARY]:
        return
    answer = msgspec.json.decode(body)
    if "error" in answer and "result" not in answer:
        answer["error"] = _shortened(answer["error"])
        response.body = msgspec.json.encode(answer)
        response.headers["content-length"] = str(len(response.body))


def _shortened(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _shortened(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_shortened(item) for item in value[:20]]
    return shortened(value) if isinstance(value, str) else value
