"""A run that had ended when its process died returns what it had returned, and executes nothing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from langgraph.channels import EphemeralValue
from langgraph.func import entrypoint
from langgraph.graph import START, StateGraph
from langgraph.pregel import NodeBuilder, Pregel
from langgraph.types import Command, interrupt
from typing_extensions import TypedDict

from dockrion_adapters.langgraph import LangGraphAdapter

from .resuming import KINDS, THREAD, Disk, Work, ends
from .states import Model, Narrow, Numbers, Record, chain
from .support import output_of


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(request.param, tmp_path)


class Extra(TypedDict):
    answer: str


def extra() -> Any:
    builder: Any = StateGraph(Numbers, output_schema=Extra)
    return builder.add_node("a", lambda _: {"x": 1, "answer": "so"}).add_edge(START, "a")


@entrypoint()
def flow(given: Any, *, previous: Any = None) -> Any:
    return entrypoint.final(value={"told": given["x"]}, save={"kept": given["x"]})


def plain() -> Any:
    double = NodeBuilder().subscribe_only("x").do(lambda x: x * 2).write_to("doubled")
    channels = {"x": EphemeralValue(int), "doubled": EphemeralValue(int)}
    return Pregel(
        nodes={"double": double}, channels=channels, input_channels=["x"], output_channels="doubled"
    )


def asking(*, beside: bool = False) -> Any:
    builder = chain(Numbers, "a").add_node("ask", lambda _: {"trail": [interrupt("?")]})
    builder.add_edge("a", "ask")
    if beside:
        builder.add_node("b", lambda _: {"x": 7}).add_edge("a", "b")
        builder.add_node("too", lambda _: {"trail": [interrupt("!")]}).add_edge("a", "too")
    return builder


def stopping(**options: Any) -> Any:
    return chain(Numbers, "a", "b", "c", output_schema=Narrow).compile(**options)


ENDS: dict[str, Any] = {
    "row": lambda: chain(Numbers, "a", "b").compile(),
    "narrow output": lambda: chain(Numbers, "a", "b", output_schema=Narrow).compile(),
    "output beside the state": lambda: extra().compile(),
    "pydantic": lambda: chain(Model, "a", "b").compile(),
    "dataclass": lambda: chain(Record, "a", "b").compile(),
    "entrypoint": lambda: copy.copy(flow),
    "plain Pregel": plain,
    "interrupt": lambda: asking().compile(),
    "interrupts beside a finished node": lambda: asking(beside=True).compile(),
    "interrupt in a subgraph": lambda: (
        chain(Numbers, "z").add_node("inner", asking().compile()).add_edge("z", "inner").compile()
    ),
    "stopped before": lambda: stopping(interrupt_before=["b"]),
    "stopped before all": lambda: stopping(interrupt_before="*"),
    "stopped behind": lambda: stopping(interrupt_after=["a", "b"]),
    "stopped behind the last": lambda: stopping(interrupt_after=["c"]),
    "stopped behind all": lambda: stopping(interrupt_after="*"),
}


def in_order(output: Any) -> Any:
    """Return an output whose interrupts have an order, which they have not where nodes run side by side."""
    if "__interrupt__" not in str(output):
        return output
    return {**output, "__interrupt__": sorted(output["__interrupt__"], key=lambda one: str(one.id))}


@pytest.mark.parametrize("name", ENDS)
async def test_a_run_that_had_ended_returns_what_it_had_returned(name: str, disk: Disk) -> None:
    graph = ENDS[name]()
    async with disk.saver() as saver:
        graph.checkpointer = saver
        adapter = LangGraphAdapter(graph)
        expected = await adapter.ainvoke({"x": 0}, config={**THREAD, "metadata": {"dockrion_run": "r"}})
    async with disk.died().saver() as saver:
        graph.checkpointer = saver
        received = await ends(adapter, {"x": 0})
        assert in_order(output_of(received)) == in_order(expected)
        assert [event.type for event in received] == ["started", "complete"]
        if "interrupt" in str(expected):
            answers = {one.id: "yes" for one in expected["__interrupt__"]}
            assert "yes" in (await adapter.ainvoke(Command(resume=answers), config=THREAD))["trail"]


@pytest.mark.parametrize("option", [{"interrupt_before": ["c"]}, {"interrupt_after": ["b"]}])
async def test_options_of_the_execution_count_as_well(disk: Disk, option: dict[str, Any]) -> None:
    work = Work()
    async with disk.saver() as saver:
        adapter = LangGraphAdapter(work.row().compile(checkpointer=saver))
        for resume in (False, True):
            received = await ends(adapter, {"x": 0}, resume=resume, output_keys="x", **option)
            assert output_of(received) == 2
    assert work.done == ["a", "b"]


@pytest.mark.parametrize("stops", [{"interrupt_before": ["b"]}, {"interrupt_after": "*"}])
async def test_a_graph_is_stopped_in_the_attempt_that_gets_there(disk: Disk, stops: dict[str, Any]) -> None:
    work = Work()
    left = await work.dies(disk, work.row(held="a"), {"x": 0}, **stops)
    async with left.saver() as saver:
        graph = work.row().compile(checkpointer=saver, **stops)
        assert output_of(await ends(graph, {"x": 0}))["x"] == 1
    assert work.done == ["a", "a"]
