"""The custom_events example: nodes, tools and a subgraph find the current context by themselves."""

import asyncio
import importlib
from pathlib import Path

import pytest
from langgraph.graph.state import CompiledStateGraph

from dockrion_events import (
    CheckpointEvent,
    CustomEvent,
    Event,
    EventsFilter,
    ProgressEvent,
    StreamContext,
    context_scope,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "custom_events"

SUSPECT = {"order_id": "A-17", "amount": 1840, "card_country": "NL", "ship_country": "BR", "orders_today": 5}
PLAIN = {"order_id": "A-18", "amount": 20, "card_country": "NL", "ship_country": "NL"}
REFUSAL = {
    "order_id": "A-17",
    "approved": False,
    "score": 0.9,
    "reasons": ["card from NL, destination BR", "5 orders today", "amount over 1000"],
}


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> CompiledStateGraph:
    monkeypatch.syspath_prepend(EXAMPLE)
    return importlib.import_module("order_check").build_graph()


def invoke(graph: CompiledStateGraph, order: dict) -> dict:
    return graph.invoke(order)


def invoke_async(graph: CompiledStateGraph, order: dict) -> dict:
    return asyncio.run(graph.ainvoke(order))


@pytest.mark.parametrize("run", [invoke, invoke_async])
def test_every_part_of_the_graph_emits(graph: CompiledStateGraph, run) -> None:
    context = StreamContext("run-1")
    with context_scope(context):
        assert run(graph, SUSPECT) == REFUSAL
    events = context.drain_queued_events()

    # The two tools run side by side: either may be first.
    assert [event.type for event in events[:1] + events[3:]] == [
        "progress",
        "checkpoint",
        "custom:fraud_check",
        "progress",
    ]
    assert {event.type for event in events[1:3]} == {"custom:country_check", "custom:velocity_check"}
    assert custom_data(events) == {
        "custom:country_check": {"card": "NL", "destination": "BR", "same": False},
        "custom:velocity_check": {"orders_today": 5, "usual": False},
        "custom:fraud_check": {"passed": False, "score": 0.9},
    }
    progress = [event for event in events if isinstance(event, ProgressEvent)]
    assert [(event.step, event.progress, event.message) for event in progress] == [
        ("plan", 0.1, "order A-17"),
        ("decide", 1.0, None),
    ]
    (weights,) = (event for event in events if isinstance(event, CheckpointEvent))
    assert weights.name == "weights"
    assert list(weights.data) == REFUSAL["reasons"]


def test_a_filter_lets_one_custom_event_through(graph: CompiledStateGraph) -> None:
    context = StreamContext("run-1", events_filter=EventsFilter(["custom:fraud_check"]))
    with context_scope(context):
        graph.invoke(PLAIN)
    assert custom_data(context.drain_queued_events()) == {
        "custom:fraud_check": {"passed": True, "score": 0.0}
    }


@pytest.mark.parametrize("run", [invoke, invoke_async])
def test_the_graph_runs_without_a_context(graph: CompiledStateGraph, run) -> None:
    assert run(graph, SUSPECT) == REFUSAL
    assert run(graph, PLAIN) == {"order_id": "A-18", "approved": True, "score": 0.0, "reasons": []}


def custom_data(events: list[Event]) -> dict[str, object]:
    return {event.type: event.data for event in events if isinstance(event, CustomEvent)}
