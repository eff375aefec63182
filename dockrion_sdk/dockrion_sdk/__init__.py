"""What an integrator imports: an agent to run, its Dockfile, clients of a server, operators on streams."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .agent import Agent
    from .client import Client, SyncClient
    from .dockfile import Dockfile, DockfileError, Problem, load_dockfile
    from .loading import load
    from .operators import batch, buffer, collect, merge, only, progress, text, timeout
    from .sse import EventStreamResponse, as_sse
    from .syncing import stream_sync

__all__ = [
    "Agent",
    "Client",
    "Dockfile",
    "DockfileError",
    "EventStreamResponse",
    "Problem",
    "SyncClient",
    "as_sse",
    "batch",
    "buffer",
    "collect",
    "load",
    "load_dockfile",
    "merge",
    "only",
    "progress",
    "stream_sync",
    "text",
    "timeout",
]

_HOME = {
    "Agent": "agent",
    "Client": "client",
    "Dockfile": "dockfile",
    "DockfileError": "dockfile",
    "EventStreamResponse": "sse",
    "Problem": "dockfile",
    "SyncClient": "client",
    "as_sse": "sse",
    "load": "loading",
    "load_dockfile": "dockfile",
    "stream_sync": "syncing",
}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    # On demand: a client needs no Dockfile, and a server no client.
    found = getattr(importlib.import_module(f".{_HOME.get(name, 'operators')}", __name__), name)
    globals()[name] = found
    return found
