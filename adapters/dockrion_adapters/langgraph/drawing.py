"""A graph as nodes and edges, its subgraphs included."""

from __future__ import annotations

from typing import Final, Literal

from langgraph.constants import END, START

from ..base import AgentGraph, GraphEdge, GraphNode
from .surroundings import Graph

_MARKS: Final[dict[str, Literal["start", "end"]]] = {START: "start", END: "end"}


def agent_graph(graph: Graph) -> AgentGraph:
    """Return the graph as LangGraph draws it: subgraphs are resolved into their nodes."""
    drawn = graph.get_graph(xray=True)
    nodes = [
        GraphNode(id=node.id, name=node.id.rpartition(":")[2], kind=_MARKS.get(node.id, "node"))
        for node in drawn.nodes.values()
    ]
    edges = [
        GraphEdge(
            source=edge.source,
            target=edge.target,
            conditional=edge.conditional,
            label=None if edge.data is None else str(edge.data),
        )
        for edge in drawn.edges
    ]
    return AgentGraph(nodes=nodes, edges=edges)
