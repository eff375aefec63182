"""Where a graph may come from, how often it is made, and what is said where it cannot be."""

from __future__ import annotations

import asyncio
import functools
import sys
import types
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import START, StateGraph

from dockrion_adapters import LoadError
from dockrion_adapters.langgraph import LangGraphAdapter

from . import graphs
from .states import Numbers, chain
from .support import collect, output_of

DONE = {"x": 2, "trail": ["a"]}


def builder() -> Any:
    return chain(Numbers, "a")


def compiled() -> Any:
    return builder().compile()


async def run(target: Any, config: Any = None) -> Any:
    adapter = LangGraphAdapter(target)
    async with adapter:
        awaited = await adapter.ainvoke({"x": 1}, config=config)
        assert output_of(await collect(adapter, {"x": 1}, config=config)) == awaited
    return awaited


class Made:
    """Makes graphs and counts; the ways to do so are what the tests differ in."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.configs: list[Any] = []

    def plain(self) -> Any:
        self.log.append("made")
        return builder()

    async def later(self) -> Any:
        await asyncio.sleep(0)
        return self.plain()

    def with_config(self, config: RunnableConfig) -> Any:
        self.configs.append(config)
        return self.plain()

    async def later_with_config(self, config: RunnableConfig) -> Any:
        return self.with_config(config)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[Any]:
        task = asyncio.current_task()
        self.log.append("enter")
        try:
            yield builder()
        finally:
            assert asyncio.current_task() is task, "left in another task than it was entered in"
            self.log.append("leave")

    @asynccontextmanager
    async def held_with_config(self, config: RunnableConfig) -> AsyncIterator[Any]:
        self.configs.append(config)
        async with self.held() as graph:
            yield graph


async def test_objects() -> None:
    assert await run(builder()) == await run(compiled()) == DONE
    work, payload = graphs.functional()
    assert LangGraphAdapter(work).invoke(payload) == {"sum": 36}


@pytest.mark.parametrize("way", ["plain", "later"])
async def test_a_factory_without_argument_runs_once(way: str) -> None:
    made = Made()
    assert await run(getattr(made, way)) == DONE
    assert made.log == ["made"]


@pytest.mark.parametrize("wrap", [lambda f: f, lambda f: lambda: f(), functools.partial])
@pytest.mark.parametrize("way", ["plain", "later", "held"])
async def test_factories_in_disguise(way: str, wrap: Callable[[Any], Any]) -> None:
    assert await run(wrap(getattr(Made(), way))) == DONE


@pytest.mark.parametrize("way", ["with_config", "later_with_config", "held_with_config"])
async def test_a_factory_that_takes_the_config_runs_for_each_execution(way: str) -> None:
    made = Made()
    assert await run(getattr(made, way), config={"configurable": {"user": "ada"}}) == DONE
    assert [config["configurable"]["user"] for config in made.configs] == ["ada", "ada"]
    assert made.log == (["enter", "leave"] * 2 if way.startswith("held") else ["made"] * 2)


async def test_a_config_with_a_default_is_passed_too() -> None:
    seen: list[Any] = []

    def make(config: Any = None) -> Any:
        seen.append(config)
        return builder()

    assert await run(make) == DONE
    assert [isinstance(config, dict) for config in seen] == [True, True]


async def test_a_context_manager_is_held_for_the_adapters_lifetime() -> None:
    made = Made()
    adapter = LangGraphAdapter(made.held)
    async with adapter:
        assert made.log == ["enter"]
        for _ in range(2):
            assert await adapter.ainvoke({"x": 1}) == DONE
            assert output_of(await collect(adapter, {"x": 1})) == DONE
        assert made.log == ["enter"]
    assert made.log == ["enter", "leave"]


async def test_it_is_entered_at_need_and_again_after_closing() -> None:
    made = Made()
    adapter = LangGraphAdapter(made.held)
    for _ in range(2):
        assert output_of(await collect(adapter, {"x": 1})) == DONE
        await adapter.aclose()
        await adapter.aclose()
    assert made.log == ["enter", "leave"] * 2


async def test_executions_at_once_enter_it_once() -> None:
    made = Made()
    adapter = LangGraphAdapter(made.held)
    outputs = await asyncio.gather(*(adapter.ainvoke({"x": 1}) for _ in range(10)))
    await adapter.aclose()
    assert outputs == [DONE] * 10
    assert made.log == ["enter", "leave"]


async def test_it_may_be_closed_from_another_task() -> None:
    made = Made()
    adapter = LangGraphAdapter(made.held)
    await asyncio.create_task(adapter.__aenter__())
    await asyncio.create_task(adapter.aclose())
    assert made.log == ["enter", "leave"]


async def test_one_of_an_execution_is_left_when_that_is_stopped() -> None:
    made = Made()
    entered = asyncio.Event()

    async def endless(state: Numbers) -> None:
        entered.set()
        await asyncio.Event().wait()

    @asynccontextmanager
    async def make(config: RunnableConfig) -> AsyncIterator[Any]:
        async with made.held():
            yield StateGraph(Numbers).add_node(endless).add_edge(START, "endless")

    stream = LangGraphAdapter(make).invoke_stream({"x": 1})
    await anext(stream)
    await entered.wait()
    await stream.aclose()
    assert made.log == ["enter", "leave"]


@pytest.mark.parametrize("way", ["plain", "later", "held", "with_config", "later_with_config"])
def test_synchronous_callers_need_no_loop(way: str) -> None:
    made = Made()
    adapter = LangGraphAdapter(getattr(made, way))
    assert [adapter.invoke({"x": 1}) for _ in range(3)] == [DONE] * 3
    expected = {"held": ["enter", "leave"] * 3, "plain": ["made"], "later": ["made"]}
    assert made.log == expected.get(way, ["made"] * 3)


@pytest.mark.parametrize("way", ["later", "held", "later_with_config"])
def test_each_event_loop_may_be_another(way: str) -> None:
    made = Made()
    adapter = LangGraphAdapter(getattr(made, way))
    for _ in range(2):
        assert asyncio.run(adapter.ainvoke({"x": 1})) == DONE
    assert made.log.count("enter") == made.log.count("leave") == (2 if way == "held" else 0)


@pytest.mark.parametrize("way", ["later", "held"])
async def test_synchronous_callers_in_many_threads(way: str) -> None:
    made = Made()
    adapter = LangGraphAdapter(getattr(made, way))
    calls = (asyncio.to_thread(adapter.invoke, {"x": 1}) for _ in range(12))
    assert await asyncio.gather(*calls) == [DONE] * 12
    assert made.log.count("enter") == made.log.count("leave")
    assert made.log.count("made") == (1 if way == "later" else 0)


# -- what cannot be loaded ---------------------------------------------------------------------------


class AClass:
    pass


@pytest.mark.parametrize(
    ("target", "message"),
    [
        (5, "is a int"),
        (None, "no graph is loaded"),
        ({"graph": 1}, "is a dict"),
        (AClass, "class AClass"),
        (RunnableLambda(lambda x: x), "is a RunnableLambda"),
        (lambda a, b: None, "takes a, b; a factory has no argument, or one: the config"),
        (lambda *, key: None, "takes key"),
        (lambda: 5, "gave a int"),
        (lambda: AClass, "gave a class AClass"),
        (lambda: None, "gave a NoneType"),
        (lambda: 1 // 0, "failed: ZeroDivisionError"),
        (StateGraph(Numbers), "does not compile"),
        (lambda: StateGraph(Numbers), "does not compile"),
    ],
    ids=str,
)
async def test_what_is_no_graph_is_told_while_loading(target: Any, message: str) -> None:
    with pytest.raises(LoadError) as caught:
        await LangGraphAdapter(target).ainvoke({"x": 1})
    assert message in str(caught.value)


def failing(*_: Any) -> Any:
    raise OSError("no database")


async def afailing(*_: Any) -> Any:
    raise OSError("no database")


@asynccontextmanager
async def failing_to_enter() -> AsyncIterator[Any]:
    raise OSError("no database")
    yield


@asynccontextmanager
async def failing_to_enter_with(config: RunnableConfig) -> AsyncIterator[Any]:
    raise OSError("no database")
    yield


@pytest.mark.parametrize(
    "factory",
    [
        failing, afailing, failing_to_enter, failing_to_enter_with,
        lambda config: failing(), lambda config: afailing(), lambda: afailing(),
    ],
    ids=str,
)  # fmt: skip
async def test_a_factory_that_fails_is_a_load_error_with_its_cause(factory: Any) -> None:
    for _ in range(2):  # and again: nothing half open stays behind
        with pytest.raises(LoadError, match="failed: OSError: no database") as caught:
            await collect(LangGraphAdapter(factory), {"x": 1})
        assert isinstance(caught.value.__cause__, OSError)


async def test_opening_shows_the_fault_at_the_start_and_leaves_nothing_open() -> None:
    log: list[str] = []

    @asynccontextmanager
    async def wrong() -> AsyncIterator[Any]:
        log.append("enter")
        yield 5
        log.append("leave")

    adapter = LangGraphAdapter(wrong)
    with pytest.raises(LoadError, match="gave a int"):
        await adapter.__aenter__()
    assert log == ["enter", "leave"]


async def test_a_failure_after_a_failed_opening_can_be_mended() -> None:
    attempts: list[int] = []

    async def make() -> Any:
        attempts.append(1)
        if len(attempts) == 1:
            raise OSError("not yet")
        return builder()

    adapter = LangGraphAdapter(make)
    with pytest.raises(LoadError):
        await adapter.ainvoke({"x": 1})
    assert await adapter.ainvoke({"x": 1}) == DONE


@pytest.fixture
def module() -> Iterator[types.ModuleType]:
    made = types.ModuleType("an_agents_module")
    sys.modules["an_agents_module"] = made
    yield made
    del sys.modules["an_agents_module"]


async def test_entry_points(module: Any) -> None:
    module.graph, module.make, module.other = compiled(), Made().later, 5
    for name in ("graph", "make"):
        assert await run(f"an_agents_module:{name}") == DONE
    with pytest.raises(LoadError, match="'an_agents_module:other' is a int"):
        LangGraphAdapter("an_agents_module:other")
    with pytest.raises(LoadError, match="did you mean 'graph'"):
        LangGraphAdapter("an_agents_module:grap")
    with pytest.raises(LoadError, match="write module:attribute"):
        LangGraphAdapter("an_agents_module")


async def test_names_and_metadata() -> None:
    named = builder().compile(name="My helper")
    assert LangGraphAdapter(named).agent_name == "My helper"
    assert LangGraphAdapter(compiled()).agent_name == "graph"
    assert LangGraphAdapter(lambda: compiled()).agent_name == "graph"
    assert LangGraphAdapter(Made().later).agent_name == "later"
    assert LangGraphAdapter(named).metadata() == {"nodes": ["a"], "checkpointer": None}
