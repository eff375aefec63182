"""What of an execution comes through a wire, row by row as in docs/wires.md."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from dockrion_adapters import StreamingAdapter
from dockrion_events import EventsFilter

from ..pages import column
from ..servers.live import Live, Serve, Store
from .carriers import Carrier, Told, whole

PAGE = "wires.md"
LIBRARY = "library call"
NODES = "node and namespace of the text"

_OF_ITS_OWN = re.compile(r'[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<=_at": )[0-9.]+')
"""Random ids and times, of which each execution has its own."""


async def compared(
    adapter: StreamingAdapter,
    live: Live,
    wires: Iterable[tuple[str, Carrier]],
    good: dict[str, Any],
    bad: dict[str, Any],
    failure: str,
) -> set[str]:
    """Compare what a library call gives, and what each of ``wires`` brings of it, with the page.

    With the payload ``bad`` the agent raises ``failure`` in the end. Returns the rows that it gives
    anything of.
    """
    by_call, none = await called(adapter, good)
    broken, error = await called(adapter, bad)
    assert (none, str(error)) == (None, failure)
    given = _cells(by_call, broken, by_call, failure)
    assert given == _promised(LIBRARY, given)
    for name, carrier in wires:
        told, broken = await whole(carrier, live, good), await whole(carrier, live, bad)
        seen, promised = _cells(told, broken, by_call, failure), _promised(name, given)
        assert seen == promised, f"{name}: {sorted(seen.items() ^ promised.items())}"
    return set(given)


def everywhere(serve: Serve, store: Store, agent: Any, framework: str, **expose: Any) -> Live:
    """Serve an agent on every wire."""
    return serve(
        agent,
        framework=None if framework == "handler" else framework,
        expose={"streaming": ["sse", "websocket"], "errors": "full", **expose},
        streaming={"async_runs": True, **store.streaming()},
    )


async def called(adapter: StreamingAdapter, payload: dict[str, Any]) -> tuple[list[Told], Exception | None]:
    """Return the events of a library call, and what it raised."""
    events: list[Told] = []
    stream: Any = adapter.invoke_stream(payload, events_filter=EventsFilter("all"), serialize=True)
    try:
        async for event in stream:
            events.append(json.loads(event))  # noqa: PERF401 - they count although the stream fails
    except Exception as error:  # noqa: BLE001 - whichever it is, it is looked at
        return events, error
    return events, None


def _promised(wire: str, rows: Iterable[str]) -> dict[str, str]:
    cells = column(PAGE, wire)
    return {row: cells[row] for row in rows}


def _cells(told: list[Told], broken: list[Told], by_call: list[Told], failure: str) -> dict[str, str]:
    """Return the column of a wire, by what it brought of an execution and of one that fails.

    There is no row for what the agent gave nothing of.
    """
    cells = {}
    expected, seen = (_parts(events) for events in (by_call, told))
    for row, there in expected.items():
        if there:
            cells[row] = "yes" if seen[row] == there else "–"
    cells["sequence"] = _each(told, "sequence")
    cells["timestamp"] = _each(told, "timestamp")
    cells["a failure"] = _failure(broken, failure)
    return cells


def _parts(events: list[Told]) -> dict[str, list[Any]]:
    """Return what there is of each row."""
    events = json.loads(_OF_ITS_OWN.sub("0", json.dumps(events)))

    def of(*kinds: str, but: Sequence[str] = ()) -> list[Told]:
        own = {"timestamp", "sequence", "request_id", "run_id", *but}
        chosen = [event for event in events if event["type"] in kinds]
        return [{key: value for key, value in event.items() if key not in own} for event in chosen]

    texts = of("token")
    steps = of("step_started", "step", but=["duration_ms"])
    for step in steps:
        for keys in (
            "input_keys",
            "output_keys",
        ):  # the payload's may be among them; A2A's maps have no order
            step[keys] = sorted(step.get(keys, ()))
    results = of("tool_result")  # of calls at once, in the order in which they came
    ends = of("complete")
    return {
        "text": [(token["content"], token.get("message_id")) for token in texts],
        NODES: _some([(token.get("node_name"), token.get("namespace")) for token in texts]),
        "reasoning": of("reasoning"),
        "calls of tools": of("tool_call"),
        "results of tools": sorted(results, key=lambda result: result["id"]),
        "usage": of("usage"),
        "beginning and end of messages": of("message"),
        "steps, those of subgraphs too": steps,
        "custom events": of("custom:told"),
        "output": [end.get("output") for end in ends],
        "latency and metadata": _some([end.keys() & {"latency_seconds", "metadata"} for end in ends]),
        "the agent's name and framework": [start.get("framework") for start in of("started")],
    }


def _some(values: list[Any]) -> list[Any]:
    """Return the values, or nothing where they say nothing."""
    return values if any(any(value) for value in values) else []


def _each(events: list[Told], field: str) -> str:
    numbered = [event for event in events if event["type"] not in ("heartbeat", "task")]
    having = [event for event in numbered if field in event]
    if field == "sequence" and len(having) == len(numbered):
        assert [event["sequence"] for event in having] == list(range(1, len(having) + 1))
    return "yes" if len(having) == len(numbered) else "in part" if having else "–"


def _failure(events: list[Told], failure: str) -> str:
    if events[-1]["type"] == "error":
        assert failure in events[-1]["error"]
        assert events[-1]["code"] == "AGENT_ERROR"
        return "an event"
    assert events[-1]["type"] not in ("complete", "cancelled")
    return "raised"
