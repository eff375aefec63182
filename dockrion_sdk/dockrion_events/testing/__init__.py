"""Conformance suites for the contracts of this package; for third parties' implementations too.

A suite is an abstract class of tests that pytest collects from a subclass::

    from dockrion_events.testing import StreamingBackendSuite

    class TestMyBackend(StreamingBackendSuite):
        def make(self):
            return MyBackend()

        def delivered(self, backend, work):
            with my_framework_running(backend) as sink:
                work()
            return sink.events

To see the values in a failing assertion, call ``pytest.register_assert_rewrite`` with this package's
name before it is imported.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .streaming import PATIENCE, StreamingBackendSuite

if TYPE_CHECKING:
    from .backend import EventBackendSuite

__all__ = ["PATIENCE", "EventBackendSuite", "StreamingBackendSuite"]


def __getattr__(name: str) -> Any:
    if name == "EventBackendSuite":  # the one that needs asyncio
        from .backend import EventBackendSuite

        return EventBackendSuite
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
