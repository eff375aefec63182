"""What ``import dockrion_events`` adds to the start of an interpreter."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from ..machine import ROOT, SERVER_CORE, pinned
from ..report import Goal, Row
from ..rounds import Plan, alternate, quartiles

# What is imported is compiled once, as it is where it is installed.
_ENVIRONMENT = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}


async def measure(plan: Plan) -> list[Row]:
    async def ours() -> float:
        return _milliseconds("import dockrion_events")

    async def bare() -> float:
        return _milliseconds("pass")

    pairs = await alternate(ours, bare, plan.starts)
    added = [one - other for one, other in pairs]
    python = statistics.median(other for _, other in pairs)
    return [
        Row(
            "import dockrion_events, over bare Python",
            statistics.median(added),
            "ms",
            Goal(at_most=60.0),
            quartiles(added),
            f"bare Python {python:.1f} ms",
        )
    ]


def _milliseconds(statement: str) -> float:
    with pinned(SERVER_CORE):
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, cwd=ROOT, env=_ENVIRONMENT)
        return (time.perf_counter() - began) * 1000
