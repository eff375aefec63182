"""The event bus: the logs of runs, kept in memory or in Redis.

`base` is the contract and can be read without any implementation; each implementation has a room of
its own, and nothing but ``redis`` imports the Redis driver.
"""

from __future__ import annotations

from ..cursor import Cursor
from .base import (
    Claim,
    Ending,
    EpochFollower,
    EventBackend,
    Follower,
    RunRecord,
    RunState,
    RunStatus,
    RunSummary,
)
from .bus import EventBus
from .memory import MemoryBackend
from .names import run_id_of, run_key
from .notices import ending

__all__ = [
    "Claim",
    "Cursor",
    "Ending",
    "EpochFollower",
    "EventBackend",
    "EventBus",
    "Follower",
    "MemoryBackend",
    "RunRecord",
    "RunState",
    "RunStatus",
    "RunSummary",
    "ending",
    "run_id_of",
    "run_key",
]
