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
    names = {node.id: node.id.rpartition(":")[2] for node in drawn.nodes.values()}
    nodes = [GraphNode(id=id_, name=name, kind=_MARKS.get(name, "node")) for id_, name in names.items()]
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
