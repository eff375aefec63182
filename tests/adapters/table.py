"""The table in docs/adapters.md, and what is seen of an adapter that is run with a scripted agent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeAlias

from dockrion_adapters import StreamingAdapter
from dockrion_events import (
    CompleteEvent,
    CustomEvent,
    Event,
    EventsFilter,
    MessageEvent,
    ReasoningEvent,
    StepEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    UsageEvent,
    get_current_context,
)

from ..pages import column

Act: TypeAlias = Callable[[], Awaitable[None]]
Make: TypeAlias = Callable[[Act], StreamingAdapter]

THOUGHT = ["two ", "sums"]
CALLS = {"1": '{"a": 1, "b": 2}', "2": '{"a": 3, "b": 4}'}
ANSWER = ["3 ", "and ", "7"]

PAGE = "adapters.md"


def promised(framework: str) -> dict[str, str]:
    """Return the column of an adapter in the table."""
    return column(PAGE, f"`{framework}`")


async def seen(
    make: Make, payload: Any, plain: Callable[[Any], Any] = lambda output: output
) -> dict[str, str]:
    """Return what ``make(act)`` gives, row by row.

    Its agent thinks, calls a tool for each of `CALLS`, in which it awaits ``act``, and answers. Where the
    framework has no tools, the agent awaits ``act`` by itself as often, and answers.
    """
    events = await _events(make(_told), payload)
    last = events[-1]
    assert isinstance(last, CompleteEvent)
    kinds: dict[type[Event], list[Any]] = {}
    for event in events:
        kinds.setdefault(type(event), []).append(event)
    calls, results = kinds.get(ToolCallEvent, []), kinds.get(ToolResultEvent, [])
    called: Any = await make(_told).ainvoke(payload)  # type: ignore[attr-defined]
    assert {call.id for call in calls} == (set(CALLS) if calls else set())
    return {
        "tokens": _in_pieces(kinds.get(TokenEvent, []), len(ANSWER)),
        "reasoning": _in_pieces(kinds.get(ReasoningEvent, []), len(THOUGHT)),
        "calls of tools": _calls(calls),
        "results of tools": _yes({result.id for result in results} == set(CALLS)),
        "usage": _yes(len(kinds.get(UsageEvent, [])) == 2),  # one for each call of the model
        "beginning and end of messages": _yes(
            [event.phase for event in kinds.get(MessageEvent, [])] == ["start", "end"] * 2
        ),
        "steps": _yes(StepEvent in kinds),
        "final output": "as called" if plain(last.output) == plain(called) else "of the stream",
        "cancellation reaches async code": _yes(await _cancelled(make, payload)),
        "`get_current_context()` in tools": _yes(
            len([event for event in kinds.get(CustomEvent, []) if event.name == "told"]) == 2
        ),
    }


async def _told() -> None:
    context = get_current_context()
    if context is not None:
        await context.emit("told")


async def _events(adapter: StreamingAdapter, payload: Any) -> list[Event]:
    stream = adapter.invoke_stream(payload, events_filter=EventsFilter("all"))
    return [event async for event in stream]


async def _cancelled(make: Make, payload: Any) -> bool:
    begun, ended = asyncio.Event(), list[str]()

    async def wait() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append("cancelled")
            raise

    stream: Any = make(wait).invoke_stream(payload)
    await stream.__anext__()
    await begun.wait()
    await stream.aclose()
    return bool(ended)


def _in_pieces(events: Sequence[Event], pieces: int) -> str:
    if not events:
        return "–"
    return "streamed" if len(events) == pieces else "whole"


def _calls(events: Sequence[ToolCallEvent]) -> str:
    if not events:
        return "–"
    return "streamed" if all(event.arguments is None for event in events) else "whole"


def _yes(is_so: bool) -> str:
    return "yes" if is_so else "–"
