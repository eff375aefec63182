"""Streaming backends: how an emitted event reaches the exit of its execution."""

from __future__ import annotations

from .base import StreamingBackend

__all__ = ["StreamingBackend"]
