"""docs/wires.md says what each wire carries; here it is seen, of every adapter's agent and on each store.

Agentor's agent is looked at in its own environment.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dockrion_adapters import get_adapter

from ..adapters.scripted import FAILURE, chain, graph, handler, thing
from ..pages import column
from .a2a_carrier import A2A
from .carriers import CARRIERS
from .conftest import Serve, Store
from .table import LIBRARY, NODES, PAGE, compared, everywhere

SAYING: dict[str, Any] = {"text": "go"}
MESSAGES: dict[str, Any] = {"messages": [{"role": "user", "content": "go"}]}
WIRES = [*CARRIERS.items(), *(("A2A", carrier) for carrier in A2A.values())]


@pytest.mark.parametrize(
    ("framework", "make", "payload", "lacking"),
    [
        ("handler", handler, SAYING, {NODES}),
        ("object", thing, SAYING, {NODES}),
        ("langchain", chain, SAYING, set()),
        ("langgraph", graph, MESSAGES, set()),
    ],
)
async def test_what_comes_through_is_what_the_page_says(
    serve: Serve,
    store: Store,
    framework: str,
    make: Callable[[], Any],
    payload: dict[str, Any],
    lacking: set[str],
) -> None:
    adapter = get_adapter(framework)
    adapter.load(make())
    live = everywhere(serve, store, make(), framework, protocols=["a2a"])
    bad = {**payload, "fail": True}
    given = await compared(adapter, live, WIRES, {**payload, "fail": False}, bad, FAILURE)
    assert set(column(PAGE, LIBRARY)) - given == lacking
