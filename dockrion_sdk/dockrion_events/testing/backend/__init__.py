"""The conformance suite of event backends."""

from __future__ import annotations

from .appends import AppendTests
from .claims import ClaimTests
from .following import FollowTests
from .limits import LimitTests
from .runs import RunTests


class EventBackendSuite(RunTests, ClaimTests, AppendTests, FollowTests, LimitTests):
    """What every `EventBackend` has to do.

    A subclass says how one is made over an empty store. Every test gets a new one::

        class TestMyBackend(EventBackendSuite):
            @asynccontextmanager
            async def make(self, **settings):
                backend = MyBackend(prefix=uuid4().hex, **settings)
                await backend.open()
                try:
                    yield backend
                finally:
                    await backend.close()

    ``settings`` are ``max_events_per_run``, ``stream_ttl_seconds``, ``max_waiting`` and ``owner_share``.
    Where the backend is durable, ``second(backend)`` gives another one over the same store in the same way.

    The tests are coroutine functions: pytest needs a plugin for them, such as anyio's with
    ``anyio_mode = "auto"``, and one event loop for each test.
    """


__all__ = ["EventBackendSuite"]
