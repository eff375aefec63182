"""Clients of a dockrion server, that never lose their place in a run.

`Client` is asynchronous, `SyncClient` the same for plain scripts.
"""

from __future__ import annotations

from .client import Client
from .errors import APIError, ClientError, ServerUnreachable, StreamBroken
from .runs import Run, Runs
from .sync import SyncClient, SyncRuns

__all__ = [
    "APIError",
    "Client",
    "ClientError",
    "Run",
    "Runs",
    "ServerUnreachable",
    "StreamBroken",
    "SyncClient",
    "SyncRuns",
]
