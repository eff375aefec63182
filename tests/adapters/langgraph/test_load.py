"""What cannot be loaded, and what is said then; entry points, names and metadata."""

from __future__ import annotations

import re
import sys
import types
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig, RunnableLambda
from langgraph.graph import StateGraph

from dockrion_adapters import LoadError
from dockrion_adapters.langgraph import LangGraphAdapter

from .states import Numbers
from .support import collect
from .test_factories import DONE, Made, builder, compiled, run


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
        (lambda a, b: None, "takes a, b; a factory has no argument, or the config"),
        (lambda *, key: None, "takes key"),
        (lambda: 5, "gave a int"),
        (lambda: AClass, "gave a class AClass"),
        (lambda: None, "gave a NoneType"),
        (lambda: 1 // 0, "failed: ZeroDivisionError"),
        (StateGraph(Numbers), "does not compile"),
        (lambda: StateGraph(Numbers), "does not compile"),
    ],
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),
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
    ids=lambda value: re.sub(" at 0x[0-9a-f]+", "", str(value)),
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
