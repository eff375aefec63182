"""Where a graph may come from, how often it is made, and what is said where it cannot be."""

from __future__ import annotations

import asyncio
import functools
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import get_current_context

from . import graphs
from .states import Numbers, chain
from .support import Log, collect, output_of

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


def test_one_synchronous_caller_does_not_close_anothers_graph() -> None:
    entered: list[dict[str, bool]] = []
    waiting, go_on = threading.Semaphore(0), [threading.Event(), threading.Event()]

    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        resource = {"open": True}
        entered.append(resource)

        def use(state: Numbers) -> dict[str, Any]:
            waiting.release()
            go_on[state["x"]].wait(20)
            return {"trail": [str(resource["open"])]}

        yield StateGraph(Numbers).add_node(use).add_edge(START, "use")
        resource["open"] = False

    adapter = LangGraphAdapter(make)
    with ThreadPoolExecutor(2) as pool:
        first, second = (pool.submit(adapter.invoke, {"x": place}) for place in range(2))
        assert waiting.acquire(timeout=20)
        assert waiting.acquire(timeout=20)
        for event, call in zip(go_on, (first, second), strict=True):
            event.set()
            assert call.result(20)["trail"] == ["True"]
    assert entered == [{"open": False}] * 2


async def test_what_is_held_does_not_belong_to_the_execution_that_needed_it_first() -> None:
    seen: list[Any] = []

    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        seen.append(get_current_context())
        yield builder()

    async with LangGraphAdapter(make) as adapter:
        await adapter.aclose()
        await collect(adapter, {"x": 1})
    assert seen == [None, None]


async def test_a_caller_that_is_cancelled_while_entering_leaves_nothing_behind() -> None:
    log = Log()

    @asynccontextmanager
    async def make() -> AsyncIterator[Any]:
        log.add("entering")
        try:
            await asyncio.Event().wait()
        finally:
            log.add("given up")
        yield builder()

    task = asyncio.create_task(LangGraphAdapter(make).ainvoke({"x": 1}))
    await log.reached("entering")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert log.done == ["entering", "given up"]


async def test_what_is_held_on_another_event_loop_is_left_there() -> None:
    made = Made()
    adapter = LangGraphAdapter(made.held)
    opened, closed = threading.Event(), asyncio.Event()
    here = asyncio.get_running_loop()

    async def elsewhere() -> None:
        await adapter.__aenter__()
        opened.set()
        done = asyncio.wrap_future(asyncio.run_coroutine_threadsafe(closed.wait(), here))
        await done

    thread = threading.Thread(target=lambda: asyncio.run(elsewhere()))
    thread.start()
    assert await asyncio.to_thread(opened.wait, 20)
    await adapter.aclose()
    assert made.log == ["enter", "leave"]
    closed.set()
    await asyncio.to_thread(thread.join, 20)
