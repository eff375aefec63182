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

from .streaming import PATIENCE, StreamingBackendSuite

__all__ = ["PATIENCE", "StreamingBackendSuite"]
