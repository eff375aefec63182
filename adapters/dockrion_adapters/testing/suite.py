"""The suite itself."""

from __future__ import annotations

import asyncio
import threading
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, ClassVar

from dockrion_events import (
    MANDATORY,
    CompleteEvent,
    EventsFilter,
    StartedEvent,
    StreamContext,
    TokenEvent,
    decode_event,
    get_current_context,
)
from dockrion_events.testing import PATIENCE

from ..base import Adapter, AsyncAdapter, StreamingAdapter
from ..errors import LoadError
from ..stream import EventStream
from .support import (
    Act,
    Own,
    acall,
    amarking,
    any_text,
    check_form,
    failing,
    marking,
    marks,
    on_a_loop,
    raised_by,
    received,
    text,
    until_failure,
    waiting,
    watch,
)

_AT_ONCE = 50
_ENDINGS = ("aclose", "async with", "cancelled")


class AdapterSuite(ABC):
    """What every `Adapter` has to do, and an `AsyncAdapter` and a `StreamingAdapter` besides.

    A subclass says how one is made. Every test gets a new adapter, and runs on an event loop of its own.
    """

    asynchronous: ClassVar[bool] = True
    """Whether the framework's agents can await; else `make` is given plain functions only."""

    payload: ClassVar[Any] = {"query": "hello"}
    """What the agents of `make` and `speaking` can be called with."""

    @abstractmethod
    def make(self, act: Act) -> Adapter:
        """Return an adapter with an agent that calls ``act`` with something, once, and returns its result.

        Where ``act`` is a coroutine function, the agent awaits what it returns.
        """

    def speaking(self, words: Sequence[str]) -> Adapter | None:
        """Return an adapter with an agent that says ``words``, a token each; None where there are none."""
        return None

    def is_output(self, output: Any, value: str) -> bool:
        """Say whether ``output`` is that of an agent whose ``act`` returned ``value``."""
        return output is value

    # -- what it is ----------------------------------------------------------------------------

    def test_it_satisfies_the_protocol(self) -> None:
        adapter = self.make(any_text)
        assert isinstance(adapter, Adapter)
        for name in (adapter.framework, adapter.agent_name):
            assert isinstance(name, str), f"{name!r} is no name"
            assert name.strip(), "a name is empty"

    def test_what_is_no_agent_cannot_be_loaded(self) -> None:
        adapter = self.make(any_text)
        for target in (object(), "no_such_module_anywhere:agent", "no entry point"):
            try:
                adapter.load(target)
            except LoadError:
                continue
            raise AssertionError(f"load({target!r}) has to raise LoadError")

    # -- one call ------------------------------------------------------------------------------

    def test_invoke_returns_the_agents_output(self) -> None:
        value = text()
        output = self.make(lambda _: value).invoke(self.payload)
        assert self.is_output(output, value), f"invoke returned {output!r}"
        assert get_current_context() is None

    def test_invoke_raises_what_the_agent_raises(self) -> None:
        error = Own("mine")
        adapter = self.make(failing(error))
        assert raised_by(lambda: adapter.invoke(self.payload)) is error
        assert raised_by(lambda: adapter.invoke(self.payload)) is error, "once more"

    def test_ainvoke_does_what_invoke_does(self) -> None:
        value, error = text(), Own("mine")
        good, bad = self.make(lambda _: value), self.make(failing(error))

        async def run() -> None:
            output = await acall(good, self.payload)
            assert self.is_output(output, value), f"ainvoke returned {output!r}"
            caught = (await asyncio.gather(acall(bad, self.payload), return_exceptions=True))[0]
            assert caught is error, f"ainvoke gave {caught!r} and not what the agent raised"

        on_a_loop(run())

    def test_events_wait_in_a_context_that_is_given(self) -> None:
        for call in (self._invoke, self._ainvoke):
            context = StreamContext("conformance", events_filter=EventsFilter(["custom:mark"]))
            call(self.make(marking), context)
            assert marks(context.drain_queued_events()) == [("conformance", place) for place in range(3)]

    def _invoke(self, adapter: Adapter, context: StreamContext) -> Any:
        return adapter.invoke(self.payload, context=context)

    def _ainvoke(self, adapter: Adapter, context: StreamContext) -> Any:
        return on_a_loop(acall(adapter, self.payload, context=context))

    # -- a stream ------------------------------------------------------------------------------

    def test_a_stream_is_the_whole_life_of_an_execution(self) -> None:
        value = text()
        adapter = self.make(lambda _: value)
        events = on_a_loop(received(watch(adapter, self.payload)))
        check_form(events)
        started, complete = events[0], events[-1]
        assert isinstance(started, StartedEvent)
        assert (started.agent_name, started.framework) == (adapter.agent_name, adapter.framework)
        assert isinstance(complete, CompleteEvent)
        assert self.is_output(complete.output, value), f"the output is {complete.output!r}"

    def test_nothing_runs_before_the_first_iteration(self) -> None:
        called: list[Any] = []

        async def run() -> None:
            stream = watch(self.make(called.append), self.payload)
            await asyncio.sleep(0)
            await stream.aclose()

        on_a_loop(run())
        assert called == []

    def test_the_agent_emits_through_the_current_context(self) -> None:
        for act in (marking, amarking) if self.asynchronous else (marking,):
            events = on_a_loop(received(watch(self.make(act), self.payload)))
            check_form(events)
            assert marks(events) == [("conformance", place) for place in range(3)]

    def test_a_failure_comes_last_and_is_the_agents_own(self) -> None:
        error = Own("mine")

        def act(payload: Any) -> Any:
            marking(payload)
            raise error

        adapter = self.make(act)
        for _ in range(2):
            events, caught = on_a_loop(until_failure(watch(adapter, self.payload)))
            assert caught is error, f"{caught!r} came in place of the agent's own"
            assert len(marks(events)) == 3, "what the agent had emitted has to come before"
            assert not any(isinstance(event, CompleteEvent) for event in events)

    def test_an_agent_that_raises_cancelled_error_has_failed(self) -> None:
        if not self.asynchronous:
            return

        async def act(_: Any) -> Any:
            raise asyncio.CancelledError

        _, caught = on_a_loop(until_failure(watch(self.make(act), self.payload)))
        assert not isinstance(caught, asyncio.CancelledError), "nobody had cancelled it"

    # -- what is allowed -----------------------------------------------------------------------

    def test_what_is_not_allowed_is_not_produced(self) -> None:
        for wanted in (
            "minimal",
            "chat",
            "debug",
            "all",
            [],
            ["token"],
            ["step"],
            ["custom:mark"],
            ["usage"],
        ):
            allowed = EventsFilter(wanted)
            for adapter in (self.make(marking), self.speaking(["a", "b"])):
                if adapter is None:
                    continue
                events = on_a_loop(received(watch(adapter, self.payload, allowed)))
                check_form(events)
                wrong = {event.type for event in events if not allowed.is_allowed(event.type)} - MANDATORY
                assert not wrong, f"{wrong} came though {allowed} does not allow it"

    def test_words_are_tokens_in_their_order(self) -> None:
        words = ["it ", "was ", "me"]
        adapter = self.speaking(words)
        if adapter is None:
            return
        events = on_a_loop(received(watch(adapter, self.payload, EventsFilter(["token"]))))
        said = [event.content for event in events if isinstance(event, TokenEvent) and event.content]
        assert said == words

    def test_an_event_stream_takes_a_filter_and_serializes(self) -> None:
        adapter = self.make(marking)
        if not isinstance(adapter, StreamingAdapter):
            return
        only = EventsFilter(["custom:mark"])
        stream = adapter.invoke_stream(self.payload, events_filter=only, serialize=True)
        if not isinstance(stream, EventStream):  # whoever takes a bare generator makes one of it
            return
        lines = on_a_loop(received(stream))
        assert all(isinstance(line, str) for line in lines), "serialize=True gives JSON strings"
        events = [decode_event(line) for line in lines]
        check_form(events)
        assert [place for _, place in marks(events)] == [0, 1, 2]

    # -- ending it -----------------------------------------------------------------------------

    def test_cancelling_reaches_the_agent(self) -> None:
        if self.asynchronous:
            for ending in _ENDINGS:
                on_a_loop(self._cancelled(ending))

    async def _cancelled(self, ending: str) -> None:
        begun, seen = asyncio.Event(), list[str]()
        stream = watch(self.make(waiting(begun, seen)), self.payload)
        reader = asyncio.ensure_future(received(stream))
        await begun.wait()
        if ending == "cancelled":
            reader.cancel()
            await asyncio.wait((reader,))
        elif ending == "aclose":
            await stream.aclose()
            await reader
        else:
            async with stream:
                pass
            await reader
        assert seen == ["cancelled"], (
            f"{ending}: the agent was not cancelled, or the stream did not wait for it"
        )

    def test_cancelling_a_call_reaches_the_agent(self) -> None:
        if not self.asynchronous or not isinstance(self.make(any_text), AsyncAdapter):
            return

        async def run() -> None:
            begun, seen = asyncio.Event(), list[str]()
            call = asyncio.ensure_future(acall(self.make(waiting(begun, seen)), self.payload))
            await begun.wait()
            call.cancel()
            await asyncio.wait((call,))
            assert call.cancelled(), "a cancelled call has to end cancelled"
            assert seen == ["cancelled"]

        on_a_loop(run())

    # -- many ----------------------------------------------------------------------------------

    def test_executions_at_once_do_not_meet(self) -> None:
        adapter = self.make(amarking if self.asynchronous else marking)

        async def run() -> None:
            names = [f"run-{number}" for number in range(_AT_ONCE)]
            streams = [received(watch(adapter, self.payload, name=name)) for name in names]
            for name, events in zip(names, await asyncio.gather(*streams), strict=True):
                check_form(events)
                assert marks(events) == [(name, place) for place in range(3)]

        on_a_loop(run())

    def test_threads_at_once_do_not_meet(self) -> None:
        adapter, answers = self.make(marking), list[Any]()

        def work(name: str) -> None:
            events = on_a_loop(received(watch(adapter, self.payload, name=name)))
            answers.append(marks(events) == [(name, place) for place in range(3)])

        threads = [threading.Thread(target=work, args=(f"run-{n}",), daemon=True) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(PATIENCE)
        assert answers == [True] * len(threads)
