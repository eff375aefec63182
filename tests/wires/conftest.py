"""A real server with every wire."""

from __future__ import annotations

from ..servers.live import DEADLINE, Live, Serve, Store, module, serve, store

__all__ = ["DEADLINE", "Live", "Serve", "Store", "module", "serve", "store"]
