"""Graphs with a ``context_schema``, where the caller gives no context."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any, NotRequired

import pytest
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.runtime import Runtime
from langgraph.store.memory import InMemoryStore
from pydantic import BaseModel
from typing_extensions import TypedDict

from dockrion_adapters import InputRefused
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_adapters.langgraph.surroundings import RUNTIME_KEY

from .states import Numbers, chain
from .support import collect, output_of


@dataclass
class Plain:
    model: str = "small"
    tools: list[str] = field(default_factory=lambda: ["search"])


class Checked(BaseModel):
    model: str = "small"
    tools: list[str] = ["search"]


class Loose(TypedDict, total=False):
    model: str
    tools: list[str]


@dataclass
class Needs:
    user: str
    model: str = "small"


class NeedsChecked(BaseModel):
    user: str
    model: str = "small"


class NeedsLoose(TypedDict):
    user: str
    model: NotRequired[str]


SEEN: list[Any] = []


def graph_of(schema: Any, read: Any = None, **options: Any) -> Any:
    async def node(state: Numbers, runtime: Runtime[Any]) -> dict[str, Any]:
        SEEN.append(runtime.context)
        return {} if read is None else {"trail": [str(read(runtime.context))]}

    return StateGraph(Numbers, schema).add_node("node", node).add_edge(START, "node").compile(**options)


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


async def every_way(graph: Any, payload: Any, **options: Any) -> list[Any]:
    """Execute in all ways and return the outputs."""
    adapter = LangGraphAdapter(graph)
    async with adapter.run_stream(payload, run="r", **options) as stream:
        events = [event async for event in stream]
    return [
        adapter.invoke(payload, **options),
        await adapter.ainvoke(payload, **options),
        output_of(await collect(adapter, payload, **options)),
        output_of(events),
    ]


@pytest.mark.parametrize(
    ("schema", "expected"),
    [(Plain, Plain()), (Checked, Checked()), (Loose, {}), (NeedsLoose, {}), (None, None)],
    ids=lambda value: getattr(value, "__name__", ""),
)
async def test_a_context_is_made_of_the_schemas_defaults(schema: Any, expected: Any) -> None:
    await every_way(graph_of(schema), {"x": 1})
    assert [expected] * 4 == SEEN


async def test_each_execution_has_one_of_its_own() -> None:
    await every_way(graph_of(Plain, lambda context: context.tools.append("more")), {"x": 1})
    assert [context.tools for context in SEEN] == [["search", "more"]] * 4


async def test_a_context_that_the_caller_gives_is_taken() -> None:
    await every_way(graph_of(Needs), {"x": 1}, runtime_context={"user": "ada"})
    await every_way(graph_of(Plain), {"x": 1}, runtime_context=Plain("large"))
    assert [Needs("ada")] * 4 + [Plain("large")] * 4 == SEEN


async def test_a_graph_in_a_node_has_the_context_of_the_graph_around_it() -> None:
    inner = LangGraphAdapter(graph_of(Plain))

    async def node(state: Numbers) -> Any:
        return await inner.ainvoke({"x": 1})

    outer = StateGraph(Numbers, Plain).add_node("node", node).add_edge(START, "node").compile()
    await outer.ainvoke({"x": 0}, context=Plain("outer"))
    await outer.ainvoke({"x": 0})
    assert [Plain("outer"), Plain()] == SEEN


@pytest.mark.parametrize("schema", [Needs, NeedsChecked])
async def test_a_graph_that_can_do_without_the_context_it_declares_is_not_stopped(schema: Any) -> None:
    outputs = await every_way(graph_of(schema, lambda context: context and context.user), {"x": 1})
    assert outputs == [{"x": 1, "trail": ["None"]}] * 4


@pytest.mark.parametrize(
    ("schema", "read"),
    [
        (Needs, lambda context: context.user),
        (NeedsChecked, lambda context: context.user),
        (NeedsLoose, lambda context: context["user"]),
    ],
)
async def test_a_field_that_is_needed_is_named(schema: Any, read: Any) -> None:
    adapter = LangGraphAdapter(graph_of(schema, read))
    for execute in (adapter.ainvoke, lambda payload: collect(adapter, payload)):
        with pytest.raises(InputRefused, match="context_schema requires user") as caught:
            await execute({"x": 1})
        assert caught.value.path == "context.user"


async def test_other_failures_are_the_nodes_own() -> None:
    def no_such(context: Any) -> Any:
        return None.other  # type: ignore[attr-defined]

    for schema in (Needs, Plain, None):
        with pytest.raises(AttributeError, match="other"):
            await LangGraphAdapter(graph_of(schema, no_such)).ainvoke({"x": 1})


@pytest.mark.parametrize("schema", [Needs, NeedsChecked, NeedsLoose])
async def test_what_no_request_can_give_is_a_warning(schema: Any) -> None:
    for target in (graph_of(schema), lambda config: graph_of(schema)):
        async with LangGraphAdapter(target) as adapter:
            (warning,) = await adapter.inspect()
            assert "the graph's context_schema requires user;" in warning
    for graph in (graph_of(Plain), chain(Numbers, "a").compile()):
        assert await LangGraphAdapter(graph).inspect() == []


async def test_a_schema_that_refuses_its_own_defaults_is_a_warning_and_does_not_stop_the_graph() -> None:
    @dataclass
    class Refuses:
        user: str | None = None

        def __post_init__(self) -> None:
            if self.user is None:
                raise ValueError("user must be set")

    adapter = LangGraphAdapter(graph_of(Refuses))
    (warning,) = await adapter.inspect()
    assert "context_schema cannot be made of its defaults: ValueError: user must be set" in warning
    await adapter.ainvoke({"x": 1})
    assert SEEN == [None]


async def test_with_a_checkpointer_and_from_a_factory() -> None:
    def make(config: Any) -> Any:
        return graph_of(Plain, checkpointer=InMemorySaver())

    config = {"configurable": {"thread_id": "t"}}
    await LangGraphAdapter(make).ainvoke({"x": 1}, config=config)
    await collect(LangGraphAdapter(make), {"x": 1}, config=config)
    assert [Plain()] * 2 == SEEN


# -- something else than LangGraph's own runtime in its place ----------------------------------------


@pytest.mark.parametrize("kind", [None, InMemorySaver, "sqlite"])
async def test_a_foreign_object_in_place_of_the_runtime_keeps_its_context_and_its_store(
    kind: Any, tmp_path: Path
) -> None:
    """Servers put objects of their own there; LangGraph takes their context and store."""
    foreign = SimpleNamespace(context=Plain("foreign"), store=InMemoryStore())
    found: list[Any] = []

    def node(state: Numbers, runtime: Runtime[Any]) -> dict[str, Any]:
        found.append((runtime.context, runtime.store))
        return {"x": 2}

    with SqliteSaver.from_conn_string(str(tmp_path / "db")) as synchronous:
        saver = synchronous if kind == "sqlite" else kind and kind()
        graph = StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(checkpointer=saver)
        config: Any = {"configurable": {"thread_id": "t", RUNTIME_KEY: foreign}}
        graph.invoke({"x": 1}, config)
        await every_way(graph, {"x": 1}, config=config)
        bound = graph.with_config(config)
        await every_way(bound, {"x": 1}, config={"configurable": {"thread_id": "t"}})
    assert found == [(foreign.context, foreign.store)] * 9
