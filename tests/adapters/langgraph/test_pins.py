"""What the adapter relies on and LangGraph does not promise; an upgrade that changes it shows here."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.config import get_stream_writer
from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.pregel.protocol import StreamProtocol
from langgraph.runtime import Runtime
from langgraph.types import Interrupt, interrupt

from dockrion_adapters.langgraph.surroundings import RUNTIME_KEY, SAVER_KEY, STREAM_KEY

from .graphs import loop
from .states import Numbers, chain
from .support import Scripted, ScriptedAsync, chunks_of
from .test_tokens import HI, async_node, graph_of

ALL: Any = ["updates", "values", "messages", "tasks", "custom"]


def around(node: Any, **options: Any) -> Any:
    return StateGraph(Numbers).add_node("node", node).add_edge(START, "node").compile(**options)


async def parts_of(graph: Any, payload: Any, config: Any = None, modes: Any = ALL) -> list[Any]:
    return [part async for part in graph.astream(payload, config, stream_mode=modes, subgraphs=True)]


class Seen:
    """What a node finds: the config that LangGraph gave it, and the writer."""

    def __init__(self) -> None:
        self.configurable: dict[str, Any] = {}
        self.writers: list[Any] = []

    def node(self, state: Numbers) -> dict[str, Any]:
        config = var_child_runnable_config.get()
        assert config is not None
        self.configurable = config["configurable"]
        self.writers = [get_stream_writer(), self.configurable[RUNTIME_KEY].stream_writer]
        get_stream_writer()("written")
        return {}


def seeded(modes: set[Any], parts: list[Any], written: list[Any]) -> Any:
    """Return a config that asks a run, and all it holds, to report into these lists."""
    return {
        "configurable": {
            STREAM_KEY: StreamProtocol(parts.append, modes),
            RUNTIME_KEY: Runtime(stream_writer=written.append),
        }
    }


@pytest.mark.parametrize("deep", [False, True], ids=["root", "subgraph"])
async def test_a_run_reports_to_the_stream_and_the_writer_of_its_config(deep: bool) -> None:
    seen = Seen()
    graph = around(around(seen.node)) if deep else around(seen.node)
    for run in (graph.ainvoke, graph.invoke):
        parts: list[Any] = []
        written: list[Any] = []
        config = seeded({"tasks"}, parts, written)
        result = run({"x": 1}, config)
        assert (result if isinstance(result, dict) else await result) == {"x": 1, "trail": []}
        assert {mode for _, mode, _ in parts} == {"tasks"}
        assert parts[0][0] == ()
        assert len(parts) == (4 if deep else 2)
        assert written == ["written"]
        assert seen.writers == [config["configurable"][RUNTIME_KEY].stream_writer] * 2


async def test_a_part_is_reported_before_the_code_behind_it_runs() -> None:
    order: list[str] = []

    async def first(state: Numbers) -> dict[str, Any]:
        order.append("first")
        return {}

    async def second(state: Numbers) -> dict[str, Any]:
        order.append("second")
        return {}

    def report(part: Any) -> None:
        order.append(("end " if "result" in part[2] else "start ") + part[2]["name"])

    inner = StateGraph(Numbers).add_node(first).add_node(second)
    inner.add_edge(START, "first").add_edge("first", "second")
    config = seeded({"tasks"}, [], [])
    config["configurable"][STREAM_KEY] = StreamProtocol(report, {"tasks"})
    await around(inner.compile()).ainvoke({"x": 1}, config)
    within = ["start first", "first", "end first", "start second", "second", "end second"]
    assert order == ["start node", *within, "end node"]


def test_the_handler_of_messages_takes_a_function_and_whether_subgraphs_count() -> None:
    taken: list[Any] = []
    handler = StreamMessagesHandler(taken.append, True)
    assert handler.run_inline
    model = Scripted(chunks=chunks_of("a b"))
    around(lambda _: model.invoke("hi") and {}).invoke({"x": 1}, {"callbacks": [handler]})
    assert [(mode, message.content) for _, mode, (message, _) in taken] == [
        ("messages", "a "),
        ("messages", "b"),
        ("messages", ""),
    ]


def test_the_handler_of_messages_keeps_the_calls_of_models_and_the_ids_it_has_passed_on() -> None:
    taken: list[Any] = []
    handler = StreamMessagesHandler(taken.append, True)
    seen: list[Any] = []

    class Looking(Scripted):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            for chunk in super()._stream(*args, **kwargs):
                seen.append([(ns, about["langgraph_node"]) for ns, about in handler.metadata.values()])
                yield chunk

    model = Looking(chunks=chunks_of("a b"))
    around(lambda _: model.invoke("hi") and {}).invoke({"x": 1}, {"callbacks": [handler]})
    assert seen == [[((), "node"), ((), "node")]] * 2  # the node and the model, each by its run
    assert handler.metadata == {}
    assert "m" in handler.seen


async def test_langchain_names_the_chunks_that_their_model_does_not() -> None:
    """The last chunk too, which is its own; so the chunks of one message differ in their ids."""
    parts = await parts_of(graph_of(talk=async_node(ScriptedAsync(chunks=chunks_of("a b")))), HI)
    ids = [data[0].id for _, mode, data in parts if mode == "messages"]
    assert ids[:2] == ["m", "m"]
    assert ids[2].startswith("lc_run-")
    (whole,) = parts[-1][2]["messages"][1:]
    assert whole.id == "m"


def test_models_stream_for_the_handler_of_messages_and_not_for_every_other() -> None:
    class Asked(Scripted):
        def _stream(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("streamed")

    model = Asked(chunks=chunks_of("a b"))
    model.invoke("hi", {"callbacks": [BaseCallbackHandler()]})
    with pytest.raises(AssertionError, match="streamed"):
        model.invoke("hi", {"callbacks": [StreamMessagesHandler(lambda _: None, True)]})


async def test_the_saver_is_lent_in_the_config() -> None:
    seen, saver = Seen(), InMemorySaver()
    await parts_of(around(seen.node, checkpointer=saver), {"x": 1}, {"configurable": {"thread_id": "t"}})
    assert seen.configurable[SAVER_KEY] is saver


async def test_the_shapes_of_the_parts() -> None:
    parts = await parts_of(around(chain(Numbers, "a").compile()), {"x": 1})
    assert all(isinstance(part, tuple) and len(part) == 3 for part in parts)
    namespaces = {part[0] for part in parts}
    assert () in namespaces
    assert all(isinstance(namespace, tuple) for namespace in namespaces)
    assert {namespace[0].split(":")[0] for namespace in namespaces if namespace} == {"node"}
    tasks = [data for namespace, mode, data in parts if mode == "tasks" and namespace == ()]
    assert [set(data) >= keys for data, keys in zip(tasks, _TASK_KEYS, strict=True)] == [True, True]
    assert tasks[0]["id"] == tasks[1]["id"]
    assert "result" not in tasks[0]


_TASK_KEYS: tuple[set[str], ...] = (
    {"id", "name", "input", "triggers"},
    {"id", "name", "error", "result", "interrupts"},
)


async def test_within_a_node_the_first_task_has_the_graphs_own_namespace() -> None:
    inner = around(around(lambda _: {"x": interrupt("?")}))
    first: list[Any] = []

    async def node(state: Numbers) -> Any:
        for _ in range(2):
            parts = inner.astream({"x": 1}, stream_mode=["tasks"], subgraphs=True)
            first.append(await anext(parts))
            await parts.aclose()
        return {}

    await around(node).ainvoke({"x": 0})
    (once, mode, _), (again, _, _) = first
    assert mode == "tasks"
    assert [part.split(":")[0] for part in once] == ["node"]
    assert again == (*once, "1")


async def test_the_shapes_of_messages() -> None:
    parts = await parts_of(graph_of(talk=async_node(ScriptedAsync(chunks=chunks_of("a b")))), HI)
    messages = [data for _, mode, data in parts if mode == "messages"]
    assert [type(message) for message, _ in messages] == [AIMessageChunk] * len(messages)
    assert [message.content for message, _ in messages] == ["a ", "b", ""]
    assert {about["langgraph_node"] for _, about in messages} == {"talk"}


async def test_the_shape_of_interrupts() -> None:
    parts = await parts_of(around(around(lambda _: {"x": interrupt("?")})), {"x": 1})
    (update,) = [data for ns, mode, data in parts if ns == () and mode == "updates"]
    (found,) = update["__interrupt__"]
    assert isinstance(found, Interrupt)
    last = [data for ns, mode, data in parts if ns == () and mode == "values"][-1]
    assert last["__interrupt__"] == (found,)


async def test_messages_without_id_get_one_in_messages_mode() -> None:
    """So an output's messages may have ids where tokens are streamed, and none bare."""

    class Plain(Numbers, total=False):
        said: list[Any]

    def say(state: Any) -> Any:
        return {"said": [AIMessage("hi")]}

    builder: Any = StateGraph(Plain).add_node("say", say).add_edge(START, "say")
    graph = builder.compile()
    assert (await graph.ainvoke({"x": 1}))["said"][0].id is None
    parts = await parts_of(graph, {"x": 1})
    assert parts[-1][2]["said"][0].id is not None


async def test_langgraphs_own_recursion_limit_is_far_off() -> None:
    builder = chain(Numbers, "a")
    builder.add_conditional_edges("a", lambda state: "a" if state["x"] < 1500 else "__end__")
    assert (await builder.compile().ainvoke({"x": 0}))["x"] == 1500
    with pytest.raises(GraphRecursionError):
        await loop()[0].ainvoke({"x": 0}, {"recursion_limit": 2})
