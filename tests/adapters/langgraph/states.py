"""States of every kind, and nodes that do for all of them."""

from __future__ import annotations

import operator
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from pydantic import BaseModel
from typing_extensions import TypedDict


class Numbers(TypedDict, total=False):
    x: int
    trail: Annotated[list[str], operator.add]


class Narrow(TypedDict):
    x: int


class Other(TypedDict, total=False):
    y: str


class Both(Numbers, Other, total=False):
    pass


class Model(BaseModel):
    x: int = 0
    trail: Annotated[list[str], operator.add] = []


class Strict(BaseModel):
    x: int
    label: str  # unset until the last node; the schema would not hold before


@dataclass
class Record:
    x: int = 0
    trail: Annotated[list[str], operator.add] = field(default_factory=list)


class Items(TypedDict, total=False):
    items: list[int]
    squares: Annotated[list[int], operator.add]
    total: int


def grow(name: str) -> Callable[[Any], dict[str, Any]]:
    """Return a node that adds one to ``x`` and its name to ``trail``, for any kind of state."""

    def node(state: Any) -> dict[str, Any]:
        x = state.get("x", 0) if isinstance(state, dict) else state.x
        return {"x": x + 1, "trail": [name]}

    return node


def chain(state: Any, *names: str, **schemas: Any) -> StateGraph[Any, Any, Any, Any]:
    """Return a builder of growing nodes in a row."""
    builder = StateGraph(state, **schemas)
    for name in names:
        builder.add_node(name, grow(name))
    builder.add_edge(START, names[0])
    for left, right in pairwise(names):
        builder.add_edge(left, right)
    return builder
