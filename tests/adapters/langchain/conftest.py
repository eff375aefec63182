"""No test of this folder may leave a task behind or make the event loop complain."""

from __future__ import annotations

from ..langgraph.conftest import nothing_left_over

__all__ = ["nothing_left_over"]
