"""Requests to a server: where it is, who asks, and when to ask again."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import httpx
import httpx_sse

from .errors import ServerUnreachable, error_of

CONNECT_SECONDS: Final = 10.0
SHORTEST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 5.0

AGAIN: Final = frozenset({429, 502, 503, 504})
"""Statuses by which a server, or a proxy before it, asks for another attempt."""


class Patience:
    """How long to go on trying; each pause is longer than the last one, and never two are equal.

    `reset` after a success. ``seconds`` is the time without one after which `pause` gives up.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self.reset()

    def reset(self) -> None:
        """Begin anew: the server has answered."""
        self._since = time.monotonic()
        self._attempts = 0

    async def pause(self, why: str, *, at_least: float = 0.0) -> None:
        """Wait for the next attempt. Raises `ServerUnreachable` where there is to be none."""
        backoff = min(LONGEST_PAUSE, SHORTEST_PAUSE * 2.0**self._attempts) * random.uniform(0.5, 1.0)
        self._attempts = min(self._attempts + 1, 16)
        wait = max(backoff, at_least)
        if time.monotonic() + wait - self._since > self._seconds:
            raise ServerUnreachable(f"no answer for {self._seconds:g} s; the last attempt: {why}")
        await asyncio.sleep(wait)


class Transport:
    """One server, as one caller sees it."""

    def __init__(
        self,
        base_url: str,
        *,
        api_key: str | None,
        headers: Mapping[str, str],
        timeout: float,
        patience: float,
        http: httpx.AsyncClient | None,
    ) -> None:
        own = dict(headers)
        if api_key is not None:
            own["X-API-Key"] = api_key
        self._base = base_url.rstrip("/")
        self._headers = own
        self._timeout = httpx.Timeout(timeout, connect=min(timeout, CONNECT_SECONDS))
        self._owned = http is None
        self._http = http or httpx.AsyncClient(limits=httpx.Limits(max_connections=None))
        self.patience: float = patience

    async def aclose(self) -> None:
        """Close the connections, unless they are the caller's."""
        if self._owned:
            await self._http.aclose()

    async def request(self, method: str, path: str, *, again: bool, **options: Any) -> httpx.Response:
        """Send a request and return its good answer.

        Where ``again`` says that the request may be made twice, connections that fail and servers that
        are busy or away are tried again, for as long as the client is patient. Raises `APIError` and
        `ServerUnreachable`.
        """
        patience = Patience(self.patience)
        options = {"timeout": self._timeout, **options, "headers": self._with(options)}
        while True:
            response: httpx.Response | None = None
            why = ""
            try:
                response = await self._http.request(method, self._base + path, **options)
            except httpx.TransportError as error:
                why = self.describe(error)
            if response is None:  # here, so that what is raised has no other error as its context
                if not again:
                    raise ServerUnreachable(why)
                await patience.pause(why)
                continue
            if response.status_code < 300:
                return response
            if not again or response.status_code not in AGAIN:
                raise error_of(response)
            await patience.pause(str(error_of(response)), at_least=retry_after(response))

    @asynccontextmanager
    async def sse(
        self, method: str, path: str, *, silence: float | None = None, **options: Any
    ) -> AsyncIterator[httpx_sse.EventSource]:
        """Open a stream of Server-Sent Events; its answer may be a refusal, whose body was read.

        After ``silence`` seconds without a byte the connection counts as broken.
        """
        options = {**options, "headers": self._with(options)}
        options["timeout"] = httpx.Timeout(
            connect=self._timeout.connect, write=self._timeout.write, pool=self._timeout.pool, read=silence
        )
        async with httpx_sse.aconnect_sse(self._http, method, self._base + path, **options) as source:
            if source.response.status_code != 200:
                await source.response.aread()
            yield source

    def describe(self, error: httpx.TransportError) -> str:
        """Return what went wrong between the client and its server, with the server's address."""
        return f"{self._base}: {str(error) or type(error).__name__}"

    def _with(self, options: Mapping[str, Any]) -> dict[str, str]:
        return {**self._headers, **options.get("headers", {})}


def retry_after(response: httpx.Response) -> float:
    """Return the seconds that a server asks to be left alone."""
    text = response.headers.get("retry-after", "")
    return float(text) if text.isdigit() else 0.0
