"""Agents that do one thing, and ways to run an adapter and look at its stream."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeAlias, TypeVar

from dockrion_events import (
    CompleteEvent,
    CustomEvent,
    Event,
    EventsFilter,
    StartedEvent,
    StreamContext,
    get_current_context,
)
from dockrion_events.testing import PATIENCE

from ..base import Adapter, AsyncAdapter
from ..driver import Driver
from ..stream import EventStream

T = TypeVar("T")

Act: TypeAlias = Callable[[Any], Any]


class Own(Exception):
    """What an agent of these tests fails with."""


# -- agents ----------------------------------------------------------------------------------------


def text() -> str:
    """Return a text that no other object is."""
    return "".join(["the ", "output"])


def any_text(_: Any) -> str:
    return text()


def failing(error: Exception) -> Act:
    def act(_: Any) -> Any:
        raise error

    return act


def marking(_: Any) -> Any:
    context = get_current_context()
    assert context is not None, "get_current_context() gave None within an agent"
    for place in range(3):
        context.sync_emit("mark", run=context.run_id, place=place)


async def amarking(_: Any) -> Any:
    context = get_current_context()
    assert context is not None, "get_current_context() gave None within an agent"
    for place in range(3):
        await context.emit("mark", run=context.run_id, place=place)
        await asyncio.sleep(0)


def waiting(begun: asyncio.Event, seen: list[str]) -> Act:
    async def act(_: Any) -> Any:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            seen.append("cancelled")
            raise

    return act


# -- running them ----------------------------------------------------------------------------------


def watch(
    adapter: Adapter, payload: Any, allowed: EventsFilter | None = None, *, name: str = "conformance"
) -> EventStream[Any]:
    context = StreamContext(name, events_filter=allowed or EventsFilter(["custom"]))
    return Driver(adapter).stream(payload, {}, context)


async def acall(adapter: Adapter, payload: Any, **options: Any) -> Any:
    if isinstance(adapter, AsyncAdapter):
        return await adapter.ainvoke(payload, **options)
    return await asyncio.to_thread(adapter.invoke, payload, **options)


async def received(stream: Any) -> list[Any]:
    return [item async for item in stream]


async def until_failure(stream: EventStream[Any]) -> tuple[list[Event], BaseException]:
    events: list[Event] = []
    try:
        async for event in stream:
            events.append(event)  # noqa: PERF401 - they count although it fails
    except BaseException as error:  # noqa: BLE001 - whichever it is, the test looks at it
        return events, error
    raise AssertionError("the stream has to raise what the agent raised")


def on_a_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run ``work`` on a loop of its own; nothing may be left behind there, and nothing complained of."""
    complaints: list[Any] = []

    async def run() -> T:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
        result = await asyncio.wait_for(work, PATIENCE)
        left = asyncio.all_tasks() - {asyncio.current_task()}
        if left:  # those that have been told to stop may say their last words
            _, left = await asyncio.wait(left, timeout=1.0)
        assert not left, f"tasks were left behind: {left}"
        return result

    result = asyncio.run(run())
    assert not complaints, f"the event loop complained: {complaints}"
    return result


def raised_by(call: Callable[[], Any]) -> BaseException | None:
    try:
        call()
    except Exception as error:  # noqa: BLE001 - whichever it is, the test looks at it
        return error
    return None


def marks(events: Sequence[Any]) -> list[tuple[str, int]]:
    return [(event.data["run"], event.data["place"]) for event in events if isinstance(event, CustomEvent)]


def check_form(events: Sequence[Event]) -> None:
    """One started event first, one complete event last, numbered from 1 without a hole."""
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    kinds = [type(event) for event in events]
    assert (kinds[0], kinds[-1]) == (StartedEvent, CompleteEvent), f"{kinds[0]} … {kinds[-1]}"
    assert not {StartedEvent, CompleteEvent} & set(kinds[1:-1]), "started and complete come once"
