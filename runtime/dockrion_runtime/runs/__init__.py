"""Runs: executions that outlive the connections that follow them.

`Runs` is what the routes and the server work with, `Executor` executes what was accepted; both know the
store only as an `EventBackend`.
"""

from __future__ import annotations

from .executor import Executor
from .service import Runs

__all__ = ["Executor", "Runs"]
