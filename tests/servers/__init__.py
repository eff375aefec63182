"""Real servers for tests: Redis in its forms, and a proxy that loses what passes through it.

Each is started on a free port of the loopback, keeps its files in a folder of the test's own, and ends
with its ``with`` block.
"""

from __future__ import annotations

from .cluster import RedisCluster, SentinelTrio
from .proxy import Proxy
from .redis import RedisServer

__all__ = ["Proxy", "RedisCluster", "RedisServer", "SentinelTrio"]
