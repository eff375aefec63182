"""A wrapped graph gives what the bare one gives, whatever its shape and whoever watches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from dockrion_adapters.langgraph import LangGraphAdapter

from .graphs import GRAPHS, SYNC_GRAPHS
from .support import FILTERS, collect, output_of, plain

Make = Callable[[], tuple[Any, Any]]


def cases(table: dict[str, Make]) -> Any:
    return pytest.mark.parametrize("make", list(table.values()), ids=list(table))


@cases(GRAPHS)
async def test_ainvoke(make: Make) -> None:
    bare, payload = make()
    expected = await bare.ainvoke(payload)
    wrapped, payload = make()
    actual = await LangGraphAdapter(wrapped).ainvoke(payload)
    assert plain(actual) == plain(expected)
    assert type(actual) is type(expected)


@cases(SYNC_GRAPHS)
def test_invoke(make: Make) -> None:
    bare, payload = make()
    expected = bare.invoke(payload)
    wrapped, payload = make()
    actual = LangGraphAdapter(wrapped).invoke(payload)
    assert plain(actual) == plain(expected)
    assert type(actual) is type(expected)


@pytest.mark.parametrize("events", FILTERS, ids=str)
@cases(GRAPHS)
async def test_output_of_the_stream(make: Make, events: Any) -> None:
    bare, payload = make()
    expected = await bare.ainvoke(payload)
    wrapped, payload = make()
    received = await collect(wrapped, payload, events=events)
    assert plain(output_of(received)) == plain(expected)
    assert type(output_of(received)) is type(expected)


@cases({name: make for name, make in GRAPHS.items() if name not in ("react", "retried")})  # scripts, spent
async def test_the_same_adapter_again(make: Make) -> None:
    wrapped, payload = make()
    adapter = LangGraphAdapter(wrapped)
    first = output_of(await collect(adapter, payload))
    assert plain(output_of(await collect(adapter, payload))) == plain(first)
