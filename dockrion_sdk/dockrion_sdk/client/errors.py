"""Every error a client raises by itself.

::

    ClientError
    ├── APIError             the server has refused the request, or failed; ``status`` and ``code`` say why
    ├── ServerUnreachable    no server has answered for as long as the client is patient
    └── StreamBroken         a direct stream ended before its terminal event; nothing can be taken up again
"""

from __future__ import annotations

from typing import Any

import httpx
import msgspec

from dockrion_events import DockrionError


class ClientError(DockrionError):
    """Base of what a client raises by itself."""


class APIError(ClientError):
    """The server's answer to a request that it has refused, or that has failed.

    ``status`` is the HTTP status, ``code`` the server's stable code (``HTTP_502`` where a proxy
    answered without one), ``detail`` its sentence and ``extra`` what else it said.
    """

    def __init__(self, status: int, code: str, detail: str, extra: dict[str, Any]) -> None:
        super().__init__(f"{status} {code}: {detail}" if detail else f"{status} {code}")
        self.status: int = status
        self.code: str = code
        self.detail: str = detail
        self.extra: dict[str, Any] = extra


class ServerUnreachable(ClientError):
    """No server has answered in time."""


class StreamBroken(ClientError):
    """The connection of a direct stream was lost; the server has stopped its agent."""


def error_of(response: httpx.Response) -> APIError:
    """Return the error that an answer stands for, whose body was read."""
    try:
        body = msgspec.json.decode(response.content, type=dict[str, Any])
    except msgspec.DecodeError:
        body = {}
    code = str(body.pop("code", f"HTTP_{response.status_code}"))
    detail = str(body.pop("detail", ""))
    return APIError(response.status_code, code, detail, body)
