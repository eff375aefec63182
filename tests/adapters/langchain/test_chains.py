"""LangChain's runnables: what comes out, what their models say on the way, and how they end."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

import pytest
from langchain_core.language_models import FakeListLLM
from langchain_core.messages import AIMessage, AIMessageChunk
from langchain_core.output_parsers import JsonOutputParser, StrOutputParser
from langchain_core.outputs import GenerationChunk
from langchain_core.prompts import ChatPromptTemplate, PromptTemplate
from langchain_core.runnables import Runnable, RunnableLambda, RunnableParallel, RunnablePassthrough
from langchain_core.tools import tool
from langchain_core.tracers._streaming import _StreamingCallbackHandler
from langgraph.graph import START, MessagesState, StateGraph

from dockrion_adapters import HandlerAdapter, LangChainAdapter, LoadError, adapter_of, get_adapter
from dockrion_adapters.langchain.handler import StreamingHandler
from dockrion_events import (
    Event,
    EventsFilter,
    StepEvent,
    StepStartedEvent,
    ToolCallEvent,
    ToolResultEvent,
    decode_event,
    get_current_context,
)
from dockrion_events.backends.queue import HIGH_WATER

from ..langgraph.support import (
    FILTERS,
    Log,
    Scripted,
    ScriptedAsync,
    Turns,
    Whole,
    check_form,
    chunks_of,
    customs,
    output_of,
    plain,
    steps,
    tokens,
    until_failure,
)
from ..langgraph.test_messages import SAID, SCRIPT, call, of, shown, usage

PROMPT = ChatPromptTemplate.from_messages([("system", "be short"), ("user", "{question}")])
ASKED = {"question": "who?"}


@tool
async def add(a: int, b: int) -> int:
    """Add."""
    context = get_current_context()
    assert context is not None
    await context.emit("added", sum=a + b)
    return a + b


@tool
def divide(a: int, b: int) -> float:
    """Divide."""
    return a / b


async def collect(chain: Any, payload: Any = ASKED, events: Any = "all", **options: Any) -> list[Event]:
    adapter = LangChainAdapter(chain)
    async with adapter.invoke_stream(payload, events_filter=EventsFilter(events), **options) as stream:
        received = [event async for event in stream]
    check_form(received)
    return received


def answered(model: Runnable[Any, Any]) -> dict[str, Runnable[Any, Any]]:
    """Return chains with the model in different places."""

    async def ask(payload: Any) -> Any:
        return await model.ainvoke(payload["question"])

    def ask_sync(payload: Any) -> Any:
        return model.invoke(payload["question"])

    async def ask_streaming(payload: Any) -> Any:
        return "".join([chunk.text async for chunk in model.astream(payload["question"])])

    return {
        "alone": RunnableLambda(lambda payload: payload["question"]) | model,
        "within": PROMPT | model | StrOutputParser() | RunnableLambda(str.upper),
        "lambda": RunnableLambda(ask),
        "sync": PROMPT | RunnableLambda(lambda _: ASKED) | RunnableLambda(ask_sync) | StrOutputParser(),
        "streamed": RunnableLambda(ask_streaming),
        "assigned": RunnablePassthrough.assign(answer=PROMPT | model),
        "fallback": (PROMPT | RunnableLambda(lambda _: 1 / 0)).with_fallbacks([PROMPT | model]),
        "retried": (PROMPT | model).with_retry(),
    }


@pytest.mark.parametrize("kind", [Scripted, ScriptedAsync])
@pytest.mark.parametrize("place", answered(Scripted(chunks=[])))
async def test_tokens_come_from_wherever_the_model_sits(kind: type[Scripted], place: str) -> None:
    chain = answered(kind(chunks=chunks_of("it was me")))[place]
    expected = await chain.ainvoke(ASKED)
    events = await collect(chain)
    assert tokens(events) == ["it ", "was ", "me"]
    assert plain(output_of(events)) == plain(expected)


@pytest.mark.parametrize("events", FILTERS, ids=str)
async def test_the_output_is_that_of_ainvoke_whatever_is_allowed(events: Any) -> None:
    for chain in answered(ScriptedAsync(chunks=chunks_of("it was me"))).values():
        received = await collect(chain, events=events)
        assert plain(output_of(received)) == plain(await chain.ainvoke(ASKED))
        allowed = EventsFilter(events)
        assert all(allowed.is_allowed(event.type) for event in received)


async def test_the_output_is_the_very_object() -> None:
    made: list[object] = []

    def make(_: Any) -> object:
        made.append(object())
        return made[-1]

    events = await collect(RunnableLambda(make))
    assert output_of(events) is made[0]


async def test_json_is_the_whole_and_its_text_still_streams() -> None:
    chain = PROMPT | ScriptedAsync(chunks=chunks_of('{"a": [1, 2]}')) | JsonOutputParser()
    events = await collect(chain)
    assert output_of(events) == {"a": [1, 2]}
    assert "".join(tokens(events)) == '{"a": [1, 2]}'


@pytest.mark.parametrize("kind", [Scripted, ScriptedAsync])
async def test_all_that_a_model_says(kind: type[Scripted]) -> None:
    events = await collect(PROMPT | kind(chunks=SCRIPT))
    assert shown(events) == [line.replace("talk", kind.__name__) for line in SAID]


async def test_a_model_that_cannot_stream_says_the_same_at_once() -> None:
    reply = AIMessage("so", id="m", usage_metadata=usage(7, 3),
                      tool_calls=[{"id": "1", "name": "add", "args": {"a": 1}}])  # fmt: skip
    events = await collect(Whole(replies=[reply]), "hi")
    assert shown(events) == ["start m assistant None", "token so", "call 1 add {'a': 1}", "usage 7+3=10",
                             "end m assistant None"]  # fmt: skip


async def test_a_model_that_knows_text_only() -> None:
    chain = PromptTemplate.from_template("{question}") | FakeListLLM(responses=["me"]) | StrOutputParser()
    events = await collect(chain, events=["token", "message"])
    first, text, last = events[1:-1]
    assert text.chunk == "me"
    assert (first.id, last.id) == (text.message_id, text.message_id)  # type: ignore[attr-defined]
    assert output_of(events) == "me"


class Talker(FakeListLLM):
    """Streams whether it is asked to or not, as some do with ``streaming=True``."""

    async def _acall(self, prompt: str, stop: Any = None, run_manager: Any = None, **kwargs: Any) -> str:
        for word in ("it ", "was"):
            await run_manager.on_llm_new_token(word, chunk=GenerationChunk(text=word))
        if "fail" in prompt:
            raise KeyError(prompt)
        return "it was"


async def test_a_model_that_knows_text_only_and_streams() -> None:
    chain = Talker(responses=[]) | RunnableLambda(str.upper)
    events = await collect(chain, "hi", events=["token", "message"])
    assert shown(events)[1:3] == ["token it ", "token was"]
    assert [event.type for event in events] == ["started", "message", "token", "token", "message", "complete"]
    assert output_of(events) == "IT WAS"
    async with LangChainAdapter(chain).invoke_stream("fail", events_filter=EventsFilter("all")) as stream:
        events, error = await until_failure(stream)
    assert isinstance(error, KeyError)
    assert shown(events)[-1].startswith("end ")
    assert shown(await collect(chain.with_config(tags=["nostream"]), "hi")) == []


async def test_a_silent_model_is_not_heard() -> None:
    model = ScriptedAsync(chunks=SCRIPT).with_config(tags=["nostream"])
    assert shown(await collect(PROMPT | model)) == []


async def test_two_models_side_by_side_are_told_apart() -> None:
    both = RunnableParallel(
        a=ScriptedAsync(chunks=chunks_of("a b", "x")), b=ScriptedAsync(chunks=chunks_of("c d", "y"))
    )
    events = await collect(both, "hi")
    assert [event.content for event in events if getattr(event, "message_id", "") == "x"] == ["a ", "b"]  # type: ignore[attr-defined]
    assert [event.content for event in events if getattr(event, "message_id", "") == "y"] == ["c ", "d"]  # type: ignore[attr-defined]
    assert sorted(steps(events)) == ["a", "b"]


# -- steps -----------------------------------------------------------------------------------------


async def test_the_steps_are_the_parts_of_the_chain() -> None:
    model = ScriptedAsync(chunks=chunks_of("it was"))
    events = await collect(PROMPT | model | StrOutputParser(), events=["step", "step_started"])
    names = [event.node_name for event in events if isinstance(event, StepStartedEvent | StepEvent)]
    expected = ["ChatPromptTemplate", "ScriptedAsync", "StrOutputParser"]
    assert names == [name for name in expected for _ in range(2)]
    first = of(events, StepEvent)[0]
    assert first.input_keys == ["question"]
    assert first.duration_ms >= 0


async def test_a_step_that_fails_has_no_end() -> None:
    broken = RunnableLambda(lambda _: 1 / 0, name="broken")
    async with LangChainAdapter(PROMPT | broken).invoke_stream(
        ASKED, events_filter=EventsFilter("all")
    ) as stream:
        events, error = await until_failure(stream)
    assert isinstance(error, ZeroDivisionError)
    assert [event.node_name for event in of(events, StepStartedEvent)] == ["ChatPromptTemplate", "broken"]
    assert steps(events) == ["ChatPromptTemplate"]


# -- tools -----------------------------------------------------------------------------------------


def calling(*calls: tuple[str, str, dict[str, Any]]) -> ScriptedAsync:
    return ScriptedAsync(
        chunks=[
            call(place, identifier, name, json.dumps(args))
            for place, (identifier, name, args) in enumerate(calls)
        ]
    )


def told(events: Sequence[Event]) -> list[tuple[Any, ...]]:
    return [(event.id, event.name, event.content, event.error) for event in of(events, ToolResultEvent)]


async def test_a_tool_called_with_the_call_of_a_model() -> None:
    async def use(message: AIMessage) -> Any:
        return [await add.ainvoke(one) for one in message.tool_calls]

    model = calling(("1", "add", {"a": 1, "b": 2}), ("2", "add", {"a": 3, "b": 4}))
    events = await collect(model | RunnableLambda(use), "hi")
    assert told(events) == [("1", "add", "3", False), ("2", "add", "7", False)]
    assert {event.id for event in of(events, ToolCallEvent)} == {"1", "2"}
    assert customs(events) == [("added", {"sum": 3}), ("added", {"sum": 7})]


async def test_a_tool_given_only_the_arguments_answers_the_call_they_came_from() -> None:
    async def use(message: AIMessage) -> Any:
        return [await add.ainvoke(one["args"]) for one in reversed(message.tool_calls)]

    model = calling(("1", "add", {"a": 1, "b": 2}), ("2", "add", {"a": 3, "b": 4}))
    events = await collect(model | RunnableLambda(use), "hi")
    assert told(events) == [("2", "add", 7, False), ("1", "add", 3, False)]
    assert {event.id for event in of(events, ToolCallEvent)} == {"1", "2"}


async def test_a_tool_that_no_model_called_has_a_call_of_its_own() -> None:
    events = await collect(add, {"a": 1, "b": 2})
    [called], [result] = of(events, ToolCallEvent), of(events, ToolResultEvent)
    assert (called.id, called.arguments) == (result.id, {"a": 1, "b": 2})
    assert output_of(events) == result.content == 3


async def test_a_tool_that_fails() -> None:
    model = calling(("1", "divide", {"a": 1, "b": 0}))
    chain = model | RunnableLambda(lambda message: divide.invoke(message.tool_calls[0]))
    async with LangChainAdapter(chain).invoke_stream("hi", events_filter=EventsFilter("all")) as stream:
        events, error = await until_failure(stream)
    assert isinstance(error, ZeroDivisionError)
    assert told(events) == [("1", "divide", "division by zero", True)]


async def test_a_graph_in_a_chain() -> None:
    model = Turns(turns=[chunks_of("hi you")])

    async def talk(state: MessagesState) -> Any:
        return {"messages": [await model.ainvoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node(talk).add_edge(START, "talk").compile()
    chain = RunnableLambda(lambda text: {"messages": [("user", text)]}) | graph
    events = await collect(chain, "hello")
    assert shown(events) == ["start m assistant talk", "token hi ", "token you", "end m assistant talk"]


# -- how it ends -----------------------------------------------------------------------------------


async def test_a_failure_is_the_chains_own_and_comes_last() -> None:
    error = KeyError("mine")

    def fail(_: Any) -> Any:
        context = get_current_context()
        assert context is not None
        context.sync_emit("before", n=1)
        raise error

    chain = PROMPT | ScriptedAsync(chunks=chunks_of("a b")) | RunnableLambda(fail)
    async with LangChainAdapter(chain).invoke_stream(ASKED) as stream:
        events, caught = await until_failure(stream)
    assert caught is error
    assert tokens(events) == ["a ", "b"]
    assert customs(events) == [("before", {"n": 1})]
    for run in (
        LangChainAdapter(chain).ainvoke(ASKED),
        asyncio.to_thread(LangChainAdapter(chain).invoke, ASKED),
    ):
        with pytest.raises(KeyError) as failed:
            await run
        assert failed.value is error


async def test_cancelling_reaches_the_model() -> None:
    log = Log()

    async def wait(_: Any) -> Any:
        log.add("begun")
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            log.add("cancelled")
            raise

    chain = PROMPT | RunnableParallel(a=RunnableLambda(wait), b=RunnablePassthrough())
    stream = LangChainAdapter(chain).invoke_stream(ASKED)
    task = asyncio.ensure_future(stream.__anext__())
    await task
    await log.reached("begun")
    await stream.aclose()
    assert log.done == ["begun", "cancelled"]


async def test_a_model_in_a_thread_waits_for_a_slow_reader() -> None:
    words = 3 * HIGH_WATER
    model = Scripted(chunks=[AIMessageChunk(content=".", id="m")] * words)
    chain = RunnableLambda(lambda payload: model.invoke(payload))
    stream = LangChainAdapter(chain).invoke_stream("hi", events_filter=EventsFilter(["token"]))
    async with stream:
        await stream.__anext__()
        queue = stream.context.queue
        while not queue.crowded:  # noqa: ASYNC110 - the thread that is slowed down tells nobody
            await asyncio.sleep(0.001)
        assert len(queue) <= HIGH_WATER + 1
        said = [event async for event in stream if event.chunk]
    assert len(said) == words


async def test_a_value_that_cannot_be_sent_does_not_break_the_chain() -> None:
    @tool
    def give() -> Any:
        """Give."""
        endless: list[Any] = []
        endless.append(endless)
        return endless

    chain = RunnableLambda(lambda _: give.invoke({})) | RunnableLambda(lambda _: "done")
    lines = [line async for line in LangChainAdapter(chain).invoke_stream(
        "hi", serialize=True, events_filter=EventsFilter(["tool_result"]))]  # fmt: skip
    result, last = (decode_event(line) for line in lines[1:])
    assert isinstance(result, ToolResultEvent)
    assert result.content == {"type": "builtins.list", "repr": "<not serialisable>"}
    assert last.output == "done"  # type: ignore[attr-defined]


# -- what it goes with -----------------------------------------------------------------------------


async def test_callbacks_and_config_of_the_caller_are_kept() -> None:
    heard: list[str] = []

    class Own(StreamingHandler):
        def on_llm_end(self, response: Any, **about: Any) -> Any:
            heard.append("end")

    config = {"callbacks": [Own([], lambda _: None)], "configurable": {"a": 1}}
    seen: list[Any] = []
    chain = (
        PROMPT | ScriptedAsync(chunks=chunks_of("a")) | RunnableLambda(lambda _, config: seen.append(config))
    )
    await collect(chain, config=config)
    assert heard == ["end"]
    assert seen[0]["configurable"]["a"] == 1
    assert len(config["callbacks"]) == 1  # type: ignore[arg-type]


async def test_options_are_the_runnables_own() -> None:
    class Wants(RunnableLambda[Any, Any]):
        async def ainvoke(self, input: Any, config: Any = None, **kwargs: Any) -> Any:  # noqa: A002
            return kwargs

    assert output_of(await collect(Wants(lambda x: x), stop=["x"])) == {"stop": ["x"]}


def test_langchain_knows_a_streaming_handler_by_its_methods() -> None:
    assert isinstance(StreamingHandler([], lambda _: None), _StreamingCallbackHandler)
    assert not isinstance(StreamingHandler.__base__([], lambda _: None), _StreamingCallbackHandler)  # type: ignore[misc]


def make_chain() -> Any:
    return PROMPT | FakeListLLM(responses=["made"])


def test_what_is_loaded() -> None:
    assert isinstance(get_adapter("langchain"), LangChainAdapter)
    assert isinstance(adapter_of(PROMPT | RunnableLambda(str)), LangChainAdapter)
    assert isinstance(adapter_of(add), LangChainAdapter)
    assert isinstance(adapter_of(str.upper), HandlerAdapter)
    adapter = LangChainAdapter(make_chain)
    assert adapter.invoke(ASKED) == "made"
    assert adapter.metadata() == {"steps": ["ChatPromptTemplate", "FakeListLLM"]}


async def _make() -> Any:
    return make_chain()


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (object(), "expected a Runnable"),
        (RunnableLambda, "class RunnableLambda"),
        (dict, "class dict"),
        (lambda: 1, "gave a int"),
        (lambda: 1 / 0, "ZeroDivisionError"),
        (_make, "gave a coroutine"),
        ("no_such_module_there:x", "no module"),
        (
            StateGraph(dict).add_node("a", lambda _: {}).add_edge(START, "a").compile(),
            "framework is langgraph",
        ),
    ],
    ids=range(8),
)
def test_what_is_not(target: Any, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        LangChainAdapter(target)
    with pytest.raises(LoadError, match="no runnable is loaded"):
        LangChainAdapter().invoke_stream({})


@pytest.mark.parametrize(
    ("chain", "payload"),
    [
        (PROMPT | FakeListLLM(responses=[]), {"question": "hi"}),
        (FakeListLLM(responses=[]), "hi"),
        (FakeListLLM(responses=[]).bind(stop=["x"]) | StrOutputParser(), "hi"),
        (ChatPromptTemplate.from_messages([("placeholder", "{talk}")]), None),
        (ChatPromptTemplate.from_messages([("user", "{a} {b}")]), None),
        (RunnableLambda(str), None),
    ],
    ids=range(6),
)
def test_how_a_chat_is_put(chain: Any, payload: Any) -> None:
    assert LangChainAdapter(chain).chat_payload("hi") == payload


def test_a_chunk_without_an_id_gets_one() -> None:
    model = ScriptedAsync(chunks=[AIMessageChunk("a"), AIMessageChunk("b")])
    events = asyncio.run(collect(model, "hi"))
    assert len({event.message_id for event in events[2:-2] if event.chunk}) == 1  # type: ignore[attr-defined]
