"""Runs kept in this process: nothing to install, and gone with it."""

from __future__ import annotations

from .backend import MemoryBackend

__all__ = ["MemoryBackend"]
