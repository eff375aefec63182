"""Handlers of every form: how they are called, what they stream, and what comes out."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any, Optional

import pytest

from dockrion_adapters import (
    Adapter,
    AsyncAdapter,
    DescribesItself,
    EventStream,
    HandlerAdapter,
    LoadError,
    StreamingAdapter,
)
from dockrion_events import (
    CheckpointEvent,
    CompleteEvent,
    CustomEvent,
    Event,
    EventsFilter,
    StartedEvent,
    StreamContext,
    StreamingBackend,
    TokenEvent,
    context_scope,
    decode_event,
    get_current_context,
)

if TYPE_CHECKING:
    from nowhere import Nothing  # type: ignore[import-not-found]

PATIENCE = 20.0


async def collect(stream: EventStream[Any]) -> list[Any]:
    async with stream:
        return [event async for event in stream]


def shown(events: list[Event]) -> list[tuple[str, Any]]:
    """Each event as its type and the one field that matters."""
    fields = {"token": "content", "progress": "progress", "started": "agent_name", "complete": "output"}
    return [(e.type, getattr(e, fields.get(e.type, "data"))) for e in events]


# -- forms -----------------------------------------------------------------------------------------


def sync(payload: dict[str, Any]) -> dict[str, Any]:
    return {"got": payload}


async def asynchronous(payload: dict[str, Any]) -> dict[str, Any]:
    await asyncio.sleep(0)
    return {"got": payload}


def generator(payload: dict[str, Any]) -> Iterator[Any]:
    yield "a"
    return {"got": payload}


async def async_generator(payload: dict[str, Any]) -> AsyncIterator[Any]:
    yield {"got": payload}


def returns_coroutine(payload: dict[str, Any]) -> Any:
    return asynchronous(payload)


def returns_async_generator(payload: dict[str, Any]) -> Any:
    return async_generator(payload)


class Callable_:
    def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": payload}

    def method(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": payload}

    async def async_method(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": payload}

    @staticmethod
    def static(payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": payload}

    @classmethod
    def of_class(cls, payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": payload}


class AsyncCallable:
    async def __call__(self, payload: dict[str, Any]) -> dict[str, Any]:
        return {"got": payload}


class AsyncGeneratorCallable:
    async def __call__(self, payload: dict[str, Any]) -> AsyncIterator[Any]:
        yield {"got": payload}


def more(payload: dict[str, Any], key: str, *, flag: bool) -> dict[str, Any]:
    return {key: payload} if flag else {}


def decorated(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


FORMS = {
    "function": sync,
    "coroutine function": asynchronous,
    "generator": generator,
    "async generator": async_generator,
    "returns a coroutine": returns_coroutine,
    "returns an async generator": returns_async_generator,
    "callable object": Callable_(),
    "async callable object": AsyncCallable(),
    "async generator object": AsyncGeneratorCallable(),
    "method": Callable_().method,
    "async method": Callable_().async_method,
    "static method": Callable_.static,
    "class method": Callable_.of_class,
    "lambda": lambda payload: {"got": payload},
    "partial": functools.partial(more, key="got", flag=True),
    "partial of a coroutine function": functools.partial(asynchronous),
    "partial of a partial": functools.partial(functools.partial(more, flag=True), key="got"),
    "decorated": decorated(sync),
    "decorated coroutine function": decorated(asynchronous),
    "any arguments": lambda *args: {"got": args[0]},
    "with defaults": lambda payload=None, other=5: {"got": payload},
}


@pytest.mark.parametrize("handler", FORMS.values(), ids=FORMS.keys())
async def test_every_form_in_every_way(handler: Callable[..., Any]) -> None:
    payload = {"q": object()}
    adapter = HandlerAdapter(handler)
    for output in (
        await adapter.ainvoke(payload),
        adapter.invoke(payload),  # within a running loop, too
        await asyncio.to_thread(adapter.invoke, payload),
        (await collect(adapter.invoke_stream(payload)))[-1].output,
    ):
        assert output == {"got": payload}
        assert output["got"] is payload


def test_a_builtin_is_a_handler() -> None:
    assert HandlerAdapter(len).invoke({"a": 1}) == 1
    assert HandlerAdapter(print).invoke({"a": 1}) is None
    assert HandlerAdapter(json.dumps).invoke({"a": 1}) == '{"a": 1}'


def test_the_output_is_the_very_object() -> None:
    output = object()
    assert HandlerAdapter(lambda payload: output).invoke({}) is output


async def test_the_streamed_output_is_the_very_object() -> None:
    output = object()
    events = await collect(HandlerAdapter(lambda payload: output).invoke_stream({}))
    assert events[-1].output is output


def test_it_is_an_adapter_with_its_abilities() -> None:
    adapter = HandlerAdapter(sync)
    for protocol in (Adapter, AsyncAdapter, StreamingAdapter, DescribesItself, StreamingBackend):
        assert isinstance(adapter, protocol)
    assert adapter.framework == "handler"
    assert adapter.agent_name == "sync"
    assert adapter.metadata() == {"asynchronous": False}


# -- the context parameter -------------------------------------------------------------------------


def by_name(payload: Any, context: Any = None) -> Any:
    return context


def by_name_without_default(payload: Any, context: Any) -> Any:
    return context


def by_name_keyword_only(payload: Any, *, context: Any) -> Any:
    return context


def by_annotation(payload: Any, stream: StreamContext) -> Any:
    return stream


def by_string(payload: Any, stream: "StreamContext") -> Any:  # noqa: UP037
    return stream


def by_optional(payload: Any, stream: Optional[StreamContext] = None) -> Any:  # noqa: UP045
    return stream


def by_union(payload: Any, stream: StreamContext | None = None) -> Any:
    return stream


def by_annotated(payload: Any, stream: Annotated[StreamContext, "extra"]) -> Any:
    return stream


def beside_an_unknown_name(payload: Nothing, stream: StreamContext | None = None) -> Any:
    return stream


def positional_only(payload: Any, context: Any, /) -> Any:
    return context


async def asynchronous_by_annotation(payload: Any, stream: StreamContext) -> Any:
    return stream


class WithContext:
    def __call__(self, payload: Any, stream: StreamContext) -> Any:
        return stream

    def method(self, payload: Any, context: Any = None) -> Any:
        return context


def behind_another(payload: Any, limit: int = 3, context: Any = None) -> Any:
    return context


CONTEXTS = {
    "name": by_name,
    "name without default": by_name_without_default,
    "keyword only": by_name_keyword_only,
    "annotation": by_annotation,
    "string": by_string,
    "optional": by_optional,
    "union": by_union,
    "annotated": by_annotated,
    "unknown name beside it": beside_an_unknown_name,
    "coroutine function": asynchronous_by_annotation,
    "callable object": WithContext(),
    "method": WithContext().method,
    "partial": functools.partial(by_annotation),
    "decorated": decorated(by_annotation),
    "behind another": behind_another,
}


@pytest.mark.parametrize("handler", CONTEXTS.values(), ids=CONTEXTS.keys())
async def test_the_context_is_handed_over(handler: Callable[..., Any]) -> None:
    stream = HandlerAdapter(handler).invoke_stream({})
    assert (await collect(stream))[-1].output is stream.context
    given = StreamContext("mine")
    assert HandlerAdapter(handler).invoke({}, context=given) is given
    assert await HandlerAdapter(handler).ainvoke({}, context=given) is given


@pytest.mark.parametrize("handler", [sync, asynchronous, generator, async_generator])
async def test_the_current_context_is_the_executions(handler: Any) -> None:
    seen: list[object] = []

    def note(payload: Any) -> Any:
        seen.append(get_current_context())
        return handler(payload)

    stream = HandlerAdapter(note).invoke_stream({})
    await collect(stream)
    assert seen == [stream.context]
    assert get_current_context() is None


BAD = {
    "no parameter": (lambda: 1, "has to take the payload first"),
    "context alone": (lambda context: 1, "has to take the payload first"),
    "context first": (lambda context, payload: 1, "has to take the payload first"),
    "keywords only": (lambda **kwargs: 1, "has to take the payload first"),
    "keyword-only payload": (lambda *, payload: 1, "has to take the payload first"),
    "positional-only context": (positional_only, "takes context by position only"),
    "one too many": (lambda payload, other: 1, "nothing would fill other"),
    "two too many": (lambda payload, a, *, b: 1, "nothing would fill a, b"),
    "no callable": (5, "is a int, and a handler has to be callable"),
    "None": (None, "is a NoneType"),
    "class": (Callable_, "is a class; give an instance"),
    "text": ("handle", "write module:attribute"),
}


@pytest.mark.parametrize(("handler", "message"), BAD.values(), ids=BAD.keys())
def test_what_is_no_handler(handler: Any, message: str) -> None:
    with pytest.raises(LoadError, match=message):
        HandlerAdapter().load(handler)


async def test_nothing_is_loaded() -> None:
    for call in (HandlerAdapter().invoke, HandlerAdapter().invoke_stream):
        with pytest.raises(LoadError, match=r"call load\(\) first"):
            call({})
    with pytest.raises(LoadError, match=r"call load\(\) first"):
        await HandlerAdapter().ainvoke({})


# -- generators ------------------------------------------------------------------------------------

YIELDS: dict[str, tuple[list[Any], Any, list[tuple[str, Any]], Any]] = {
    # what is yielded, what is returned, the events between started and complete, the output
    "tokens": (["a", "", "b"], None, [("token", "a"), ("token", ""), ("token", "b")], {"text": "ab"}),
    "nothing": ([], None, [], {"text": ""}),
    "a dict": ([{"n": 1}], None, [("custom:partial", {"n": 1})], {"n": 1}),
    "the last dict": ([{"n": 1}, "x", {"n": 2}, "y"], None,
                      [("custom:partial", {"n": 1}), ("token", "x"), ("custom:partial", {"n": 2}),
                       ("token", "y")], {"n": 2}),
    "an empty dict": (["a", {}], None, [("token", "a"), ("custom:partial", {})], {}),
    "a list": ([[1, 2]], None, [("custom:partial", [1, 2])], {"text": ""}),
    "events": ([CheckpointEvent("c", 1), CustomEvent("custom:mine", 2)], None,
               [("checkpoint", 1), ("custom:mine", 2)], {"text": ""}),
    "token events": (["a", TokenEvent("b")], None, [("token", "a"), ("token", "b")], {"text": "ab"}),
    "a bare yield": ([None, "a", None], None, [("token", "a")], {"text": "a"}),
    "mandatory events": ([StartedEvent("x"), CompleteEvent(1, 1.0, {}), "a"], None, [("token", "a")],
                         {"text": "a"}),
    "a return value": (["a", {"n": 1}], {"r": 1}, [("token", "a"), ("custom:partial", {"n": 1})], {"r": 1}),
    "a false return value": (["a"], 0, [("token", "a")], 0),
}  # fmt: skip


@pytest.mark.parametrize(("yields", "returns", "events", "output"), YIELDS.values(), ids=YIELDS.keys())
async def test_what_a_generator_yields(
    yields: list[Any], returns: Any, events: list[tuple[str, Any]], output: Any
) -> None:
    def agent(payload: Any) -> Iterator[Any]:
        yield from yields
        return returns

    got = await collect(HandlerAdapter(agent).invoke_stream({}))
    assert shown(got) == [("started", "agent"), *events, ("complete", output)]
    assert [event.sequence for event in got] == list(range(1, len(got) + 1))
    assert HandlerAdapter(agent).invoke({}) == output
    assert await HandlerAdapter(agent).ainvoke({}) == output


@pytest.mark.parametrize(
    ("yields", "events", "output"),
    [(row[0], row[2], row[3]) for row in YIELDS.values() if row[1] is None],
    ids=[name for name, row in YIELDS.items() if row[1] is None],
)
async def test_what_an_async_generator_yields(
    yields: list[Any], events: list[tuple[str, Any]], output: Any
) -> None:
    async def agent(payload: Any) -> AsyncIterator[Any]:
        for item in yields:
            yield item

    got = await collect(HandlerAdapter(agent).invoke_stream({}))
    assert shown(got) == [("started", "agent"), *events, ("complete", output)]
    assert await HandlerAdapter(agent).ainvoke({}) == output


async def test_an_object_yielded_twice_is_two_events() -> None:
    event = TokenEvent("a")

    async def agent(payload: Any) -> AsyncIterator[Any]:
        yield event
        yield event

    got = await collect(HandlerAdapter(agent).invoke_stream({}))
    assert [e.sequence for e in got] == [1, 2, 3, 4]


async def test_a_bare_yield_gives_way() -> None:
    turned = asyncio.Event()

    async def agent(payload: Any) -> AsyncIterator[Any]:
        asyncio.get_running_loop().call_soon(turned.set)
        while not turned.is_set():
            yield

    assert (await HandlerAdapter(agent).ainvoke({})) == {"text": ""}


# -- while it runs ---------------------------------------------------------------------------------


@pytest.mark.parametrize("serialize", [False, True])
async def test_events_arrive_while_a_synchronous_handler_runs(serialize: bool) -> None:
    seen = threading.Event()
    waited: list[bool] = []

    def agent(payload: Any, context: StreamContext) -> str:
        context.sync_emit_progress("half", 0.5)
        waited.append(seen.wait(PATIENCE))
        return "done"

    types = []
    async for item in HandlerAdapter(agent).invoke_stream({}, serialize=serialize):
        event = decode_event(item) if isinstance(item, str) else item
        types.append(event.type)
        if event.type == "progress":
            seen.set()
    assert types == ["started", "progress", "complete"]
    assert waited == [True]


async def test_events_arrive_while_an_asynchronous_handler_runs() -> None:
    seen = asyncio.Event()

    async def agent(payload: Any, context: StreamContext) -> str:
        await context.emit_progress("half", 0.5)
        await seen.wait()
        return "done"

    async for event in HandlerAdapter(agent).invoke_stream({}):
        if event.type == "progress":
            seen.set()
    assert event.output == "done"  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", ["sync", "async"])
async def test_what_a_generator_yields_arrives_before_it_goes_on(kind: str) -> None:
    seen = threading.Event()
    waited: list[bool] = []

    def agent(payload: Any) -> Iterator[str]:
        yield "a"
        waited.append(seen.wait(PATIENCE))
        yield "b"

    async def async_agent(payload: Any) -> AsyncIterator[str]:
        yield "a"
        waited.append(await asyncio.to_thread(seen.wait, PATIENCE))
        yield "b"

    async for event in HandlerAdapter(agent if kind == "sync" else async_agent).invoke_stream({}):
        if isinstance(event, TokenEvent) and event.content == "a":
            seen.set()
    assert waited == [True]


# -- options of a stream ---------------------------------------------------------------------------


def chatty(payload: Any, context: StreamContext) -> dict[str, Any]:
    context.sync_emit_token("t")
    context.sync_emit_step("s")
    context.sync_emit_progress("p", 0.5)
    context.sync_checkpoint("c", 1)
    context.sync_emit("fraud_check", {"ok": True})
    context.sync_emit("other")
    return {"done": True}


@pytest.mark.parametrize(
    ("events", "types"),
    [
        (None, ["token", "step", "progress", "checkpoint", "custom:fraud_check", "custom:other"]),
        ("chat", ["token", "step"]),
        ("minimal", []),
        (["token", "custom:fraud_check"], ["token", "custom:fraud_check"]),
    ],
)
async def test_the_filter(events: Any, types: list[str]) -> None:
    got = await collect(HandlerAdapter(chatty).invoke_stream({}, events_filter=EventsFilter(events)))
    assert [event.type for event in got] == ["started", *types, "complete"]
    assert [event.sequence for event in got] == list(range(1, len(got) + 1))


async def test_serialised_events_are_json_objects() -> None:
    stream = HandlerAdapter(chatty).invoke_stream({}, serialize=True)
    items = await collect(stream)
    assert all(type(item) is str for item in items)
    objects = [json.loads(item) for item in items]
    assert objects[1].keys() == {"type", "content", "timestamp", "request_id", "sequence"}
    assert [o["sequence"] for o in objects] == list(range(1, 9))
    assert {o["request_id"] for o in objects} == {stream.context.run_id}
    assert objects[0]["agent_name"] == "chatty"
    assert objects[0]["framework"] == "handler"
    assert objects[-1]["output"] == {"done": True}
    assert objects[-1]["latency_seconds"] >= 0
    assert objects[-1]["metadata"] == {}


async def test_a_serialised_execution_is_not_changed_by_later_mutation() -> None:
    def agent(payload: Any, context: StreamContext) -> Any:
        data = {"n": [1]}
        context.sync_checkpoint("c", data)
        data["n"].append(2)
        return data

    items = [
        json.loads(item) for item in await collect(HandlerAdapter(agent).invoke_stream({}, serialize=True))
    ]
    assert items[1]["data"] == {"n": [1]}
    assert items[2]["output"] == {"n": [1, 2]}


async def test_the_callers_context_is_used() -> None:
    context = StreamContext("mine", events_filter=EventsFilter("chat"))
    got = await collect(HandlerAdapter(chatty).invoke_stream({}, context=context))
    assert [event.type for event in got] == ["started", "token", "step", "complete"]
    assert {event.request_id for event in got} == {"mine"}


async def test_a_context_serves_one_stream() -> None:
    context = StreamContext("mine")
    await collect(HandlerAdapter(sync).invoke_stream({}, context=context))
    with pytest.raises(RuntimeError, match="another stream"):
        await collect(HandlerAdapter(sync).invoke_stream({}, context=context))


@pytest.mark.parametrize("serialize", [False, True])
async def test_started_comes_first_though_the_caller_emitted_before(serialize: bool) -> None:
    context = StreamContext("mine")
    context.sync_emit_token("early")
    items = await collect(HandlerAdapter(sync).invoke_stream({}, context=context, serialize=serialize))
    events = [decode_event(item) if serialize else item for item in items]
    assert [event.type for event in events] == ["started", "token", "complete"]
    assert [event.sequence for event in events] == [1, 2, 3]
    assert {type(item) is str for item in items} == {serialize}


async def test_a_context_and_a_filter_are_one_too_many() -> None:
    with pytest.raises(TypeError, match="a context or an events_filter"):
        HandlerAdapter(sync).invoke_stream({}, context=StreamContext("a"), events_filter=EventsFilter())


async def test_unknown_options_are_refused_at_the_call() -> None:
    with pytest.raises(TypeError, match="unexpected keyword"):
        HandlerAdapter(sync).invoke_stream({}, durability="sync")  # type: ignore[call-overload]


def test_events_of_a_plain_invocation_wait_in_its_context() -> None:
    context = StreamContext("mine", events_filter=EventsFilter("chat"))
    assert HandlerAdapter(chatty).invoke({}, context=context) == {"done": True}
    assert [event.type for event in context.drain_queued_events()] == ["token", "step"]


async def test_without_a_context_a_plain_invocation_keeps_the_life_cycle_to_itself() -> None:
    async def agent(payload: Any, context: StreamContext) -> str:
        with pytest.warns(UserWarning, match="was ignored"):
            await context.emit_complete("mine", 1.0)
        await context.emit_token("x")
        context.sync_emit("x")
        return "done"

    assert await HandlerAdapter(agent).ainvoke({}) == "done"


# -- as the streaming backend of its handlers ------------------------------------------------------


async def test_events_of_an_agent_within_an_agent_go_where_they_were_emitted() -> None:
    def inner_watched(payload: Any, context: StreamContext) -> str:
        context.sync_emit_token("inner")
        return "inner output"

    async def outer(payload: Any, context: StreamContext) -> list[str]:
        await context.emit_token("before")
        HandlerAdapter(lambda _: context.sync_emit_token("from a tool")).invoke({})
        await HandlerAdapter(lambda _: context.sync_emit_token("from another")).ainvoke({})

        def watched(_: Any, context: StreamContext, outside: StreamContext = context) -> None:
            context.sync_emit_token("its own")
            outside.sync_emit_token("from a watched tool")

        events = await collect(HandlerAdapter(watched).invoke_stream({}))
        return [event.content for event in events if isinstance(event, TokenEvent)]

    got = await collect(HandlerAdapter(outer).invoke_stream({}))
    contents = [event.content for event in got if isinstance(event, TokenEvent)]
    assert contents == ["before", "from a tool", "from another", "from a watched tool"]
    assert got[-1].output == ["its own"]


def test_emit_answers_by_where_it_is_called() -> None:
    adapter, context = HandlerAdapter(sync), StreamContext("mine")
    event = TokenEvent("a")
    assert adapter.name == "handler"
    assert not adapter.is_available()
    assert adapter.emit(event) is False
    with context_scope(context):
        assert adapter.is_available()
        assert adapter.emit(event) is True
    assert context.queue.drain() == [event]


@pytest.mark.parametrize("serialize", [False, True])
async def test_a_context_with_this_backend_emits_into_the_execution_it_is_used_in(serialize: bool) -> None:
    left: list[list[Event]] = []

    async def agent(payload: Any) -> str:
        inner = StreamContext("inner", streaming_backend=adapter)
        await inner.emit_started("not the stream's")
        await inner.emit_token("a")
        inner.sync_emit_progress("not allowed", 0.5)
        await inner.emit_complete("not the stream's", 1.0)
        left.append(inner.drain_queued_events())
        return "done"

    adapter = HandlerAdapter(agent)
    stream = adapter.invoke_stream({}, events_filter=EventsFilter("chat"), serialize=serialize)
    events = [decode_event(item) if serialize else item for item in await collect(stream)]
    assert shown(events) == [("started", "agent"), ("token", "a"), ("complete", "done")]
    assert [event.sequence for event in events] == [1, 2, 3]
    assert {event.request_id for event in events} == {stream.context.run_id}
    assert [event.type for event in left[0]] == ["started", "progress", "complete"]


async def test_bare_threads_reach_their_own_execution() -> None:
    def agent(payload: Any, context: StreamContext) -> None:
        threads = [threading.Thread(target=context.sync_emit_token, args=(str(n),)) for n in range(3)]
        for thread in threads:
            thread.start()
            thread.join()

    got = await collect(HandlerAdapter(agent).invoke_stream({}))
    assert [event.content for event in got[1:-1]] == ["0", "1", "2"]
