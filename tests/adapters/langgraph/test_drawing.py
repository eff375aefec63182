"""The graph as nodes and edges."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph
from typing_extensions import TypedDict

from dockrion_adapters import Drawable, LangGraphAdapter


class State(TypedDict):
    query: str


def node(_: State) -> dict[str, Any]:
    return {}


def test_nodes_are_named_by_their_way_and_edges_by_what_decides() -> None:
    inner = StateGraph(State).add_node("left", node).add_node("right", node)
    inner.add_edge(START, "left").add_edge(START, "right")
    graph = StateGraph(State).add_node("plan", node).add_node("search", inner.compile())
    graph.add_edge(START, "plan").add_edge("search", END)
    graph.add_conditional_edges("plan", lambda _: "go", {"go": "search", "stop": END})
    adapter = LangGraphAdapter(graph)
    assert isinstance(adapter, Drawable)
    drawn = adapter.graph()
    assert drawn is not None
    assert {(one["id"], one["name"], one["kind"]) for one in drawn["nodes"]} == {
        ("__start__", "__start__", "start"),
        ("plan", "plan", "node"),
        ("search:__start__", "__start__", "start"),
        ("search:left", "left", "node"),
        ("search:right", "right", "node"),
        ("search:__end__", "__end__", "end"),
        ("__end__", "__end__", "end"),
    }
    decided = {
        (edge["source"], edge["target"], edge["label"]) for edge in drawn["edges"] if edge["conditional"]
    }
    assert decided == {("plan", "search:__start__", "go"), ("plan", "__end__", "stop")}


def test_a_graph_that_only_an_execution_makes_is_none() -> None:
    def factory(config: Any) -> Any:
        return StateGraph(State).add_node("plan", node).add_edge(START, "plan")

    assert LangGraphAdapter(factory).graph() is None
