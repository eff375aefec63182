"""The calls that the README promises, as a user types them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dockrion_adapters import HandlerAdapter, get_adapter
from dockrion_events import EventsFilter, StreamContext, context_scope, get_current_context
from dockrion_sdk import load, load_dockfile

README = Path(__file__).parents[1] / "README.md"


def busy(payload: dict[str, Any], context: Any = None) -> dict[str, Any]:
    context.sync_emit_progress(step="loading", progress=0.2, message="…")
    context.sync_emit_progress("loading", 0.2, "…")
    context.sync_checkpoint("parsed", {"fields": 15})
    context.sync_emit_token("Hello")
    context.sync_emit_step("my_node", duration_ms=150)
    context.sync_emit("fraud_check", {"passed": True, "score": 0.02})
    context.sync_emit("custom:analysis_started", document_id="doc_123")
    return {"done": True}


async def test_everything_is_streamed_by_default() -> None:
    seen = [(event.type, event.sequence) async for event in HandlerAdapter(busy).invoke_stream({})]
    types = ["started", "progress", "progress", "checkpoint", "token", "step"]
    types += ["custom:fraud_check", "custom:analysis_started", "complete"]
    assert seen == [(name, number) for number, name in enumerate(types, 1)]


async def test_a_preset_and_a_list_choose() -> None:
    adapter = HandlerAdapter(busy)
    chat = [event.type async for event in adapter.invoke_stream({}, events_filter=EventsFilter("chat"))]
    assert chat == ["started", "token", "step", "complete"]
    chosen = EventsFilter(["token", "custom:fraud_check"])
    lines = [line async for line in adapter.invoke_stream({}, events_filter=chosen, serialize=True)]
    assert [json.loads(line)["type"] for line in lines] == [
        "started",
        "token",
        "custom:fraud_check",
        "complete",
    ]


async def test_a_time_out_stops_the_agent() -> None:
    stopped = asyncio.Event()

    async def long(payload: Any) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            stopped.set()

    async def watch() -> None:
        async with asyncio.timeout(0.05):
            async for _ in HandlerAdapter(long).invoke_stream({}):
                pass

    with pytest.raises(TimeoutError):
        await watch()
    assert stopped.is_set()


def by_name(payload: dict[str, Any], context: Any = None) -> Any:
    return context


def by_annotation(payload: dict[str, Any], stream: StreamContext) -> Any:
    return stream


@pytest.mark.parametrize("handler", [by_name, by_annotation])
async def test_the_context_comes_by_name_or_by_annotation(handler: Callable[..., Any]) -> None:
    events = [event async for event in HandlerAdapter(handler).invoke_stream({})]
    assert isinstance(events[-1].output, StreamContext)  # type: ignore[attr-defined]


async def test_the_asynchronous_twins() -> None:
    context = StreamContext("r")
    await context.emit_progress("loading", 0.2)
    with context_scope(context):
        assert get_current_context() is context
    assert [event.type for event in context.drain_queued_events()] == ["progress"]


FRAGMENTS = [
    "expose: {rest: true, streaming: sse}",
    "streaming: {events: {allowed: chat, heartbeat_interval: 15, max_run_duration: 3600}}",
    "streaming: {events: {allowed: [token, step, custom]}}",
    'streaming: {events: {allowed: [token, "custom:fraud_check", "custom:analytics"]}}',
    "streaming: {async_runs: true, backend: memory}",
    'streaming: {backend: redis, redis: {url: "${REDIS_URL}"}}\n'
    'secrets: {required: [{name: REDIS_URL, description: "…"}]}',
    'streaming: {redis: {url: "redis://localhost:6379", stream_ttl_seconds: 3600, '
    "max_events_per_run: 1000, connection_pool_size: 10}}",
    "auth: {mode: api_key}",
    'secrets: {required: [{name: SERVICE_URL, description: "where it is"}]}',
]


@pytest.mark.parametrize("fragment", FRAGMENTS)
def test_dockfile_fragments(tmp_path: Path, fragment: str) -> None:
    (tmp_path / "Dockfile.yaml").write_text(
        f'version: "1.0"\nagent: {{name: a, handler: some.module:f}}\n{fragment}\n'
    )
    dockfile = load_dockfile(
        tmp_path, {"SERVICE_URL": "x", "DOCKRION_API_KEY": "k", "REDIS_URL": "redis://localhost"}
    )
    assert dockfile.agent.name == "a"


def blocks(language: str) -> list[str]:
    parts = README.read_text().split(f"```{language}\n")[1:]
    return [part.split("```")[0] for part in parts]


async def test_the_readmes_first_agent_runs(tmp_path: Path) -> None:
    (tmp_path / "service.py").write_text(blocks("python")[0])
    (tmp_path / "Dockfile.yaml").write_text(blocks("yaml")[0].replace("service:", "readme_service:"))
    (tmp_path / "service.py").rename(tmp_path / "readme_service.py")
    adapter: Any = load(tmp_path)
    events = [event async for event in adapter.invoke_stream({"text": "good morning"})]
    assert [event.type for event in events] == ["started", *["token", "progress"] * 2, "complete"]
    assert [event.content for event in events if event.type == "token"] == ["GOOD ", "MORNING "]
    assert events[-1].output == {"words": 2}


async def test_the_readmes_program_runs(capsys: pytest.CaptureFixture[str]) -> None:
    from langgraph.graph import START, StateGraph
    from typing_extensions import TypedDict

    class State(TypedDict):
        n: int

    graph = StateGraph(State).add_node("node", lambda state: {"n": 2}).add_edge(START, "node").compile()
    program = blocks("python")[2]
    body = "\n".join(f"    {line}" for line in program.splitlines())
    scope: dict[str, Any] = {"graph": graph, "payload": {"n": 1}}
    exec(f"async def main():\n{body}", scope)
    await scope["main"]()
    assert capsys.readouterr().out.split() == ["started", "1", "step", "2", "complete", "3"]
    assert get_adapter("langgraph").framework == "langgraph"


async def run_block(block: str, scope: dict[str, Any]) -> None:
    body = "\n".join(f"    {line}" for line in block.splitlines())
    exec(f"async def main():\n{body}", scope)
    await scope["main"]()


async def test_the_readmes_agent_in_a_program_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "readme_chat.py").write_text(
        "def handle(payload, context=None):\n"
        "    for word in ('One. ', 'Two ', 'more.'):\n"
        "        context.sync_emit_token(word)\n"
    )
    (tmp_path / "Dockfile.yaml").write_text("agent: {name: a, handler: readme_chat:handle}\n")
    monkeypatch.chdir(tmp_path)
    await run_block(blocks("python")[3], {"payload": {}})
    *events, first, second = capsys.readouterr().out.splitlines()
    assert [json.loads(event)["type"] for event in events] == ["started", *["token"] * 3, "complete"]
    assert (first, second) == ("One. ", "Two more.")
