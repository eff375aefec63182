"""A fraud check for orders: a graph whose nodes, tools and subgraph tell of their work.

None of them is handed a context. Each asks for the current one where it stands, and does without where there
is none, so the graph runs bare as well.
"""

from typing import Annotated, Any, NotRequired

from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langchain_core.tools import tool
from langgraph.graph import END, START, StateGraph
from langgraph.graph.message import add_messages
from langgraph.graph.state import CompiledStateGraph
from langgraph.prebuilt import ToolNode

# pydantic, which derives the graph's JSON Schema, wants this one before Python 3.12.
from typing_extensions import TypedDict

from dockrion_events import get_current_context

LARGE_AMOUNT = 1_000
USUAL_ORDERS_A_DAY = 3
REFUSE_FROM = 0.5


class Order(TypedDict):
    order_id: str
    amount: float
    card_country: str
    ship_country: str
    orders_today: NotRequired[int]


class Verdict(TypedDict):
    order_id: str
    approved: bool
    score: float
    reasons: list[str]


class Rating(TypedDict):
    score: float
    reasons: list[str]


class State(Order, Verdict):
    messages: Annotated[list[AnyMessage], add_messages]


class RiskState(Rating):
    amount: float
    messages: list[AnyMessage]
    weights: dict[str, float]


def build_graph() -> CompiledStateGraph:
    """The graph: plan the checks, run them as tools, rate the risk in a subgraph, decide."""
    graph = StateGraph(State, input_schema=Order, output_schema=Verdict)
    graph.add_node("plan", plan)
    graph.add_node("tools", ToolNode([compare_countries, count_orders]))
    graph.add_node("risk", build_risk_graph())
    graph.add_node("decide", decide)
    graph.add_edge(START, "plan")
    graph.add_edge("plan", "tools")
    graph.add_edge("tools", "risk")
    graph.add_edge("risk", "decide")
    graph.add_edge("decide", END)
    return graph.compile(name="order-check")


def build_risk_graph() -> CompiledStateGraph:
    """The subgraph: weigh what the tools found, then rate it."""
    graph = StateGraph(RiskState, output_schema=Rating)
    graph.add_node("weigh", weigh)
    graph.add_node("rate", rate)
    graph.add_edge(START, "weigh")
    graph.add_edge("weigh", "rate")
    graph.add_edge("rate", END)
    return graph.compile(name="risk")


# -- nodes -------------------------------------------------------------------------------------------------


def plan(state: Order) -> dict[str, Any]:
    """Ask for the checks an order needs, as a language model with tools would."""
    report_progress("plan", 0.1, f"order {state['order_id']}")
    countries = {"card": state["card_country"], "destination": state["ship_country"]}
    orders = {"today": state.get("orders_today", 1)}
    calls = [
        {"name": compare_countries.name, "args": countries, "id": "countries"},
        {"name": count_orders.name, "args": orders, "id": "orders"},
    ]
    return {"messages": [AIMessage("", tool_calls=calls)]}


def decide(state: State) -> dict[str, Any]:
    """Approve or refuse."""
    report_progress("decide", 1.0)
    return {"approved": state["score"] < REFUSE_FROM}


def report_progress(step: str, progress: float, message: str | None = None) -> None:
    """A helper, to show that the current context is there however deep the call."""
    if ctx := get_current_context():
        ctx.sync_emit_progress(step=step, progress=progress, message=message)


# -- tools -------------------------------------------------------------------------------------------------


@tool(response_format="content_and_artifact")
def compare_countries(card: str, destination: str) -> tuple[str, dict[str, float]]:
    """Compare the country of the card with the country the order goes to."""
    same = card == destination
    if ctx := get_current_context():
        ctx.sync_emit("country_check", {"card": card, "destination": destination, "same": same})
    if same:
        return "same country", {}
    return "different countries", {f"card from {card}, destination {destination}": 0.4}


@tool(response_format="content_and_artifact")
def count_orders(today: int) -> tuple[str, dict[str, float]]:
    """Count the orders made with this card today."""
    usual = today <= USUAL_ORDERS_A_DAY
    if ctx := get_current_context():
        ctx.sync_emit("custom:velocity_check", orders_today=today, usual=usual)
    return f"{today} orders today", {} if usual else {f"{today} orders today": 0.3}


# -- the subgraph's nodes ----------------------------------------------------------------------------------


def weigh(state: RiskState) -> dict[str, Any]:
    """Gather what speaks against the order."""
    weights: dict[str, float] = {}
    for message in state["messages"]:
        if isinstance(message, ToolMessage):
            weights |= message.artifact
    if state["amount"] > LARGE_AMOUNT:
        weights[f"amount over {LARGE_AMOUNT}"] = 0.2
    if ctx := get_current_context():
        ctx.sync_checkpoint("weights", weights)
    return {"weights": weights}


def rate(state: RiskState) -> Rating:
    """Add it up."""
    score = round(sum(state["weights"].values(), 0.0), 2)
    if ctx := get_current_context():
        ctx.sync_emit("fraud_check", {"passed": score < REFUSE_FROM, "score": score})
    return Rating(score=score, reasons=list(state["weights"]))
