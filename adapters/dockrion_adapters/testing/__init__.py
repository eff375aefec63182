"""The conformance suite of adapters; for third parties' too.

An abstract class of tests that pytest collects from a subclass::

    from dockrion_adapters.testing import AdapterSuite

    class TestMyAdapter(AdapterSuite):
        def make(self, act):
            return MyAdapter(MyAgent(step=act))

        def speaking(self, words):
            return MyAdapter(MyAgent(model=Scripted(words)))

To see the values in a failing assertion, call ``pytest.register_assert_rewrite`` with this module's
name before it is imported.
"""

from __future__ import annotations

from .suite import AdapterSuite

__all__ = ["AdapterSuite"]
