"""Every call that users are told to type, to the letter."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest

from dockrion_sdk import Dockfile, load_dockfile

ENV = {"REDIS_URL": "redis://localhost:6379/1"}
AGENT = "def handle(payload):\n    return payload\n"
DOCKFILE = 'version: "1.0"\nagent: {name: mine, handler: agent:handle}\n'


def typed(dockrion: Any, line: str) -> Dockfile:
    """Type a line and return the Dockfile that it has made or changed."""
    words = shlex.split(line)
    assert words[0] == "dockrion"
    dockrion(*words[1:])
    made: Path = dockrion.directory / "my-agent"
    return load_dockfile(made if made.exists() else dockrion.directory, ENV)


@pytest.mark.parametrize(
    ("line", "allowed", "async_runs", "backend"),
    [
        ("dockrion init my-agent --streaming sse", "all", False, "memory"),
        ("dockrion init my-agent --streaming-events chat", "chat", False, "memory"),
        ("dockrion init my-agent --async-runs --streaming-events chat", "chat", True, "memory"),
        (
            'dockrion init my-agent --streaming-events "token,step,custom:fraud"',
            ("token", "step", "custom:fraud"),
            False,
            "memory",
        ),
        ("dockrion init my-agent --async-runs --streaming-backend redis", "all", True, "redis"),
    ],
)
def test_init(dockrion: Any, line: str, allowed: Any, async_runs: bool, backend: str) -> None:
    dockfile = typed(dockrion, line)
    assert dockfile.expose.streaming == ("sse",)
    assert dockfile.streaming.events.allowed == allowed
    assert (dockfile.streaming.async_runs, dockfile.streaming.backend) == (async_runs, backend)
    redis = ENV["REDIS_URL"] if backend == "redis" else "redis://localhost:6379"
    assert dockfile.streaming.redis.url == redis
    if backend == "memory":
        dockrion("validate", "my-agent")


@pytest.mark.parametrize(
    ("line", "allowed", "async_runs", "backend", "heartbeat", "duration"),
    [
        ("dockrion add streaming", "all", False, "memory", 15, 3600),
        ("dockrion add streaming --events chat --async-runs", "chat", True, "memory", 15, 3600),
        ("dockrion add streaming --events debug --backend redis", "debug", False, "redis", 15, 3600),
        ("dockrion add streaming --backend redis --events all", "all", False, "redis", 15, 3600),
        ("dockrion add streaming --heartbeat 30 --max-duration 7200", None, False, "memory", 30, 7200),
    ],
)
def test_add_streaming(
    dockrion: Any, line: str, allowed: Any, async_runs: bool, backend: str, heartbeat: int, duration: int
) -> None:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE})
    dockfile = typed(dockrion, line)
    assert dockfile.expose.streaming == ("sse",)
    streaming = dockfile.streaming
    assert (streaming.async_runs, streaming.backend) == (async_runs, backend)
    assert streaming.events.allowed == allowed
    assert (streaming.events.heartbeat_interval, streaming.events.max_run_duration) == (heartbeat, duration)
    required = [(secret.name, secret.description) for secret in dockfile.secrets.required]
    assert required == ([("REDIS_URL", "Redis connection URL")] if backend == "redis" else [])
    assert streaming.redis.template("url") == ("${REDIS_URL}" if backend == "redis" else None)


def test_run(dockrion: Any, wait_until: Any) -> None:
    dockrion.project({"agent.py": AGENT, "Dockfile.yaml": DOCKFILE + "expose: {port: 0}\n"})
    with dockrion.started("run") as served:
        wait_until(lambda: "Ctrl-C stops it" in served.out.read_text(), "dockrion run")
        url = next(
            line.split()[-1] for line in served.out.read_text().splitlines() if " is served at " in line
        )
        assert httpx.post(f"{url}/invoke", json={"query": "…"}).json()["output"] == {"query": "…"}
