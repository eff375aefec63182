"""The README's curl commands for runs, typed as they stand there, against a server of each store."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from .conftest import DEADLINE, Live, Serve, Store

README = Path(__file__).parents[2] / "README.md"
COMMANDS = re.findall(r"^curl .*/runs.*$", README.read_text(), re.M)

pytestmark = pytest.mark.skipif(shutil.which("curl") is None, reason="there is no curl to type the command")


def handle(payload: dict[str, Any], context: Any = None) -> dict[str, Any]:
    for word in payload["text"].split():
        context.sync_emit_token(word.upper())
    return {"words": 2}


def curl(live: Live, command: str, run_id: str = "") -> str:
    """Run a command of the README, at the port where the server of this test is."""
    typed = command.replace("localhost:8080", f"localhost:{live.port}").replace("RUN_ID", run_id)
    return subprocess.run(
        [*shlex.split(typed), "-s"], capture_output=True, text=True, check=True, timeout=DEADLINE
    ).stdout


def test_make_follow_show_and_cancel(serve: Serve, store: Store) -> None:
    live = serve(handle, streaming={"async_runs": True, **store.streaming()})
    create, follow, show, cancel = COMMANDS
    accepted = json.loads(curl(live, create))
    run_id = accepted["run_id"]
    assert (accepted["status"], accepted["events_url"]) == ("accepted", f"/runs/{run_id}/events")

    frames = [frame.split("\n") for frame in curl(live, follow, run_id).removesuffix("\n\n").split("\n\n")]
    assert [frame[0] for frame in frames] == [
        "event: started",
        "event: token",
        "event: token",
        "event: complete",
    ]
    ids = [frame[2].split(".")[0] for frame in frames]  # on Redis an epoch follows the number
    assert ids == ["id: 1", "id: 2", "id: 3", "id: 4"]
    assert curl(live, f"{follow}?from_sequence=4", run_id).split("\n")[0] == "event: complete"
    again = curl(live, f"{follow} -H 'Last-Event-ID: 2'", run_id)
    ids = [line.split(".")[0] for line in again.split("\n") if line.startswith("id")]
    assert ids == ["id: 3", "id: 4"]

    assert json.loads(curl(live, show, run_id))["output"] == {"words": 2}
    assert json.loads(curl(live, cancel, run_id))["code"] == "RUN_ENDED"
