"""The synchronous client: the asynchronous one, on an event loop in a thread of its own."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Mapping
from types import TracebackType
from typing import Any, Self, TypeVar

from anyio.from_thread import BlockingPortal, start_blocking_portal

from dockrion_events import StreamEvent

from ..syncing import interruptible, iterated
from .client import Client
from .errors import ClientError
from .runs import Run, Runs

T = TypeVar("T")


class SyncClient:
    """`Client` for plain scripts; a context manager. Its methods block, and may be called from any thread.

    What they iterate over is to be left, or closed, before the client is. Ctrl-C ends a method at once.
    """

    def __init__(
        self,
        base_url: str = "http://localhost:8080",
        *,
        api_key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: float = 60.0,
        patience: float = 60.0,
    ) -> None:
        self._options: dict[str, Any] = {
            "api_key": api_key,
            "headers": headers,
            "timeout": timeout,
            "patience": patience,
        }
        self._base_url = base_url
        self._starting = start_blocking_portal()
        self._portal = self._starting.__enter__()
        self._client = Client(base_url, **self._options)
        self.runs: SyncRuns = SyncRuns(self._portal, self._client.runs)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the client's connections and end its thread."""
        self._portal.call(self._client.aclose)
        self._starting.__exit__(None, None, None)

    def invoke(self, payload: dict[str, Any], *, thread_id: str | None = None) -> Any:
        """See `Client.invoke`."""
        return _called(self._portal, lambda: self._client.invoke(payload, thread_id=thread_id))

    def stream(
        self, payload: dict[str, Any], *, thread_id: str | None = None
    ) -> Generator[StreamEvent, None, None]:
        """See `Client.stream`."""
        return _iterated(self._portal, self._client.stream(payload, thread_id=thread_id))


class SyncRuns:
    """``client.runs`` of a `SyncClient`; see `Runs`."""

    def __init__(self, portal: BlockingPortal, runs: Runs) -> None:
        self._portal = portal
        self._runs = runs

    def create(
        self, payload: dict[str, Any], *, run_id: str | None = None, thread_id: str | None = None
    ) -> Run:
        """See `Runs.create`."""
        return _called(self._portal, lambda: self._runs.create(payload, run_id=run_id, thread_id=thread_id))

    def get(self, run_id: str) -> Run:
        """See `Runs.get`."""
        return _called(self._portal, lambda: self._runs.get(run_id))

    def list(self, *, page_size: int = 50) -> Generator[Run, None, None]:
        """See `Runs.list`."""
        return _iterated(self._portal, self._runs.list(page_size=page_size))

    def cancel(self, run_id: str, *, reason: str | None = None) -> None:
        """See `Runs.cancel`."""
        _called(self._portal, lambda: self._runs.cancel(run_id, reason=reason))

    def events(self, run_id: str, *, from_sequence: int | str = 0) -> Generator[StreamEvent, None, None]:
        """See `Runs.events`."""
        return _iterated(self._portal, self._runs.events(run_id, from_sequence=from_sequence))


def _called(portal: BlockingPortal, call: Callable[[], Awaitable[T]]) -> T:
    """Do what `interruptible` does; a client's own error comes without its way through two threads."""
    try:
        return interruptible(portal, call)
    except ClientError as error:
        raise error.with_traceback(None) from None


def _iterated(portal: BlockingPortal, source: AsyncIterator[T]) -> Generator[T, None, None]:
    try:
        yield from iterated(portal, source)
    except ClientError as error:
        raise error.with_traceback(None) from None
