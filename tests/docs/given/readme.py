"""What README.md takes for granted: its first agent, served with runs, a graph, and a payload."""

from __future__ import annotations

from pathlib import Path

from langgraph.graph import START, StateGraph
from typing_extensions import TypedDict

AGENT = """
def handle(payload, context=None):
    for word in payload.get("text", "a query").split():
        context.sync_emit_token(word.upper() + " ")
    return {"said": True}
"""

Path("service.py").write_text(AGENT)
Path("Dockfile.yaml").write_text(
    "agent: {name: shouter, handler: service:handle}\nstreaming: {async_runs: true}\n"
)

serve = "dockrion run"
payload = {"text": "good morning"}


class State(TypedDict):
    text: str


graph = StateGraph(State).add_node("node", lambda state: state).add_edge(START, "node").compile()
