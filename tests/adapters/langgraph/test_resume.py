"""A run whose process died goes on from its own last checkpoint, in another process."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.sqlite import SqliteSaver
from langgraph.graph import START, StateGraph
from langgraph.types import interrupt

from dockrion_adapters import HandlerAdapter, Resumes
from dockrion_adapters.langgraph import LangGraphAdapter

from .resuming import KINDS, ROW, THREAD, Disk, Work, ends
from .states import Numbers, chain
from .support import output_of, steps


@pytest.fixture(params=KINDS)
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return Disk(request.param, tmp_path)


def test_it_is_an_ability_of_its_own() -> None:
    assert isinstance(LangGraphAdapter(), Resumes)
    assert not isinstance(HandlerAdapter(), Resumes)


# -- where the run left off --------------------------------------------------------------------------


async def test_finished_nodes_are_not_executed_again(disk: Disk) -> None:
    work = Work()
    left = await work.dies(disk, work.row(held="b"), {"x": 0})
    assert work.done == ["a", "b"]
    async with left.saver() as saver:
        received = await ends(work.row().compile(checkpointer=saver), {"x": 0})
    assert output_of(received) == ROW
    assert steps(received) == ["b", "c"]
    assert work.done == ["a", "b", "b", "c"]


async def test_it_may_die_as_often_as_it_likes(disk: Disk) -> None:
    work = Work()
    left = await work.dies(disk, work.row(held="a"), {"x": 0})
    for node in "bc":
        again = Work()
        again.done = work.done
        left = await again.dies(left, again.row(held=node), {"x": 0}, resume=True)
    async with left.saver() as saver:
        assert output_of(await ends(work.row().compile(checkpointer=saver), {"x": 0})) == ROW
    assert work.done == ["a", "a", "b", "b", "c", "c"]


async def test_a_run_that_had_finished_has_its_output_once_more(disk: Disk) -> None:
    work = Work()
    async with disk.saver() as saver:
        await ends(work.row().compile(checkpointer=saver), {"x": 0}, resume=False)
    async with disk.died().saver() as saver:
        received = await ends(work.row().compile(checkpointer=saver), {"x": 0})
    assert output_of(received) == ROW
    assert [event.type for event in received] == ["started", "complete"]
    assert work.done == ["a", "b", "c"]


async def test_a_run_that_left_nothing_begins_with_its_payload(disk: Disk) -> None:
    work = Work()
    async with disk.saver() as saver:
        assert output_of(await ends(work.row().compile(checkpointer=saver), {"x": 0})) == ROW
    assert work.done == ["a", "b", "c"]


@pytest.mark.parametrize("earlier", ["finished", "unfinished", "without a name"])
async def test_former_turns_of_the_conversation_are_not_the_runs(disk: Disk, earlier: str) -> None:
    work = Work()
    left = disk
    if earlier == "unfinished":
        left = await work.dies(disk, work.row(held="b"), {"x": 0}, run="former")
    async with left.saver() as saver:
        graph = work.row().compile(checkpointer=saver)
        if earlier == "finished":
            await ends(graph, {"x": 0}, "former", resume=False)
        elif earlier == "without a name":
            await LangGraphAdapter(graph).ainvoke({"x": 0}, config=THREAD)
        work.done.clear()
        received = await ends(graph, {"x": 10}, "r")
    trail = ["a"] if earlier == "unfinished" else ["a", "b", "c"]
    assert output_of(received) == {"x": 13, "trail": [*trail, "a", "b", "c"]}
    assert work.done == ["a", "b", "c"]


async def test_where_somebody_has_gone_on_in_the_thread_the_run_begins_again(disk: Disk) -> None:
    work = Work()
    left = await work.dies(disk, work.row(held="b"), {"x": 0})
    async with left.saver() as saver:
        graph = work.row().compile(checkpointer=saver)
        await LangGraphAdapter(graph).ainvoke({"x": 20}, config=THREAD)
        work.done.clear()
        assert output_of(await ends(graph, {"x": 0}))["x"] == 3
    assert work.done == ["a", "b", "c"]


class Noting(InMemorySaver):
    """Says when the results of a task are stored; or cannot store the checkpoint of a step."""

    def __init__(self, *, full_at: int | None = None) -> None:
        super().__init__()
        self.written = threading.Event()
        self._full_at = full_at

    def put_writes(self, config: Any, writes: Any, task_id: str, task_path: str = "") -> None:
        super().put_writes(config, writes, task_id, task_path)
        if ("trail", ["quick"]) in writes or any(channel == "__interrupt__" for channel, _ in writes):
            self.written.set()

    def put(self, config: Any, checkpoint: Any, metadata: Any, new_versions: Any) -> Any:
        if metadata["step"] == self._full_at:
            raise OSError("no space left")
        return super().put(config, checkpoint, metadata, new_versions)


def beside(quick: Any, slow: Any, join: Any) -> Any:
    builder = StateGraph(Numbers).add_node("quick", quick).add_node("slow", slow).add_node("join", join)
    builder.add_edge(START, "quick").add_edge(START, "slow")
    return builder.add_edge(["quick", "slow"], "join")


async def test_what_finished_beside_an_unfinished_node_is_not_executed_again(tmp_path: Path) -> None:
    work, saver = Work(), Noting()
    hold = work.held("slow")

    def slow(state: Numbers) -> dict[str, Any]:
        assert saver.written.wait(20)
        return {"trail": hold(state)["trail"]}

    def quick(state: Numbers) -> dict[str, Any]:
        work.done.append("quick")
        return {"trail": ["quick"]}

    graph = beside(quick, slow, work.node("join"))
    left = await work.dies(Disk("memory", tmp_path, saver), graph, {"x": 0})
    assert sorted(work.done) == ["quick", "slow"]
    async with left.saver() as after:
        received = await ends(graph.compile(checkpointer=after), {"x": 0})
    assert output_of(received) == {"x": 1, "trail": ["quick", "slow", "join"]}
    assert sorted(work.done) == ["join", "quick", "slow", "slow"]
    assert "quick" not in steps(received)


async def test_a_node_beside_one_that_waits_at_an_interrupt_is_executed(tmp_path: Path) -> None:
    work, saver = Work(), Noting()
    hold = work.held("slow")

    def slow(state: Numbers) -> dict[str, Any]:
        assert saver.written.wait(20)
        return {"x": hold(state)["x"]}

    graph = beside(lambda _: {"trail": [interrupt("?")]}, slow, work.node("join"))
    left = await work.dies(Disk("memory", tmp_path, saver), graph, {"x": 0})
    async with left.saver() as after:
        output = output_of(await ends(graph.compile(checkpointer=after), {"x": 0}))
    assert [one.value for one in output.pop("__interrupt__")] == ["?"]
    assert output == {"x": 1, "trail": []}
    assert work.done == ["slow", "slow"]


async def test_a_step_that_finished_without_a_checkpoint_is_not_executed_again(tmp_path: Path) -> None:
    work, disk = Work(), Disk("memory", tmp_path, Noting(full_at=1))

    def node(name: str) -> Any:
        run = work.node(name)
        return lambda state: {"trail": run(state)["trail"]}

    graph = beside(node("quick"), node("slow"), work.node("join"))
    async with disk.saver() as saver:
        with pytest.raises(OSError, match="no space"):
            await ends(graph.compile(checkpointer=saver), {"x": 0}, resume=False, durability="sync")
    assert sorted(work.done) == ["quick", "slow"]
    async with disk.died().saver() as saver:
        received = await ends(graph.compile(checkpointer=saver), {"x": 0})
    assert output_of(received) == {"x": 1, "trail": ["quick", "slow", "join"]}
    assert sorted(work.done) == ["join", "quick", "slow"]


async def test_a_node_that_failed_is_executed_again(disk: Disk) -> None:
    work, faults = Work(), [OSError("the model is away")]

    def b(state: Numbers) -> dict[str, Any]:
        if faults:
            raise faults.pop()
        return work.node("b")(state)

    builder = StateGraph(Numbers).add_node("a", work.node("a")).add_node(b)
    builder.add_edge(START, "a").add_edge("a", "b")
    async with disk.saver() as saver:
        with pytest.raises(OSError, match="away"):
            await ends(builder.compile(checkpointer=saver), {"x": 0}, resume=False)
    async with disk.died().saver() as saver:
        received = await ends(builder.compile(checkpointer=saver), {"x": 0})
    assert output_of(received) == {"x": 2, "trail": ["a", "b"]}
    assert work.done == ["a", "b"]


@pytest.mark.parametrize("stop_behind", ["a", "b"])
@pytest.mark.parametrize("dies_in", ["b", "c"])
async def test_a_run_that_went_back_in_time_goes_on_from_its_own_branch(
    disk: Disk, dies_in: str, stop_behind: str
) -> None:
    work = Work()
    async with disk.saver() as saver:
        graph = work.row().compile(checkpointer=saver)
        stream = LangGraphAdapter(graph).invoke_stream({"x": 0}, config=THREAD, interrupt_before=["b"])
        async with stream:
            assert output_of([event async for event in stream])["x"] == 1
        behind_a = {"configurable": {**THREAD["configurable"], "checkpoint_id": await newest_of(saver)}}
        await LangGraphAdapter(graph).ainvoke({"x": 30}, config=THREAD)
    work.done.clear()
    stops: Any = {"interrupt_before": ["b"]}  # where it begins, so that is passed
    left = await work.dies(disk, work.row(held=dies_in), None, config=behind_a, **stops)
    async with left.saver() as saver:
        graph = work.row().compile(checkpointer=saver)
        stops["interrupt_after"] = [stop_behind]
        received = await ends(graph, None, config=behind_a, **stops)
    if stop_behind == "a":
        assert output_of(received) == ROW
        assert work.done == (["b", "b", "c"] if dies_in == "b" else ["b", "c", "c"])
    else:
        assert output_of(received) == {"x": 2, "trail": ["a", "b"]}
        assert work.done == (["b", "b"] if dies_in == "b" else ["b", "c"])


async def newest_of(saver: Any) -> str:
    found = saver.get_tuple(THREAD) if type(saver) is SqliteSaver else await saver.aget_tuple(THREAD)
    return str(found.checkpoint["id"])


# -- what a run's name costs and shows ---------------------------------------------------------------


def curious(seen: list[Any]) -> Any:
    def look(state: Numbers, config: RunnableConfig) -> dict[str, Any]:
        public = [name for name in config["configurable"] if not name.startswith("__")]
        own = {name: value for name, value in config["metadata"].items() if not name.startswith("langgraph_")}
        seen.append((own, sorted(public)))
        return {"x": 1}

    return StateGraph(Numbers).add_node(look).add_edge(START, "look")


async def test_the_graph_sees_one_more_entry_of_its_metadata_and_the_checkpoints_keep_it() -> None:
    seen: list[Any] = []
    graph = curious(seen).compile(checkpointer=InMemorySaver()).with_config(metadata={"team": "blue"})
    adapter = LangGraphAdapter(graph)
    config = {"configurable": {"thread_id": "t"}, "metadata": {"mine": 1}}
    await adapter.ainvoke({"x": 0}, config=config)
    await ends(adapter, {"x": 0}, "r@1", resume=False, config=config)
    (bare, names), (named, same_names) = seen
    assert named == {**bare, "dockrion_run": "r@1"}
    assert same_names == names
    assert config["metadata"] == {"mine": 1}
    kept = [one.metadata for one in graph.checkpointer.list(THREAD)]  # type: ignore[union-attr]
    assert [one.get("dockrion_run") for one in kept] == ["r@1"] * 3 + [None] * 3
    assert {"team": "blue", "mine": 1}.items() <= kept[0].items()


async def test_a_graph_without_checkpointer_begins_again_and_is_not_told() -> None:
    seen: list[Any] = []
    for resume in (False, True):
        assert output_of(await ends(curious(seen).compile(), {"x": 0}, resume=resume, config={}))["x"] == 1
    assert seen[0] == seen[1]
    assert "dockrion_run" not in seen[0][0]


async def test_without_a_thread_langgraph_says_what_it_says() -> None:
    adapter = LangGraphAdapter(chain(Numbers, "a").compile(checkpointer=InMemorySaver()))
    with pytest.raises(ValueError, match="thread_id"):
        await ends(adapter, {"x": 0}, config={})


@pytest.mark.parametrize("takes_config", [False, True])
async def test_a_factory_makes_the_graph_that_is_resumed(disk: Disk, takes_config: bool) -> None:
    work = Work()
    left = await work.dies(disk, work.row(held="b"), {"x": 0})
    made: list[Any] = []
    async with left.saver() as saver:

        def each(config: RunnableConfig) -> Any:
            made.append(config["metadata"]["dockrion_run"])
            return work.row().compile(checkpointer=saver)

        async def once() -> Any:
            return work.row().compile(checkpointer=saver)

        received = await ends(LangGraphAdapter(each if takes_config else once), {"x": 0})
    assert output_of(received) == ROW
    assert work.done == ["a", "b", "b", "c"]
    assert made == (["r"] if takes_config else [])
