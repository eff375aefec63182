"""One request: whose it is, and what it reads."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable

from a2a.server.context import ServerCallContext
from a2a.server.routes.common import ServerCallContextBuilder
from starlette.requests import Request

from dockrion_events import EncodedEvent
from dockrion_events.bus import Follower

from ...runs.service import Runs

_CALL = "dockrion.a2a.call"


class Reading:
    """A run's log being read, as `Runs` knows its subscribers."""

    def __init__(self, follower: Follower, on_close: Callable[[Reading], None]) -> None:
        self.follower = follower
        self._on_close = on_close
        self._closed = False
        self.left = False

    def leave_off(self) -> None:
        """End in mid-run; the client subscribes again, perhaps elsewhere."""
        self.left = True
        self.follower.nudge()

    def close(self) -> None:
        """Let go of the log; again is as well."""
        if not self._closed:
            self._closed = True
            self.follower.close()
            self._on_close(self)


class Call:
    """What a request has of its own, from its beginning until its answer is sent or its client is gone."""

    def __init__(self, owner: str) -> None:
        self.owner = owner
        self._reading: Reading | None = None
        self._left = False

    def leave_off(self) -> None:
        """Read no more: the client is gone."""
        self._left = True
        if self._reading is not None:
            self._reading.leave_off()

    def close(self) -> None:
        """Let go of what is read, whenever its generators end: the SDK does not close those it makes."""
        if self._reading is not None:
            self._reading.close()

    async def read(
        self, runs: Runs, run_id: str, *, until: int | None = None
    ) -> AsyncGenerator[EncodedEvent]:
        """Yield a run's events from the first, to the last or to the sequence ``until``.

        Ends earlier where the client is gone or the server shuts down. Raises `Problem` and
        `BackendUnavailable`.
        """
        if self._left:
            return
        if until is None:
            reading = await runs.follow(self.owner, run_id, after=0, view=Reading)
        else:  # it ends by itself, and takes no subscriber's place
            reading = Reading(await runs.follower(self.owner, run_id, after=0), lambda _: None)
        self._reading = reading
        follower = reading.follower
        try:
            while not follower.ended and not (reading.left or self._left):
                if until is not None and follower.position >= until:
                    return
                events = await follower.next_batch()
                runs.meter.count_gap(events)
                for event in events:
                    yield event
        finally:
            self._reading = None
            reading.close()


class CallBuilder(ServerCallContextBuilder):
    """Puts the call of a request into the SDK's context for it."""

    def build(self, request: Request) -> ServerCallContext:
        """Return the context; the request's ``scope`` has the call."""
        return ServerCallContext(state={"headers": dict(request.headers), _CALL: request.scope[_CALL]})


def attach(scope: dict[str, object], call: Call) -> None:
    """Put a call into the scope of its request."""
    scope[_CALL] = call


def call_of(context: ServerCallContext) -> Call:
    """Return the call that a context belongs to."""
    call: Call = context.state[_CALL]
    return call
