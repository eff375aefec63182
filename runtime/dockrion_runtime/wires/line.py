"""The sending side of a WebSocket."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final, TypeAlias

from litestar import WebSocket

from ..edge import Edge

AnySocket: TypeAlias = WebSocket[Any, Any, Any]

FINISHED: Final = 1000
GOING_AWAY: Final = 1001
UNSUPPORTED: Final = 1003
UNEXPECTED: Final = 1008

ABORT: Final = "dockrion.abort"
"""The ASGI extension by which our server lets a connection be dropped, whatever is still to be sent.

Its argument says whether that is because the client does not read, which is counted."""


class Line:
    """Sends for several tasks; one send that fails or does not end breaks it for all."""

    def __init__(self, socket: AnySocket, edge: Edge) -> None:
        self._socket = socket
        self._edge = edge
        self._seconds = edge.limits.unread_seconds
        self._turn = asyncio.Lock()
        self._broken = False
        self._abort: Any = (socket.scope.get("extensions") or {}).get(ABORT)

    async def send(self, texts: list[str]) -> None:
        """Send text frames, in order and with none of another's in between. Raises `ConnectionError`."""
        async with self._turn:
            for text in texts:
                await self._bounded(self._socket.send_text(text))

    async def close(self, code: int, reason: str = "") -> None:
        """Close the socket. Raises `ConnectionError`."""
        async with self._turn:
            await self._bounded(self._socket.close(code, reason))
            self._broken = True

    async def _bounded(self, sending: Awaitable[None]) -> None:
        if self._broken:
            if asyncio.iscoroutine(sending):
                sending.close()
            raise ConnectionError("the socket is closed")
        try:
            async with asyncio.timeout(self._seconds):
                await sending
        except Exception as error:  # whatever the server raises, nothing can be sent any more
            self._broken = True
            unread = isinstance(error, TimeoutError)
            if self._abort is not None:
                self._abort(unread)
            elif unread:
                self._edge.refuse_unread()
            raise ConnectionError("the socket cannot be written") from error
