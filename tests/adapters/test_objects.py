"""Objects with the methods of an agent: which is called, with what, and what becomes of what it gives."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from dockrion_adapters import HandlerAdapter, LoadError, ObjectAdapter, adapter_of, get_adapter
from dockrion_events import (
    CompleteEvent,
    CustomEvent,
    Event,
    EventsFilter,
    ProgressEvent,
    RunCancelled,
    StreamContext,
    TokenEvent,
    get_current_context,
)


class Agent:
    """Has the methods that it is made with."""

    def __init__(self, **methods: Any) -> None:
        self.__dict__.update(methods)


async def events_of(agent: Any, payload: Any = "hi", **options: Any) -> list[Event]:
    async with ObjectAdapter(agent).invoke_stream(payload, **options) as stream:
        return [event async for event in stream]


def output_of(events: list[Event]) -> Any:
    assert isinstance(events[-1], CompleteEvent)
    return events[-1].output


async def avalue(payload: Any) -> Any:
    return f"ainvoke {payload}"


def value(payload: Any) -> Any:
    return f"invoke {payload}"


async def tokens(payload: Any) -> AsyncIterator[Any]:
    yield "a"
    yield "b"


def sync_tokens(payload: Any) -> Iterator[Any]:
    yield "c"
    yield "d"


ALL = {"invoke": value, "ainvoke": avalue, "stream": sync_tokens, "astream": tokens}


def without(*names: str) -> Agent:
    return Agent(**{name: method for name, method in ALL.items() if name not in names})


@pytest.mark.parametrize(
    ("agent", "called", "acalled", "streamed"),
    [
        (without(), "invoke hi", "ainvoke hi", {"text": "ab"}),
        (without("astream"), "invoke hi", "ainvoke hi", {"text": "cd"}),
        (without("stream", "astream"), "invoke hi", "ainvoke hi", "ainvoke hi"),
        (without("stream", "astream", "ainvoke"), "invoke hi", "invoke hi", "invoke hi"),
        (without("stream", "astream", "invoke"), "ainvoke hi", "ainvoke hi", "ainvoke hi"),
        (without("invoke", "ainvoke"), {"text": "cd"}, {"text": "ab"}, {"text": "ab"}),
        (without("invoke", "ainvoke", "stream"), {"text": "ab"}, {"text": "ab"}, {"text": "ab"}),
        (without("invoke", "ainvoke", "astream"), {"text": "cd"}, {"text": "cd"}, {"text": "cd"}),
    ],
    ids=range(8),
)
async def test_which_method_is_called(agent: Any, called: Any, acalled: Any, streamed: Any) -> None:
    adapter = ObjectAdapter(agent)
    assert await asyncio.to_thread(adapter.invoke, "hi") == called
    assert adapter.invoke("hi") == called  # on a loop that runs already
    assert await adapter.ainvoke("hi") == acalled
    assert output_of(await events_of(agent)) == streamed


async def everything(payload: Any) -> AsyncIterator[Any]:
    yield "text"
    yield ProgressEvent("half", 0.5)
    yield None
    yield {"so": "far"}
    yield [1, 2]
    yield {"all": payload}


def sync_everything(payload: Any) -> Iterator[Any]:
    yield "text"
    yield ProgressEvent("half", 0.5)
    yield None
    yield {"so": "far"}
    yield [1, 2]
    yield {"all": payload}


async def a_list(payload: Any) -> list[Any]:
    return list(sync_everything(payload))


def passes_on(payload: Any) -> AsyncIterator[Any]:
    return everything(payload)


class Iterates:
    """An asynchronous iterator that is no generator."""

    def __init__(self, payload: Any) -> None:
        self._items = sync_everything(payload)

    def __aiter__(self) -> Iterates:
        return self

    async def __anext__(self) -> Any:
        for item in self._items:
            return item
        raise StopAsyncIteration


@pytest.mark.parametrize(
    "methods",
    [
        {"astream": everything},
        {"astream": passes_on},
        {"astream": a_list},
        {"astream": Iterates},
        {"astream": sync_everything},
        {"stream": sync_everything},
        {"stream": passes_on},
        {"stream": lambda payload: list(sync_everything(payload))},
        {"stream": lambda payload: iter(list(sync_everything(payload)))},
        {"invoke": sync_everything},
        {"ainvoke": everything},
    ],
    ids=range(11),
)
async def test_what_is_yielded_is_streamed(methods: dict[str, Any]) -> None:
    events = await events_of(Agent(**methods), 7)
    assert [event.type for event in events[1:-1]] == ["token", "progress", *["custom:partial"] * 3]
    assert [event.data for event in events if isinstance(event, CustomEvent)] == [
        {"so": "far"},
        [1, 2],
        {"all": 7},
    ]
    assert output_of(events) == {"all": 7}
    assert await ObjectAdapter(Agent(**methods)).ainvoke(7) == {"all": 7}


async def test_a_generators_return_value_is_the_output() -> None:
    def stream(payload: Any) -> Iterator[Any]:
        yield "a"
        return object

    assert output_of(await events_of(Agent(stream=stream))) is object


@pytest.mark.parametrize("output", ["text", b"x", {"a": 1}, 7, None], ids=repr)
async def test_a_streaming_method_that_gives_one_thing_gives_the_output(output: Any) -> None:
    assert output_of(await events_of(Agent(stream=lambda payload: output))) == output


async def test_the_output_is_the_very_object() -> None:
    one = object()
    assert output_of(await events_of(Agent(invoke=lambda payload: one))) is one
    assert await ObjectAdapter(Agent(invoke=lambda payload: one)).ainvoke(0) is one


async def test_config_context_and_options_go_where_they_are_taken() -> None:
    class Wants:
        name = "wanting"

        def invoke(self, payload: Any, config: Any, *, told: StreamContext, **rest: Any) -> Any:
            assert told is get_current_context()
            return payload, config, rest

    adapter = ObjectAdapter(Wants())
    assert adapter.agent_name == "wanting"
    assert await adapter.ainvoke(1, config={"a": 1}, stop=2) == (1, {"a": 1}, {"stop": 2})
    events = await events_of(Wants(), 1, config={"a": 1}, stop=2)
    assert output_of(events) == (1, {"a": 1}, {"stop": 2})


async def test_synchronous_methods_run_in_threads_with_the_context() -> None:
    here = threading.get_ident()

    def stream(payload: Any) -> Iterator[Any]:
        context = get_current_context()
        assert context is not None
        assert threading.get_ident() != here
        context.sync_emit("within", n=1)
        yield "a"

    events = await events_of(Agent(stream=stream), events_filter=EventsFilter(["custom:within"]))
    assert [event.type for event in events] == ["started", "custom:within", "complete"]


async def test_cancelling_reaches_an_asynchronous_method() -> None:
    ended: list[str] = []

    async def astream(payload: Any) -> AsyncIterator[Any]:
        try:
            yield "a"
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise
        finally:
            ended.append("closed")

    async with ObjectAdapter(Agent(astream=astream)).invoke_stream(0) as stream:
        async for event in stream:
            if isinstance(event, TokenEvent):
                break
    assert ended == ["cancelled", "closed"]


async def test_a_synchronous_one_learns_it_at_its_next_word() -> None:
    go_on, ended = threading.Event(), asyncio.Event()
    loop, failures = asyncio.get_running_loop(), list[BaseException]()

    def words() -> Iterator[str]:
        yield "a"
        go_on.wait(20)
        yield "b"

    def stream(payload: Any) -> Iterator[Any]:
        try:
            yield from words()
        finally:
            loop.call_soon_threadsafe(ended.set)

    def watched(payload: Any) -> Iterator[Any]:
        try:
            context = get_current_context()
            assert context is not None
            for item in words():
                context.sync_emit_token(item)
        except RunCancelled as error:
            failures.append(error)
            raise
        finally:
            loop.call_soon_threadsafe(ended.set)
        yield None

    for method in (stream, watched):
        go_on.clear()
        ended.clear()
        async with ObjectAdapter(Agent(stream=method)).invoke_stream(0) as events:
            async for event in events:
                if isinstance(event, TokenEvent):
                    break
        go_on.set()
        await ended.wait()
    assert len(failures) == 1


async def test_a_failure_is_the_agents_own() -> None:
    error = KeyError("mine")

    def invoke(payload: Any) -> Any:
        raise error

    for run in (ObjectAdapter(Agent(invoke=invoke)).ainvoke(0), events_of(Agent(invoke=invoke))):
        with pytest.raises(KeyError) as caught:
            await run
        assert caught.value is error


class Callable(Agent):
    def __call__(self, payload: Any) -> Any:
        return payload


def test_which_adapter_an_object_wants() -> None:
    assert isinstance(get_adapter("object"), ObjectAdapter)
    assert isinstance(adapter_of(Agent(invoke=value)), ObjectAdapter)
    assert isinstance(adapter_of(Callable(stream=sync_tokens)), ObjectAdapter)
    assert isinstance(adapter_of(Callable()), HandlerAdapter)
    assert ObjectAdapter(without("stream")).metadata() == {"methods": ["invoke", "ainvoke", "astream"]}


@pytest.mark.parametrize(
    ("target", "said"),
    [
        (Agent(), "expected an object with invoke"),
        (Agent, "is a class Agent"),
        (Agent(invoke=3), "expected an object"),
        (Agent(invoke=lambda: 1), "payload first"),
        (Agent(invoke=lambda payload, more: 1), "nothing would fill more"),
        ("no_such_module_there:x", "no module"),
    ],
    ids=range(6),
)
def test_what_is_no_agent(target: Any, said: str) -> None:
    with pytest.raises(LoadError, match=said):
        ObjectAdapter(target)
    with pytest.raises(LoadError, match="no agent is loaded"):
        ObjectAdapter().invoke_stream({})
