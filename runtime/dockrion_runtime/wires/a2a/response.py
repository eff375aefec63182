"""The protocol's stream of answers, sent by our own response.

The SDK makes a response of ``sse_starlette``, which ends every stream as soon as the server is asked to shut
down, before the last updates are there, and has no deadline for a reader that stopped reading. Only what it
would have sent is taken from it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from typing import Any

from litestar.types import Send

from ...edge import Edge
from ...sse import EventResponse
from .call import Call


class AnswerStream(EventResponse):
    """Sends answers, each a Server-Sent Event, to one reader; a reader that leaves ends the reading."""

    __slots__ = ("_answers", "_beat", "_beating", "_call", "_request_id", "_turn")

    def __init__(
        self,
        answers: AsyncGenerator[dict[str, str]],
        call: Call,
        request_id: str,
        edge: Edge,
        *,
        heartbeat: float,
    ) -> None:
        super().__init__(edge, heartbeat=heartbeat, heartbeat_events=False)
        self._request_id = request_id
        self._answers = answers
        self._call = call
        self._turn = asyncio.Lock()
        self._beat = asyncio.Event()
        self._beating: asyncio.Task[None] | None = None

    @property
    def _label(self) -> str:
        return "a2a stream"

    def _own_headers(self) -> list[tuple[bytes, bytes]]:
        return [(b"x-request-id", self._request_id.encode())]

    def _wake(self) -> None:
        self._call.leave_off()

    def _ask_heartbeat(self) -> None:
        self._beat.set()

    async def _send_all(self, send: Send, headers: list[tuple[bytes, bytes]]) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        self._beating = asyncio.create_task(self._send_signs_of_life(send))
        async for answer in self._answers:
            await self._send(send, _frame(answer))
            if self._gone:
                return
        self._beating.cancel()
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send_signs_of_life(self, send: Send) -> None:
        while True:
            await self._beat.wait()
            self._beat.clear()
            await self._send(send, b": heartbeat\n\n")

    async def _send(self, send: Send, body: bytes) -> None:
        async with self._turn:
            self._sending_since = self._last_sent = asyncio.get_running_loop().time()
            await send({"type": "http.response.body", "body": body, "more_body": True})
            self._sending_since = 0.0

    def _close(self) -> Coroutine[Any, Any, None]:
        return self._let_go()

    async def _let_go(self) -> None:
        tasks = [task for task in (self._sender, self._beating) if task is not None]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)  # a generator in use cannot be closed
        await self._answers.aclose()
        self._call.close()


def _frame(answer: dict[str, str]) -> bytes:
    kind = f"event: {answer['event']}\n" if "event" in answer else ""
    return f"{kind}data: {answer['data']}\n\n".encode()
