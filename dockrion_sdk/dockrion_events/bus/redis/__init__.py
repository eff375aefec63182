"""Runs kept in Redis 6.2 or newer: durable, and shared by all processes that use the same one."""

from __future__ import annotations

from .backend import RedisBackend

__all__ = ["RedisBackend"]
