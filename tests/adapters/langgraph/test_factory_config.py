"""What factories are called with: the same as by LangGraph's server."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph_sdk.auth.types import BaseUser
from langgraph_sdk.runtime import ServerRuntime

from dockrion_adapters import LoadError
from dockrion_adapters.base import OWNER
from dockrion_adapters.langgraph import LangGraphAdapter
from dockrion_events import StreamContext

from .states import Numbers, chain
from .support import collect, output_of

if TYPE_CHECKING:
    from langgraph_sdk import runtime as sdk

DONE = {"x": 2, "trail": ["a"]}
SEEN: list[Any] = []


@dataclass
class Ctx:
    model: str = "small"


@pytest.fixture(autouse=True)
def nothing_seen() -> None:
    SEEN.clear()


def graph() -> Any:
    return chain(Numbers, "a").compile()


def with_config(config: RunnableConfig) -> Any:
    SEEN.append(config)
    return graph()


async def test_what_langgraphs_server_puts_into_the_config() -> None:
    """The names and values are those that a factory noted under ``langgraph dev`` (langgraph-api 0.16)."""
    adapter = LangGraphAdapter(with_config)
    adapter.agent_name = "helper"
    config = {"configurable": {"thread_id": "t", "user": "own"}, "metadata": {"mine": 1}}
    context = StreamContext("req-1")
    async with adapter.invoke_stream({"x": 1}, config=config, context=context) as stream:
        async for _ in stream:
            pass
    (seen,) = SEEN
    configurable = seen["configurable"]
    assistant = str(uuid.uuid5(uuid.UUID("6ba7b821-9dad-11d1-80b4-00c04fd430c8"), "helper"))
    run_id = configurable["run_id"]
    assert str(uuid.UUID(run_id)) == run_id
    runtime = configurable.pop("__pregel_runtime")
    assert configurable == {
        "__is_for_execution__": True,
        "run_id": run_id,
        "thread_id": "t",
        "user": "own",
        "graph_id": "helper",
        "assistant_id": assistant,
        "user_id": "",
        "langgraph_auth_user": None,
        "langgraph_auth_user_id": "",
        "langgraph_auth_permissions": [],
        "langgraph_request_id": "req-1",
    }
    assert runtime.execution_runtime is runtime
    assert {"assistant_id": assistant, "thread_id": "t", "mine": 1}.items() <= seen["metadata"].items()


def test_the_assistants_id_is_that_of_langgraphs_server() -> None:
    """As ``langgraph dev`` answered for graphs that were named so."""
    for name, expected in (
        ("one", "39a68923-35d8-56bc-9761-3a809a9e6a7f"),
        ("two", "4499204c-8eda-5495-a842-3696dc7527c7"),
    ):
        adapter = LangGraphAdapter(with_config)
        adapter.agent_name = name
        adapter.invoke({"x": 1})
        assert SEEN[-1]["configurable"]["assistant_id"] == expected


async def test_the_owner_is_the_authenticated_user() -> None:
    await LangGraphAdapter(with_config).ainvoke({"x": 1}, config={"configurable": {OWNER: "ada"}})
    configurable = SEEN[0]["configurable"]
    assert OWNER not in configurable
    assert configurable["langgraph_auth_user_id"] == configurable["user_id"] == "ada"
    user = configurable["langgraph_auth_user"]
    assert isinstance(user, BaseUser)
    assert (user.identity, user["identity"], user.is_authenticated) == ("ada", "ada", True)
    assert configurable["__pregel_runtime"].ensure_user().identity == "ada"


async def test_each_execution_is_another_run() -> None:
    adapter = LangGraphAdapter(with_config)
    for _ in range(2):
        await adapter.ainvoke({"x": 1}, context=StreamContext("the same"))
    assert len({config["configurable"]["run_id"] for config in SEEN}) == 2


# -- ServerRuntime ------------------------------------------------------------------------------------


def runtime_only(runtime: ServerRuntime) -> Any:
    SEEN.append((None, runtime))
    return graph()


def runtime_of_a_context(runtime: ServerRuntime[Ctx]) -> Any:
    return runtime_only(runtime)


def annotated(runtime: Annotated[ServerRuntime, "why"]) -> Any:
    return runtime_only(runtime)


def perhaps(runtime: ServerRuntime | None = None) -> Any:
    return runtime_only(runtime)  # type: ignore[arg-type]


def under_another_name(server: ServerRuntime) -> Any:
    return runtime_only(server)


def of_a_module_that_only_type_checkers_import(runtime: sdk.ServerRuntime) -> Any:
    return runtime_only(runtime)


def both(config: RunnableConfig, runtime: ServerRuntime) -> Any:
    SEEN.append((config, runtime))
    return graph()


def both_the_other_way_round(runtime: ServerRuntime, config: RunnableConfig) -> Any:
    return both(config, runtime)


def by_name_only(*, config: RunnableConfig = None, runtime: ServerRuntime) -> Any:  # type: ignore[assignment]
    return runtime_only(runtime)


async def later(config: RunnableConfig, runtime: ServerRuntime) -> Any:
    return both(config, runtime)


@asynccontextmanager
async def held(config: RunnableConfig, runtime: ServerRuntime) -> AsyncIterator[Any]:
    yield both(config, runtime)


FACTORIES = (
    runtime_only, runtime_of_a_context, annotated, perhaps, under_another_name, both,
    both_the_other_way_round, of_a_module_that_only_type_checkers_import, by_name_only, later, held,
)  # fmt: skip


@pytest.mark.parametrize("factory", FACTORIES, ids=lambda factory: factory.__name__)
async def test_a_factory_may_ask_for_the_runtime(factory: Any) -> None:
    adapter = LangGraphAdapter(factory)
    config = {"configurable": {"thread_id": "t", OWNER: "ada"}}
    assert await adapter.ainvoke({"x": 1}, config=config) == DONE
    assert output_of(await collect(adapter, {"x": 1}, config=config)) == DONE
    assert adapter.invoke({"x": 1}, config=config) == DONE
    assert len(SEEN) == 3
    for given, runtime in SEEN:
        assert given is None or given["configurable"]["thread_id"] == "t"
        assert runtime.access_context == "threads.create_run"
        assert runtime.user.identity == "ada"
        assert runtime.execution_runtime.context == {}
        assert runtime.store.search(("none",)) == []


async def test_the_runtime_has_the_callers_context() -> None:
    await LangGraphAdapter(runtime_of_a_context).ainvoke({"x": 1}, runtime_context=Ctx("large"))
    assert SEEN[0][1].execution_runtime.context == Ctx("large")


async def test_without_a_user_there_is_none() -> None:
    await LangGraphAdapter(both).ainvoke({"x": 1})
    assert SEEN[0][1].user is None
    with pytest.raises(PermissionError):
        SEEN[0][1].ensure_user()


async def test_a_graph_that_is_made_to_be_looked_at_is_not_for_execution() -> None:
    adapter = LangGraphAdapter(both)
    async with adapter:
        assert adapter.input_schema() is None
        await adapter.inspect()
        ((config, runtime),) = SEEN
        assert config["configurable"]["__is_for_execution__"] is False
        assert runtime.access_context == "assistants.read"
        assert runtime.execution_runtime is None
        schema = adapter.input_schema()
        assert schema is not None
        assert set(schema["properties"]) == {"x", "trail"}
        await adapter.inspect()
        assert len(SEEN) == 1
        assert await adapter.ainvoke({"x": 1}) == DONE
        assert len(SEEN) == 2


async def test_a_factory_that_cannot_be_looked_at_can_still_execute() -> None:
    def picky(config: RunnableConfig) -> Any:
        config["configurable"]["tenant"]
        return graph()

    adapter = LangGraphAdapter(picky)
    (warning,) = await adapter.inspect()
    assert "failed: KeyError: 'tenant'" in warning
    assert adapter.input_schema() is None
    assert await adapter.ainvoke({"x": 1}, config={"configurable": {"tenant": "a"}}) == DONE


async def test_a_function_that_makes_no_graph_is_refused_before_the_first_request() -> None:
    def echo(payload: dict[str, Any]) -> dict[str, Any]:
        return {"echo": payload}

    with pytest.raises(LoadError, match=" gave a dict; expected a compiled graph"):
        await LangGraphAdapter(echo).inspect()


async def test_a_function_of_a_payload_that_fails_on_a_config_is_refused_with_what_to_do() -> None:
    def shout(payload: dict[str, Any]) -> str:
        return str(payload["message"]).upper()

    with pytest.raises(LoadError, match=r" failed: KeyError: 'message'\..*name it as agent\.handler"):
        await LangGraphAdapter(shout).inspect()


@pytest.mark.parametrize(
    "factory",
    [lambda a, b: None, lambda a, runtime, more: None, lambda *, key: None],
    ids=["two", "three", "named"],
)
def test_a_factory_that_asks_for_more_is_refused_with_what_would_be_valid(factory: Any) -> None:
    with pytest.raises(LoadError, match="no argument, or the config, or a parameter annotated ServerRuntime"):
        LangGraphAdapter(factory)
