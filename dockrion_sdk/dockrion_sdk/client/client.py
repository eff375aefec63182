"""The asynchronous client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from dockrion_events import TERMINAL, HeartbeatEvent, StreamEvent, decode_event

from .errors import ServerUnreachable, StreamBroken, error_of
from .runs import Runs
from .transport import Transport


class Client:
    """A caller of one server; an async context manager, usable by many tasks at once.

    ``timeout`` (seconds) bounds each request but for streams; ``patience`` is how long a request that may
    be made twice, and the following of a run, go on without any answer. ``http`` is an ``httpx.AsyncClient``
    of the caller's own, which stays the caller's to close.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:8080",
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        self._transport = Transport(
            base_url, api_key=api_key, headers=headers or {}, timeout=timeout, patience=patience, http=http
        )
        self.runs: Runs = Runs(self._transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the client's connections."""
        await self._transport.aclose()

    async def invoke(self, payload: dict[str, Any], *, thread_id: str | None = None) -> Any:
        """Execute the agent once and return its output.

        Never made twice. Raises `APIError` (``AGENT_ERROR`` where the agent failed) and
        `ServerUnreachable`.
        """
        answer = await self._transport.request(
            "POST", "/invoke", again=False, content=msgspec.json.encode(payload), params=_thread(thread_id)
        )
        return msgspec.json.decode(answer.content)["output"]

    async def stream(
        self, payload: dict[str, Any], *, thread_id: str | None = None
    ) -> AsyncIterator[StreamEvent]:
        """Execute the agent once and yield its events as they happen, to the terminal one.

        Leaving the iterator (``aclose``, or the end of its scope) stops the agent. Heartbeats are not
        yielded. A failure of the agent is an ``error`` event. Raises `APIError`, `ServerUnreachable`,
        and `StreamBroken` where the connection is lost on the way.
        """
        begun = False
        try:
            async with self._transport.sse(
                "POST", "/invoke/stream", content=msgspec.json.encode(payload), params=_thread(thread_id)
            ) as source:
                if source.response.status_code != 200:
                    raise error_of(source.response)
                begun = True
                async for frame in source.aiter_sse():
                    event = decode_event(frame.data)
                    if not isinstance(event, HeartbeatEvent):
                        yield event
                    if event.type in TERMINAL:
                        return
        except httpx.TransportError as error:
            kind = StreamBroken if begun else ServerUnreachable
            raise kind(self._transport.describe(error)) from None
        raise StreamBroken("the stream ended without a terminal event")


def _thread(thread_id: str | None) -> dict[str, str]:
    return {} if thread_id is None else {"thread_id": thread_id}
