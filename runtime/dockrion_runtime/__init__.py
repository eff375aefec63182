"""The server: one agent behind HTTP, and the ``dockrion`` command."""

from __future__ import annotations

from .app import create_app

__all__ = ["create_app"]
