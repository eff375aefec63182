"""The OpenAPI document tried out on the server that gives it: what it says is what happens."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import Serve

KEY = "a-key-for-trying"
INPUT = {
    "$defs": {"text": {"type": "string", "default": None}},
    "properties": {"text": {"$ref": "#/$defs/text"}, "times": {"type": "integer", "minimum": 0}},
    "required": ["text"],
}


async def speak(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    await context.emit_token("word ")
    await context.emit_progress("speaking", 0.5, "half")
    await context.emit_reasoning("why not")
    await context.emit_tool_call("c1", "search", arguments={"q": 1})
    await context.emit_tool_result("c1", "search", ["found"])
    await context.emit_usage(1, 2)
    await context.checkpoint("half", {"a": None})
    await context.emit("remark", {"good": True})
    return {"said": payload}


@pytest.mark.parametrize("auth", ["none", "api_key"])
def test_schemathesis_finds_no_fault(serve: Serve, auth: str, tmp_path: Path) -> None:
    live = serve(
        speak,
        env={"DOCKRION_API_KEY": KEY},
        auth={"mode": auth},
        io_schema={"input": INPUT if auth == "none" else None, "output": {"required": ["said"]}},
        streaming={"async_runs": True},
        expose={"protocols": ["a2a"]},
    )
    for file in ("schemathesis.toml", "schemathesis_hooks.py"):  # it looks for them where it runs
        shutil.copy(Path(__file__).with_name(file), tmp_path)
    done = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"{live.url}/docs/openapi.json",
            "--max-examples=25",
            *([f"--header=X-API-Key: {KEY}"] if auth == "api_key" else []),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}{done.stderr}"
    assert "Tested: 15" in done.stdout, done.stdout
