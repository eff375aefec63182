"""One run that a program writes, from started to its end."""

from __future__ import annotations

import asyncio
import inspect
import textwrap
from typing import Any

import pytest

from dockrion_events import (
    EventBus,
    EventError,
    EventsFilter,
    EventTooLarge,
    Exit,
    InvalidEvent,
    NotSerialisable,
    RunNotFound,
    StreamClosed,
    StreamContext,
    TokenEvent,
)

from .support import (
    EMITS,
    ENDS,
    LIVES,
    SYNC_EMITS,
    Call,
    Make,
    begun,
    every_call_raises,
    read,
    types,
)

# -- one run ---------------------------------------------------------------------------------------


async def test_the_example_runs(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    assert EventBus.__doc__ is not None
    text = inspect.cleandoc(EventBus.__doc__)  # Python 3.13 has removed the indentation, older ones keep it
    example = text.split("::\n")[1].split("A context of a bus")[0]
    scope: dict[str, Any] = {"EventBus": EventBus, "StreamContext": StreamContext, "backend": make()}
    exec("async def main():\n" + textwrap.indent(textwrap.dedent(example), "    "), scope)
    await scope["main"]()
    assert capsys.readouterr().out.split() == ["1", "started", "2", "progress", "3", "complete"]


async def test_a_run_from_start_to_end(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        assert (context.queue_mode, context.run_id, context.cancelled) == (False, "r", False)
        await context.emit_started("worker", "mine")
        record = await bus.backend.get_run("r")
        assert (record.status, record.last_sequence, record.attempt) == ("running", 1, 1)
        await context.emit_token("a")
        context.sync_emit_token("b")
        await context.emit_step("node", duration_ms=1.5)
        context.sync_emit("fraud", {"score": 1})
        context.sync_checkpoint("parsed", {"fields": 2})
        await context.send(TokenEvent("c"))
        await context.emit_complete({"n": 1}, 0.5, {"by": "me"})
        record = await bus.backend.get_run("r")
        assert (record.status, record.last_sequence) == ("completed", 8)
        events = await read(bus)
    assert types(events) == [
        "started", "token", "token", "step", "custom:fraud", "checkpoint", "token", "complete",
    ]  # fmt: skip
    assert [event.sequence for event in events] == list(range(1, 9))
    assert {(event.run_id, event.request_id) for event in events} == {("r", None)}
    assert (events[0].agent_name, events[-1].output, events[-1].metadata) == (  # type: ignore[attr-defined]
        "worker",
        {"n": 1},
        {"by": "me"},
    )


@pytest.mark.parametrize(("end", "kind", "status"), ENDS, ids=["complete", "error", "cancelled"])
async def test_the_terminal_event_is_in_the_log_when_its_call_returns(
    make: Make, end: Call, kind: str, status: str
) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        context.sync_emit_token("a")
        await end(context)
        record = await bus.backend.get_run("r")
        assert record.terminal is not None
        assert (record.terminal.type, record.status, record.last_sequence) == (kind, status, 3)


async def test_an_event_is_what_it_was_when_it_was_emitted(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        data = {"n": 1}
        context.sync_checkpoint("before", data)
        data["n"] = 2
        await context.emit_complete(data, 1.0)
        events = await read(bus)
    assert [event.data for event in events[1:2]] == [{"n": 1}]  # type: ignore[attr-defined]


async def test_what_cannot_be_sent_is_refused_on_the_line_and_leaves_no_hole(make: Make) -> None:
    loop: dict[str, Any] = {}
    loop["self"] = loop
    async with EventBus(make()) as bus:
        context = await begun(bus)
        with pytest.raises(NotSerialisable):
            context.sync_checkpoint("loop", loop)
        with pytest.raises(EventTooLarge):
            await context.emit("large", text="x" * 9_000_000)
        with pytest.raises(EventError):
            await context.emit_complete(loop, 1.0)
        await context.emit_complete("done", 1.0)
        assert [event.sequence for event in await read(bus)] == [1, 2]


async def test_the_filter_and_heartbeats(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus, events_filter=EventsFilter(["token", "heartbeat"]))
        context.sync_emit_progress("dropped", 0.5)
        context.sync_emit_token("kept")
        await context.emit_heartbeat()
        context.sync_emit_heartbeat()
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "token", "complete"]


# -- the life cycle --------------------------------------------------------------------------------


async def test_nothing_comes_before_started(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        calls = [*EMITS, *SYNC_EMITS, *LIVES[1:]]
        await every_call_raises(context, calls, InvalidEvent, "run r has not begun; emit_started")
        assert context.relay(TokenEvent("a")) is False
        with pytest.raises(RunNotFound):
            await bus.backend.get_run("r")
        await context.emit_started("worker")
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "complete"]


async def test_started_comes_once(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        answers = await asyncio.gather(
            *(context.emit_started(f"worker {n}") for n in range(5)), return_exceptions=True
        )
        assert [type(answer) for answer in answers] == [type(None), *[InvalidEvent] * 4]
        with pytest.raises(InvalidEvent, match="run r has begun already"):
            await context.emit_started("again")
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "complete"]


@pytest.mark.parametrize("end", [end for end, _, _ in ENDS])
async def test_nothing_comes_after_the_end(make: Make, end: Call) -> None:
    async with EventBus(make()) as bus:
        context = await begun(bus)
        await end(context)
        await every_call_raises(context, [*EMITS, *SYNC_EMITS, *LIVES], StreamClosed, "run r has ended")
        assert context.relay(TokenEvent("a")) is False
        assert len(await read(bus)) == 2


async def test_a_context_of_a_bus_has_no_other_way_out(make: Make) -> None:
    async with EventBus(make()) as bus:
        context = StreamContext("r", bus=bus)
        with pytest.raises(RuntimeError, match="go to the log of its run"):
            context.drain_queued_events()
        with pytest.raises(RuntimeError, match="another stream already"):
            Exit(context)


@pytest.mark.parametrize("run_id", ["", "a/b", "a b", "ü", "x" * 129])
async def test_a_name_that_no_server_could_show_is_refused(make: Make, run_id: str) -> None:
    async with EventBus(make()) as bus:
        with pytest.raises(ValueError, match=r"run_id .*: 1 to 128 letters"):
            StreamContext(run_id, bus=bus)
        with pytest.raises(RunNotFound):
            await read(bus, run_id)


async def test_two_owners_may_use_the_same_name(make: Make) -> None:
    backend = make()
    async with EventBus(backend, owner="ann") as ann, EventBus(backend, owner="bob") as bob:
        for bus in (ann, bob):
            context = await begun(bus)
            await context.emit_complete(bus.owner, 1.0)
        assert [(await read(bus))[-1].output for bus in (ann, bob)] == ["ann", "bob"]  # type: ignore[attr-defined]
        assert [record.key for record in await backend.list_runs("ann", limit=9)] == ["ann/r"]


# -- the streaming backend -------------------------------------------------------------------------


class Choosy:
    """Takes the tokens for itself."""

    name = "choosy"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def is_available(self) -> bool:
        return True

    def emit(self, event: Any) -> bool:
        self.asked.append(event.type)
        return event.type == "token"


async def test_the_streaming_backend_is_asked_first_but_for_the_life_cycle(make: Make) -> None:
    backend = Choosy()
    async with EventBus(make()) as bus:
        context = await begun(bus, streaming_backend=backend)
        context.sync_emit_token("taken")
        await context.emit("left", {"n": 1})
        await context.emit_complete(1, 1.0)
        assert types(await read(bus)) == ["started", "custom:left", "complete"]
    assert backend.asked == ["token", "custom:left"]
