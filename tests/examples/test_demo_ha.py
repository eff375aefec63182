"""`make demo-ha`: a server and a worker are killed under a client, which sees every event once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_client_survives_the_kill_of_each() -> None:
    env = {name: value for name, value in os.environ.items() if name != "REDIS_URL"}
    done = subprocess.run(
        [sys.executable, "-m", "examples.demo_ha"],
        cwd=REPOSITORY,
        env=env,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=55,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "✗ server A is killed" in done.stdout
    assert "✗ the worker is killed" in done.stdout
    assert re.search(r"^ +\d+  restarted +by server B$", done.stdout, re.M)
    assert re.search(
        r"^\d+ events, each once and in order; 2 executions; the run ended with complete$", done.stdout, re.M
    )
