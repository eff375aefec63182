"""What the package brings along."""

from __future__ import annotations

import subprocess
import sys

import pytest

_LOADED = "import sys, {}; print(*sorted({{'redis', 'hiredis', 'asyncio'}} & set(sys.modules)))"


@pytest.mark.parametrize(
    ("module", "loaded"), [("dockrion_events.bus", "asyncio"), ("dockrion_events", "")], ids=str
)
def test_the_driver_is_not_loaded_before_somebody_wants_it(module: str, loaded: str) -> None:
    result = subprocess.run(
        [sys.executable, "-c", _LOADED.format(module)], capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == loaded
