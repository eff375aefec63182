"""LangGraph graphs as agents: any graph, unchanged, behaving as it does bare."""

from __future__ import annotations

from .adapter import LangGraphAdapter
from .backend import LangGraphBackend

__all__ = ["LangGraphAdapter", "LangGraphBackend"]
