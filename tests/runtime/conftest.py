"""A real server on a real port for each test that asks for one."""

from __future__ import annotations

from ..servers.live import DEADLINE, Live, Serve, Store, agent_module, dockfile, module, serve, store

__all__ = ["DEADLINE", "Live", "Serve", "Store", "agent_module", "dockfile", "module", "serve", "store"]
