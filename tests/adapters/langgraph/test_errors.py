"""A failure is the graph's own, as it is bare: type, message and LangGraph's note."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.errors import EmptyInputError, GraphRecursionError, InvalidUpdateError, NodeTimeoutError
from langgraph.graph import START, StateGraph

from dockrion_adapters import AgentCancelled
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import StartedEvent, StepEvent, StepStartedEvent

from .graphs import loop, typed_dict
from .states import Numbers, chain
from .support import FILTERS, collect, output_of, until_failure


class Mine(Exception):
    pass


def failing(error: BaseException, *, inner: bool = False, asynchronous: bool = False) -> Any:
    def fail(state: Numbers) -> dict[str, Any]:
        raise error

    async def afail(state: Numbers) -> dict[str, Any]:
        raise error

    node: Any = afail if asynchronous else fail
    graph = StateGraph(Numbers).add_node("fail", node).add_edge(START, "fail").compile()
    return StateGraph(Numbers).add_node("sub", graph).add_edge(START, "sub").compile() if inner else graph


async def bare_failure(graph: Any, payload: Any, config: Any = None, **options: Any) -> BaseException:
    with pytest.raises(Exception) as caught:
        await graph.ainvoke(payload, config, **options)
    return caught.value


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.parametrize("inner", [False, True], ids=["root", "subgraph"])
@pytest.mark.parametrize("events", FILTERS, ids=str)
async def test_the_very_exception_object(events: Any, inner: bool, asynchronous: bool) -> None:
    expected = await bare_failure(failing(Mine("no"), inner=inner, asynchronous=asynchronous), {"x": 1})
    error = Mine("no")
    with pytest.raises(Mine) as caught:
        await collect(failing(error, inner=inner, asynchronous=asynchronous), {"x": 1}, events=events)
    assert caught.value is error
    shape = [note.split("'")[1] for note in expected.__notes__]
    assert (
        [note.split("'")[1] for note in error.__notes__] == shape == (["fail", "sub"] if inner else ["fail"])
    )


async def test_ainvoke_and_invoke_raise_it_too() -> None:
    error = Mine("no")
    with pytest.raises(Mine) as caught:
        await LangGraphAdapter(failing(error)).ainvoke({"x": 1})
    assert caught.value is error
    with pytest.raises(Mine) as caught:
        LangGraphAdapter(failing(error)).invoke({"x": 1})
    assert caught.value is error


async def test_what_came_before_the_failure_comes_first() -> None:
    builder = chain(Numbers, "a", "b").add_node("fail", lambda _: 1 // 0).add_edge("b", "fail")
    received, error = await until_failure(LangGraphAdapter(builder.compile()).invoke_stream({"x": 1}))
    assert isinstance(error, ZeroDivisionError)
    assert isinstance(received[0], StartedEvent)
    assert [event.node_name for event in received if isinstance(event, StepEvent)] == ["a", "b"]
    begun = [event.node_name for event in received if isinstance(event, StepStartedEvent)]
    assert begun == ["a", "b", "fail"]
    assert [event.sequence for event in received] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize(
    ("payload", "kind"), [("text", InvalidUpdateError), (7, InvalidUpdateError), (None, EmptyInputError)]
)
async def test_payloads_that_are_no_input(payload: Any, kind: type[Exception]) -> None:
    graph, _ = typed_dict()
    expected = await bare_failure(graph, payload)
    with pytest.raises(kind) as caught:
        await collect(graph, payload)
    assert str(caught.value) == str(expected)


async def test_a_checkpointer_without_thread_id() -> None:
    graph = chain(Numbers, "a").compile(checkpointer=InMemorySaver())
    expected = await bare_failure(graph, {"x": 1})
    for config in (None, {}, {"tags": ["t"]}):
        with pytest.raises(ValueError) as caught:
            await collect(graph, {"x": 1}, config=config)
        assert str(caught.value) == str(expected)


async def test_a_node_that_returns_no_update() -> None:
    graph = StateGraph(Numbers).add_node("bad", lambda _: 5).add_edge(START, "bad").compile()
    expected = await bare_failure(graph, {"x": 1})
    with pytest.raises(InvalidUpdateError) as caught:
        await collect(graph, {"x": 1})
    assert str(caught.value) == str(expected)


async def test_a_step_that_takes_too_long() -> None:
    async def slow(state: Numbers) -> None:
        await asyncio.Event().wait()

    graph = StateGraph(Numbers).add_node(slow, timeout=0.01).add_edge(START, "slow").compile()
    with pytest.raises(NodeTimeoutError):
        await collect(graph, {"x": 1})


async def test_cancelled_error_raised_by_a_node() -> None:
    async def odd(state: Numbers) -> None:
        raise asyncio.CancelledError("not yours")

    graph = StateGraph(Numbers).add_node(odd).add_edge(START, "odd").compile()
    expected = await bare_failure(graph, {"x": 1})
    with pytest.raises(type(expected)) as caught:
        await collect(graph, {"x": 1})
    assert not isinstance(caught.value, AgentCancelled)


# -- the recursion limit: the caller's, else the graph's, else the adapter's ------------------------


async def test_the_adapters_limit_holds_where_nobody_sets_one() -> None:
    graph = loop()[0]
    adapter = LangGraphAdapter(graph, recursion_limit=3)
    with pytest.raises(GraphRecursionError, match="limit of 3 "):
        await collect(adapter, {"x": 0})
    with pytest.raises(GraphRecursionError, match="limit of 3 "):
        await adapter.ainvoke({"x": 0}, config={"tags": ["t"]})
    with pytest.raises(GraphRecursionError, match="limit of 3 "):
        adapter.invoke({"x": 0}, config={"recursion_limit": None})


async def test_the_callers_limit_goes_before_the_adapters() -> None:
    adapter = LangGraphAdapter(loop()[0], recursion_limit=3)
    assert output_of(await collect(adapter, {"x": 0}, config={"recursion_limit": 9}))["x"] == 5
    with pytest.raises(GraphRecursionError, match="limit of 2 "):
        await collect(adapter, {"x": 0}, config={"recursion_limit": 2})


async def test_the_graphs_limit_goes_before_the_adapters() -> None:
    adapter = LangGraphAdapter(loop()[0].with_config({"recursion_limit": 9}), recursion_limit=3)
    assert output_of(await collect(adapter, {"x": 0}))["x"] == 5
    adapter.load(loop()[0].with_config({"recursion_limit": 2}))
    with pytest.raises(GraphRecursionError, match="limit of 2 "):
        await collect(adapter, {"x": 0})


@pytest.mark.parametrize("callers", [2, 9])
async def test_the_graphs_and_the_callers_limit_together_are_langgraphs_affair(callers: int) -> None:
    graph = loop()[0].with_config({"recursion_limit": 4})
    adapter = LangGraphAdapter(graph, recursion_limit=1)
    config = {"recursion_limit": callers}
    if callers == 9:
        expected = await graph.ainvoke({"x": 0}, config)
        assert output_of(await collect(adapter, {"x": 0}, config=config)) == expected
        return
    expected = await bare_failure(graph, {"x": 0}, config)
    with pytest.raises(GraphRecursionError) as caught:
        await collect(adapter, {"x": 0}, config=config)
    assert str(caught.value) == str(expected)


async def test_within_a_node_the_surrounding_limit_holds_as_it_does_bare() -> None:
    inner = loop()[0]

    def outer_over(call: Any) -> Any:
        async def node(state: Numbers) -> dict[str, Any]:
            return {"x": (await call({"x": state["x"]}))["x"]}

        return StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile()

    adapter = LangGraphAdapter(inner, recursion_limit=2)
    config = {"recursion_limit": 8}
    expected = await outer_over(inner.ainvoke).ainvoke({"x": 0}, config)
    assert await outer_over(adapter.ainvoke).ainvoke({"x": 0}, config) == expected
