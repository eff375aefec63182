"""The scenarios, in the order of the table; each is a coroutine that returns its rows."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Final

from ..report import Row
from ..rounds import Plan
from . import (
    burst,
    cancel,
    crowd,
    graphs,
    invoke,
    live,
    one_by_one,
    runs_http,
    runs_memory,
    runs_redis,
    soak,
    starting,
)

Scenario = Callable[[Plan], Coroutine[Any, Any, list[Row]]]

SCENARIOS: Final[dict[str, Scenario]] = {
    "live": live.measure,
    "burst": burst.measure,
    "one_by_one": one_by_one.measure,
    "crowd": crowd.measure,
    "graphs": graphs.measure,
    "invoke": invoke.measure,
    "starting": starting.measure,
    "runs_http": runs_http.measure,
    "runs_memory": runs_memory.measure,
    "runs_redis": runs_redis.measure,
    "cancel": cancel.measure,
    "soak": soak.measure,
}
