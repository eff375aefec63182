"""The conformance suite of streaming backends."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextvars import copy_context

from ..backends.base import StreamingBackend
from ..events import AnyEvent, CustomEvent, EncodedEvent, TokenEvent

PATIENCE = 20.0
"""Seconds after which a call that must not block counts as blocked."""

_BURST = 5000


class StreamingBackendSuite(ABC):
    """What every `StreamingBackend` has to do.

    A subclass says how one is made, and how to run code where it can deliver. Every test gets a
    new backend.
    """

    @abstractmethod
    def make(self) -> StreamingBackend:
        """Return a new backend."""

    @abstractmethod
    def delivered(self, backend: StreamingBackend, work: Callable[[], None]) -> list[AnyEvent]:
        """Run ``work`` where ``backend`` is available; return the events that it delivered, in order.

        Nothing may take events while ``work`` runs that a blocking ``emit`` could be waiting for.
        Threads that ``work`` starts carry a copy of its context variables.
        """

    def make_unavailable(self, backend: StreamingBackend) -> None:  # noqa: B027 - a hook, no duty
        """Make ``backend`` unavailable to the caller.

        By default nothing: many backends are unavailable outside of what `delivered` sets up.
        """

    # -- what it is ----------------------------------------------------------------------------

    def test_it_satisfies_the_protocol(self) -> None:
        assert isinstance(self.make(), StreamingBackend)

    def test_its_name_is_a_short_string(self) -> None:
        name = self.make().name
        assert isinstance(name, str), f"name is a {type(name).__name__}"
        assert 0 < len(name) <= 32, f"name has {len(name)} characters"
        assert name == name.strip(), f"name {name!r} has blanks around it"
        assert name.isprintable(), f"name {name!r} cannot be printed"

    # -- where it is available -----------------------------------------------------------------

    def test_it_takes_events_where_it_says_it_is_available(self) -> None:
        backend = self.make()
        answers: list[object] = []

        def work() -> None:
            answers.extend((backend.is_available(), backend.emit(TokenEvent("a")), backend.is_available()))

        events = self.delivered(backend, work)
        assert answers == [True, True, True], f"is_available, emit, is_available gave {answers}"
        assert len(events) == 1, f"one event was taken, {len(events)} were delivered"

    def test_it_delivers_the_very_objects_in_order(self) -> None:
        backend = self.make()
        sent: list[AnyEvent] = [
            TokenEvent("a"),
            EncodedEvent("token", b'{"type":"token","content":"b"'),
            CustomEvent("custom:c", {"value": object()}),
            EncodedEvent("custom:d", b'{"type":"custom:d","data":1'),
        ]

        def work() -> None:
            for event in sent:
                assert backend.emit(event) is True, "emit has to return True where it is available"

        events = self.delivered(backend, work)
        assert [type(event) for event in events] == [type(event) for event in sent]
        assert all(got is put for got, put in zip(events, sent, strict=True)), "an event was replaced"

    def test_it_keeps_the_order_of_each_thread(self) -> None:
        backend = self.make()
        threads, count = 8, 200

        def work() -> None:
            together = threading.Barrier(threads)

            def emitter(number: int) -> None:
                together.wait(PATIENCE)
                for place in range(count):
                    backend.emit(CustomEvent("custom:mark", (number, place)))

            _finish([_thread(emitter, number) for number in range(threads)])

        marks = [event.data for event in self.delivered(backend, work) if isinstance(event, CustomEvent)]
        assert len(marks) == threads * count, f"{threads * count} were taken, {len(marks)} delivered"
        for number in range(threads):
            places = [place for owner, place in marks if owner == number]
            assert places == list(range(count)), f"the events of thread {number} lost their order"

    def test_it_never_blocks(self) -> None:
        backend = self.make()

        def work() -> None:
            def burst() -> None:
                for _ in range(_BURST):
                    backend.emit(TokenEvent("x"))

            _finish([_thread(burst)])

        assert len(self.delivered(backend, work)) == _BURST

    # -- where it is not -----------------------------------------------------------------------

    def test_it_refuses_and_does_not_raise_where_it_is_unavailable(self) -> None:
        backend = self.make()
        self.make_unavailable(backend)
        answers: list[object] = []

        def ask() -> None:
            answers.append(backend.is_available())
            answers.append(backend.emit(TokenEvent("a")))
            answers.append(backend.emit(EncodedEvent("token", b'{"type":"token","content":"b"')))

        ask()
        _finish([threading.Thread(target=ask, daemon=True)])
        assert answers == [False] * 6, f"is_available, emit, emit gave {answers}"

    def test_a_refused_event_is_delivered_nowhere(self) -> None:
        refused, taken = self.make(), self.make()
        self.make_unavailable(refused)
        lost = TokenEvent("lost")
        assert refused.emit(lost) is False
        kept = TokenEvent("kept")
        events = self.delivered(taken, lambda: _emit(taken, kept))
        assert len(events) == 1, "an event that was refused was delivered, or one that was taken was not"
        assert events[0] is kept


def _emit(backend: StreamingBackend, event: AnyEvent) -> None:
    assert backend.emit(event) is True


def _thread(work: Callable[..., None], *args: object) -> threading.Thread:
    """Return a thread for ``work`` that carries a copy of the context variables."""
    return threading.Thread(target=copy_context().run, args=(work, *args), daemon=True)


def _finish(threads: list[threading.Thread]) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
        assert not thread.is_alive(), f"emit blocked for more than {PATIENCE} seconds"
