"""A graph that a node runs apart, with a stream or a thread of its own: its stream has another reader."""

from __future__ import annotations

from typing import Any

import pytest

from dockrion_events import TokenEvent, get_current_context

from .states import Numbers
from .support import ScriptedAsync, chunks_of, collect, customs, output_of, tokens
from .test_nested import CONFIGS, around, inner_graph, paths, speak
from .test_tokens import HI, WORDS, async_node, graph_of


def is_available() -> bool:
    context = get_current_context()
    assert context is not None
    assert context.streaming_backend is not None
    return context.streaming_backend.is_available()


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "wrapped"])
async def test_with_a_thread_of_its_own_an_inner_run_is_not_the_outer_streams(wrapped: bool) -> None:
    inner = inner_graph()

    async def node(state: Numbers) -> Any:
        if wrapped:
            return output_of(await collect(inner, {"x": 1}, config=CONFIGS["thread"]))
        return await inner.ainvoke({"x": 1}, CONFIGS["thread"])

    assert paths(await collect(around(node), {"x": 0})) == [("node", [])]


async def test_the_namespace_of_a_graph_with_a_thread_of_its_own_is_left_whole() -> None:
    apart = graph_of(far=graph_of(talk=async_node(ScriptedAsync(chunks=chunks_of("one two three")))))

    async def inner_node(state: Numbers) -> Any:
        await apart.ainvoke(HI, CONFIGS["thread"])
        return {}

    seen: list[Any] = []

    async def node(state: Numbers) -> Any:
        seen.extend(await collect(around(inner_node), {"x": 1}))
        return {}

    await around(node).ainvoke({"x": 0})
    found = [event for event in seen if isinstance(event, TokenEvent)]
    assert tokens(seen) == WORDS
    assert [[part.split(":")[0] for part in event.namespace or []] for event in found] == [["far"]] * 3


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
async def test_our_events_never_go_to_a_foreign_consumer(config: Any) -> None:
    available: list[bool] = []

    async def look_and_speak(state: Numbers) -> dict[str, Any]:
        available.append(is_available())
        return await speak(state)

    inner = around(look_and_speak)
    foreign: list[Any] = []

    async def node(state: Numbers) -> Any:
        parts = inner.astream({"x": 1}, config, stream_mode=["custom", "values"])
        available.append(is_available())
        foreign.extend([part async for part in parts])
        return {}

    received = await collect(around(node), {"x": 0})
    assert available == [True, False]
    assert [data for mode, data in foreign if mode == "custom"] == ["written"]
    assert [name for name, _ in customs(received)] == ["inner"]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=list(CONFIGS))
async def test_events_of_a_graph_awaited_apart_are_not_lost(config: Any) -> None:
    inner = around(speak)

    async def node(state: Numbers) -> Any:
        return await inner.ainvoke({"x": 1}, config)

    received = await collect(around(node), {"x": 0})
    assert "inner" in [name for name, _ in customs(received)]
