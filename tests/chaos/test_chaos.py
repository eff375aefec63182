"""The short storm; `make chaos` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from .storm import RECOVERY_BOUND, SHORT, Storm


@pytest.mark.timeout(240)
async def test_no_kill_loses_or_repeats_an_event(tmp_path: Path) -> None:
    figures = await Storm(tmp_path, SHORT, seed=int(os.environ.get("CHAOS_SEED", "1"))).rage()
    told = f"{figures.counts} {figures.ends} recovery {max(figures.recoveries, default=0):.1f} s"
    assert not figures.faults, "\n".join([told, *figures.faults[:20]])
    assert figures.counts["server killed"] == SHORT.servers_killed
    assert figures.counts["redis killed"] == SHORT.redis_killed
    assert figures.ends["error EXECUTOR_LOST"] > 0, told
    assert not figures.ends["error LOG_UNAVAILABLE"], "Redis was never away for so long"
    assert figures.counts["restarted"] > 0, told
    assert figures.recoveries, told
    assert max(figures.recoveries_standing) <= RECOVERY_BOUND, told
    print(told, f"{figures.seconds:.0f} s")
