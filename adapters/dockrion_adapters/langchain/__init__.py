"""LangChain runnables as agents: what they give, and what their models say on the way."""

from __future__ import annotations

from .adapter import LangChainAdapter

__all__ = ["LangChainAdapter"]
