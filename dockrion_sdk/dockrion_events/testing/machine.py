"""A state machine that drives an event backend at random, beside a model of what has to be in it.

Needs ``hypothesis``; pytest runs it as the ``TestCase`` of a subclass::

    class MyMachine(EventBackendMachine):
        def make(self, **settings):
            return my_backend(**settings)

    TestMyMachine = MyMachine.TestCase
    TestMyMachine.settings = hypothesis.settings(max_examples=50, deadline=None)
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextlib import AbstractAsyncContextManager
from typing import Any, TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    invariant,
    multiple,
    precondition,
    rule,
)

from ..bus.base import EventBackend, Follower, follower_epoch
from ..cursor import Cursor
from ..errors import BusError, LogLost, QueueFull, RunEnded, RunExists, Superseded
from ..events import TERMINAL, EncodedEvent, GapEvent
from .backend.support import LONG, OWNER, assert_same, batch_of, ending, failure, refused
from .model import ModelRun, Reader, Writer

LIMIT = 8
"""Events of a log that are kept at least."""

MAX_WAITING = 2
"""Runs that may wait to be claimed."""

PATIENCE = 5.0
"""Seconds that a call may take; short, because a failing example is tried many times."""

_T = TypeVar("_T")
_keys = st.sampled_from(["a", "b", "c"])


class EventBackendMachine(RuleBasedStateMachine):
    """Drives what `make` gives; every rule is run to its end on one event loop.

    Holds that a log begins with its one ``started`` and ends with its one terminal event, that its
    sequences have no holes, and that what is delivered is what is in it.
    """

    runs: Bundle[ModelRun] = Bundle("runs")
    writers: Bundle[Writer] = Bundle("writers")
    readers: Bundle[Reader] = Bundle("readers")

    def make(self, **settings: Any) -> AbstractAsyncContextManager[EventBackend]:
        """As in `EventBackendSuite`."""
        raise TypeError("a subclass has to say how a backend is made")

    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, ModelRun] = {}
        self.accepted: list[ModelRun] = []
        self._loop = asyncio.new_event_loop()
        self._making = self.make(max_events_per_run=LIMIT, max_waiting=MAX_WAITING)
        self.backend: EventBackend = self.wait(self._making.__aenter__())

    def wait(self, call: Coroutine[Any, Any, _T]) -> _T:
        """Run a call of the backend to its end."""
        return self._loop.run_until_complete(asyncio.wait_for(call, PATIENCE))

    def teardown(self) -> None:
        try:
            for run in self.model.values():
                self._check_log(run)
        finally:
            self.wait(self._making.__aexit__(None, None, None))
            self._loop.close()

    # -- runs and claims -----------------------------------------------------------------------

    @rule(target=runs, key=_keys)
    def create(self, key: str) -> Any:
        call = self.backend.create_run(key, owner=OWNER, request=b"{}")
        if key not in self.model and len(self.accepted) >= MAX_WAITING:
            with refused(QueueFull):
                self.wait(call)
            return multiple()
        record, new = self.wait(call)
        assert new == (key not in self.model)
        if not new:
            assert record.status == self.model[key].status
            return multiple()
        run = self.model[key] = ModelRun(key)
        self.accepted.append(run)
        return run

    @rule(target=writers, key=_keys)
    def open_run(self, key: str) -> Any:
        call = self.backend.open_run(key, owner=OWNER, request=b"{}")
        if key in self.model:
            with refused(RunExists):
                self.wait(call)
            return multiple()
        run = self.model[key] = ModelRun(key)
        claim = self.wait(call)
        run.claimed(claim, leased=False)
        return Writer(run, claim)

    @rule(target=writers, limit=st.integers(1, 3))
    def claim(self, limit: int) -> Any:
        claims = self.wait(
            self.backend.claim(
                "executor",
                accepted=limit,
                expired=limit,
                lease_seconds=LONG,
                timeout=PATIENCE / 2 if self.accepted else 0,
            )
        )
        assert len(claims) <= limit
        assert bool(claims) == bool(self.accepted)
        runs = [self.model[claim.record.key] for claim in claims]
        new = [run for run in self.accepted if not run.handed_back]  # where the others come is left open
        assert [run for run in runs if not run.handed_back] == new[: sum(not r.handed_back for r in runs)]
        for run, claim in zip(runs, claims, strict=True):
            self.accepted.remove(run)
            run.claimed(claim)
        return multiple(*[Writer(run, claim) for run, claim in zip(runs, claims, strict=True)])

    @rule(target=writers, writer=writers)
    def expire(self, writer: Writer) -> Any:
        run, before = writer.run, writer.claim
        if not (writer.may_append and run.leased):
            return multiple()
        self.wait(self.backend.renew([before], lease_seconds=0.001))
        (claim,) = self.wait(
            self.backend.claim("other", accepted=0, expired=3, lease_seconds=LONG, timeout=PATIENCE / 2)
        )
        assert claim.record.key == run.key
        run.claimed(claim)
        self.wait(self.backend.renew([before], lease_seconds=LONG))
        assert before.revoked.result() == "superseded"
        return Writer(run, claim)

    @rule(writer=writers)
    def release(self, writer: Writer) -> None:
        self.wait(self.backend.release(writer.claim))
        if writer.may_append:
            run = writer.run
            run.status, run.handed_back = "accepted", True
            self.accepted.append(run)

    @rule(key=_keys, terminal=st.sampled_from([None, failure("RUN_TIMEOUT")]))
    def end_run(self, key: str, terminal: Any) -> None:
        run = self.model.get(key)
        if run is None:
            with refused(BusError):
                self.wait(self.backend.end_run(key, ending(key, terminal)))
            return
        record = self.wait(self.backend.end_run(key, ending(key, terminal)))
        if run.ended:
            assert record.terminal == run.log[-1]
            return
        if run in self.accepted:
            self.accepted.remove(run)
        follower = self.wait(self.backend.follow(key, after=len(run.log)))
        run.appended(self._rest(follower))
        assert [event.type for event in run.log].count("started") == 1
        assert run.status == ("failed" if terminal else "cancelled")

    # -- appending -----------------------------------------------------------------------------

    @rule(writer=writers, count=st.integers(1, 20), end=st.booleans())
    def append(self, writer: Writer, count: int, end: bool) -> None:
        events = writer.run.following(count, end=end)
        self._append(writer, events, events)

    @rule(writer=writers, back=st.integers(1, 9), ahead=st.integers(0, 4))
    def append_again(self, writer: Writer, back: int, ahead: int) -> None:
        run = writer.run
        first = self.wait(self.backend.get_run(run.key)).first_sequence
        start = max(writer.begin, first - 1, len(run.log) - back)
        new = run.following(ahead, end=False) if ahead and run.log and not run.ended else []
        events = [*run.log[start:], *new]
        if events:
            self._append(writer, events, new)

    @rule(writer=writers, skipped=st.integers(1, 3), end=st.booleans())
    def append_with_a_hole(self, writer: Writer, skipped: int, end: bool) -> None:
        events = writer.run.following(skipped + 1, end=end)
        for late in (events[skipped:], [*events[:1], *events[2:]] if len(events) > 2 else events[1:]):
            with refused(*((LogLost,) if writer.may_append else (LogLost, RunEnded, Superseded))):
                self.wait(self.backend.append(writer.claim, late))

    def _append(self, writer: Writer, events: list[EncodedEvent], new: list[EncodedEvent]) -> None:
        run, call = writer.run, self.backend.append(writer.claim, events)
        if writer.may_append:
            self.wait(call)
            if new:
                run.appended(new)
        elif run.ended and run.holder is writer.claim and not new:
            try:
                self.wait(call)
            except RunEnded:
                assert run.status != "completed", "it was the writer's own end"
        else:
            with refused(RunEnded, Superseded):
                self.wait(call)

    # -- following -----------------------------------------------------------------------------

    @precondition(lambda self: self.model)
    @rule(target=readers, data=st.data(), after=st.integers(0, 80))
    def follow(self, data: Any, after: int) -> Reader:
        """From a bare number, or from a cursor with the epoch that another reader was given there."""
        run = self.model[data.draw(st.sampled_from(sorted(self.model)))]
        cursor = Cursor(after, run.epochs.get(after, ""))
        return Reader(run, self.wait(self.backend.follow(run.key, after=cursor)))

    @precondition(lambda self: any(any(run.epochs.values()) for run in self.model.values()))
    @rule(data=st.data(), after=st.integers(1, 20))
    def follow_from_another_history(self, data: Any, after: int) -> None:
        """What such a reader has seen is not known: it is told so, and gets the log from its beginning."""
        run = data.draw(st.sampled_from([run for run in self.model.values() if any(run.epochs.values())]))
        follower = self.wait(self.backend.follow(run.key, after=Cursor(after, "elsewhere")))
        first = self.wait(self.backend.get_run(run.key)).first_sequence
        gap, *events = self.wait(batch_of(follower))
        notice = gap.decode()
        assert isinstance(notice, GapEvent)
        assert notice.requested == after + 1
        assert notice.first_available <= first  # a process may still have what the store has trimmed
        start = notice.first_available - 1
        assert_same(events, run.log[start : start + len(events)])
        run.seen(events, follower_epoch(follower))
        follower.close()

    @rule(reader=readers)
    def read(self, reader: Reader) -> None:
        run, follower = reader.run, reader.follower
        before = follower.position
        if before >= len(run.log) and not run.ended:
            follower.nudge()
            assert self.wait(follower.next_batch()) == []
            assert follower.position == before
            return
        self._check_batch(run, before, follower, self.wait(batch_of(follower)))

    @rule(reader=readers)
    def cancel_a_read(self, reader: Reader) -> None:
        run, follower = reader.run, reader.follower
        before = follower.position
        batch = self.wait(_cancelled(follower))
        if batch is None:
            assert follower.position == before
        else:
            self._check_batch(run, before, follower, batch)

    def _check_batch(self, run: ModelRun, before: int, follower: Follower, batch: list[EncodedEvent]) -> None:
        """Assert that the batch is what is in the log behind ``before``, or says what is missing."""
        if not batch:
            assert before == len(run.log)
            assert follower.ended
            return
        if batch[0].type == "gap":
            gap = batch.pop(0).decode()
            assert isinstance(gap, GapEvent)
            assert gap.requested == before + 1
            assert gap.first_available != before + 1
            assert run.ended or gap.first_available > before
            before = gap.first_available - 1
        assert_same(batch, run.log[before : before + len(batch)])
        run.seen(batch, follower_epoch(follower))
        assert follower.position == before + len(batch)
        assert follower.ended == (run.ended and follower.position == len(run.log))

    def _rest(self, follower: Follower) -> list[EncodedEvent]:
        events: list[EncodedEvent] = []
        while not follower.ended:
            events += self.wait(batch_of(follower))
        return events

    # -- what always holds ---------------------------------------------------------------------

    @invariant()
    def as_many_wait_as_are_accepted(self) -> None:
        assert self.wait(self.backend.count_accepted()) == len(self.accepted)

    @invariant()
    def records_are_right(self) -> None:
        for run in self.model.values():
            record = self.wait(self.backend.get_run(run.key))
            assert (record.status, record.attempt) == (run.status, run.attempt)
            assert record.last_sequence == len(run.log)
            assert record.terminal == (run.log[-1] if run.ended else None)
            assert 1 <= record.first_sequence <= max(1, len(run.log) - LIMIT + 1)

    def _check_log(self, run: ModelRun) -> None:
        """Assert that the log is a stream: one beginning, at most one end, and no hole."""
        types = [event.type for event in run.log]
        assert types[:1] in ([], ["started"])
        assert types.count("started") <= 1
        assert [name for name in types if name in TERMINAL] == ([types[-1]] if run.ended else [])
        assert [event.sequence for event in run.log] == list(range(1, len(run.log) + 1))
        first = self.wait(self.backend.get_run(run.key)).first_sequence
        follower = self.wait(self.backend.follow(run.key, after=first - 1))
        events: list[EncodedEvent] = []
        while len(events) <= len(run.log) - first:
            events += self.wait(batch_of(follower))
        assert_same(events, run.log[first - 1 :])
        follower.close()


async def _cancelled(follower: Follower) -> list[EncodedEvent] | None:
    """Cancel a call in its course; return what it got, None where it was in time."""
    call = asyncio.create_task(follower.next_batch())
    for _ in range(3):
        await asyncio.sleep(0)
    call.cancel()
    await asyncio.wait([call])
    return None if call.cancelled() else call.result()
