"""Operators on streams of events: ``adapter.invoke_stream(payload) | only("token") | text()``.

Each takes any async iterator of events and is lazy: nothing is read before somebody reads. Leaving the
last of a chain closes all that it wraps, down to the agent.
"""

from __future__ import annotations

from .base import Operator, collect, only, text
from .buffering import batch, buffer
from .merging import Labelled, merge
from .showing import progress
from .timing import timeout

__all__ = [
    "Labelled",
    "Operator",
    "batch",
    "buffer",
    "collect",
    "merge",
    "only",
    "progress",
    "text",
    "timeout",
]
