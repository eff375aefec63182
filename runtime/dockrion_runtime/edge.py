"""The edge of a server: what its connections may take together, and the guard in front of each.

A `Guard` stands between a transport and the server's protocol. It reads into one small buffer that all
connections share, so that a read costs no memory of its own, lets connections that send much take turns,
and drops a client that does not read what is sent to it. It knows nothing of HTTP.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import os
from collections import Counter, deque
from collections.abc import Callable
from typing import Final, Literal, Protocol, TypeAlias, cast, get_args

from dockrion_sdk.dockfile import Limits

log = logging.getLogger("dockrion")

READ_BYTES: Final = 16 * 1024
"""Bytes that one read takes from a connection at most; one that sends more takes turns with others."""

TURNS: Final = 16
"""Connections that wait for their turn and are read from in one iteration of the event loop."""

READS: Final = 128
"""Reads in one iteration of the event loop from which on further connections wait for their turn: what all of
them ask for would be done without a look at anything else."""

PROGRESS_BYTES: Final = 64 * 1024
"""Bytes that a client has to take within `Limits.unread_seconds` while more are waiting for it."""

UNUSED_SECONDS: Final = 1.0
"""After this time without a request a new connection makes room for another where all are taken."""

QUIET_SECONDS: Final = 60.0
"""What happens often is logged once in this time."""

Reason: TypeAlias = Literal[
    "buffered", "connections", "descriptors", "head", "message", "pending", "silent", "unread", "unused"
]

REASONS: Final[tuple[Reason, ...]] = get_args(Reason)
"""Why connections are refused or closed; see ``docs/operators.md``."""

_FULL: Final = (
    b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\nretry-after: 1\r\n"
    b"content-length: %d\r\nconnection: close\r\n\r\n%b"
)
_FULL_BODY: Final = (
    b'{"type":"about:blank","title":"Service Unavailable","status":503,"code":"OVERLOADED",'
    b'"detail":"all connections are taken; try again in a moment"}'
)


class Inner(Protocol):
    """The server's protocol behind a `Guard`: an `asyncio.Protocol` that says whether it wants data."""

    def connection_made(self, transport: asyncio.Transport) -> None: ...
    def connection_lost(self, exc: Exception | None) -> None: ...
    def data_received(self, data: bytearray) -> None: ...
    def eof_received(self) -> bool | None: ...
    def pause_writing(self) -> None: ...
    def resume_writing(self) -> None: ...

    @property
    def reading(self) -> bool:
        """Whether it has not paused the transport."""

    @property
    def awaiting(self) -> bool:
        """Whether somebody waits for the data, who has been let in: it need not take turns."""


class Occasional:
    """Logs what may happen very often: at once the first time, then how often once a minute."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def warn(self, message: str) -> None:
        """Log a message, which is one of a fixed set."""
        if message in self._counts:
            self._counts[message] += 1
            return
        self._counts[message] = 0
        log.warning("%s", message)
        asyncio.get_running_loop().call_later(QUIET_SECONDS, self._sum_up, message)

    def _sum_up(self, message: str) -> None:
        count = self._counts.pop(message)
        if count:
            log.warning("%s (%d times within %g s)", message, count, QUIET_SECONDS)
            self._counts[message] = 0
            asyncio.get_running_loop().call_later(QUIET_SECONDS, self._sum_up, message)


class Edge:
    """The limits of one server's connections, and what counts against them. Lives on one event loop."""

    def __init__(self, limits: Limits | None = None, *, max_body_bytes: int | None = None) -> None:
        self.limits = limits = Limits() if limits is None else limits
        self.message_bytes = min(limits.message_bytes, max_body_bytes or limits.message_bytes)
        self.limit = allowed_connections(self.limits)
        self.connections = 0
        self.refused: Counter[Reason] = Counter()
        self.malformed = 0
        self.idle = 0
        """Connections that were closed because no further request came."""
        self.buffered_bytes = limits.buffered_bytes
        self.held = 0
        """Times that a connection was not read from because too many of its requests waited."""
        self.buffered = 0
        """Bytes of unfinished heads, waiting requests and unread bodies that all connections hold."""
        self.unused: dict[Guard, float] = {}
        """Connections that have sent no whole request yet, oldest first, and when they were made."""
        self.read = bytearray(READ_BYTES)
        self.buffer = memoryview(self.read)
        self._occasional = Occasional()
        self._turns: deque[Guard] = deque()
        self._time: Callable[[], float] = float  # the loop's own, from the first connection on
        self._now = 0.0
        self._reads = 0

    def refuse(self, reason: Reason, message: str) -> None:
        """Count a connection that is refused or closed, and log the message unless that was done just now."""
        self.refused[reason] += 1
        self._occasional.warn(message)

    def refuse_unread(self) -> None:
        """Count a client that is dropped because it does not read."""
        self.refuse("unread", "clients that do not read their answers are dropped")

    def count_malformed(self, what: str) -> None:
        """Count a request, or a WebSocket, that breaks its protocol."""
        self.malformed += 1
        self._occasional.warn(f"malformed {what} are refused")

    def admit(self, guard: Guard) -> bool:
        """Take a place for a connection; False where there is none."""
        self._time = asyncio.get_running_loop().time
        now = self._time()
        if self.connections >= self.limit and not self._make_room(now):
            self.refuse("connections", f"all {self.limit:,} connections are taken; further ones are refused")
            return False
        self.connections += 1
        self.unused[guard] = now
        return True

    def _make_room(self, now: float) -> bool:
        """Close the oldest connection without a request, if it had the time for one."""
        for guard, made in self.unused.items():
            if now - made < UNUSED_SECONDS:
                break
            del self.unused[guard]
            self.refuse("unused", f"all {self.limit:,} connections are taken; unused ones are closed")
            guard.abort()
            return True
        return False

    def forget(self, guard: Guard) -> None:
        """Give the place of a connection back."""
        self.connections -= 1
        self.unused.pop(guard, None)

    def is_crowded(self) -> bool:
        """Count a read; say whether there were too many since the event loop looked at its clock.

        uvloop does that once in each iteration. asyncio's own loop does it at each call, and has no limit.
        """
        now = self._time()
        if now != self._now:
            self._now, self._reads = now, 0
        self._reads += 1
        return self._reads > READS

    def take_turns(self, guard: Guard) -> None:
        """Let a connection that is not read from wait for its turn."""
        if not self._turns:
            asyncio.get_running_loop().call_soon(self._next_turns)
        self._turns.append(guard)

    def _next_turns(self) -> None:
        for _ in range(min(TURNS, len(self._turns))):
            self._turns.popleft().read_on()
        if self._turns:
            asyncio.get_running_loop().call_soon(self._next_turns)

    def look_at_descriptors(self) -> None:
        """Count and log that there is no descriptor left: the event loop drops new connections silently."""
        try:
            os.close(os.dup(0))
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self.refuse("descriptors", f"new connections are dropped: {os.strerror(error.errno)}")


def allowed_connections(limits: Limits) -> int:
    """Return how many connections there may be: a quarter of the open files is left to everything else."""
    try:
        import resource
    except ImportError:  # Windows
        return limits.connections
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY:
        return limits.connections
    room = max(1, soft - max(soft // 4, 32))
    if room < limits.connections and "connections" in limits.model_fields_set:
        log.warning(
            "expose.limits.connections is %d, and %d open files leave room for %d: raise ulimit -n",
            limits.connections, soft, room,
        )  # fmt: skip
    return min(limits.connections, room)


class Guard(asyncio.BufferedProtocol):
    """Stands before the protocol of one connection, which is made once the connection is let in."""

    def __init__(self, edge: Edge, make: Callable[[Guard], Inner]) -> None:
        self.edge = edge
        self._read = edge.read
        self._buffer = edge.buffer
        self._make = make
        self._inner: Inner | None = None
        self._transport: asyncio.Transport | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._left = 0
        self._dropped = False
        self._held = bytearray()  # read, and not handed on before its turn

    def hand_over(self, inner: Inner) -> None:
        """Let another protocol go on with the connection."""
        self._inner = inner

    def used(self) -> None:
        """Note that the connection has sent a whole request."""
        self.edge.unused.pop(self, None)

    # -- asyncio's side ------------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        if self.edge.admit(self):
            self._inner = self._make(self)
            self._inner.connection_made(self._transport)
        else:
            self._transport.write(_FULL % (len(_FULL_BODY), _FULL_BODY))
            self._transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        inner, self._inner, self._transport = self._inner, None, None
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None
        if inner is not None:
            self.edge.forget(self)
            inner.connection_lost(exc)

    def get_buffer(self, sizehint: int) -> memoryview:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        if self._inner is None:
            return
        if (self._held or self.edge.is_crowded()) and self._transport is not None:  # in the order it came
            self._held += self._read[:nbytes]
            self._transport.pause_reading()
            self.edge.take_turns(self)
            return
        self._inner.data_received(self._read[:nbytes])
        if nbytes == READ_BYTES:
            inner, transport = self._inner, self._transport
            if inner is None or transport is None or transport.is_closing():
                return
            if inner.reading and not inner.awaiting:
                transport.pause_reading()
                self.edge.take_turns(self)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        self.watch_unread()
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._unread is not None and self._transport is not None and not self._transport.is_closing():
            self._unread.cancel()
            self._unread = None
        if self._inner is not None:
            self._inner.resume_writing()

    # -- what a client does not read -----------------------------------------------------------------

    def watch_unread(self) -> None:
        """Drop the client unless it takes what is buffered for it in time."""
        transport = self._transport
        if self._unread is None and transport is not None:
            self._left = transport.get_write_buffer_size()
            loop = asyncio.get_running_loop()
            self._unread = loop.call_later(self.edge.limits.unread_seconds, self._look_at_unread)

    def _look_at_unread(self) -> None:
        transport, self._unread = self._transport, None
        if transport is None:
            return
        left = transport.get_write_buffer_size()
        if left and left > self._left - PROGRESS_BYTES:
            self.drop_unread()
        elif left:
            self.watch_unread()

    def drop_unread(self) -> None:
        """Drop a client that does not read, and count it once, whoever notices."""
        if self._transport is not None and not self._dropped:
            self._dropped = True
            self.edge.refuse_unread()
            self._transport.abort()

    # -- turns ---------------------------------------------------------------------------------------

    def read_on(self) -> None:
        """Read from the connection again, unless its protocol does not want that."""
        held, self._held = self._held, bytearray()
        if held and self._inner is not None:
            self._inner.data_received(held)
        inner, transport = self._inner, self._transport
        if inner is not None and transport is not None and not transport.is_closing() and inner.reading:
            transport.resume_reading()

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._transport is not None:
            self._transport.abort()
