"""One connection in use: a batch of commands goes out, and replies are handed out as they arrive."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeAlias, cast

from hiredis import Reader
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as LinkBroken
from redis.exceptions import InvalidResponse

OnReply: TypeAlias = Callable[[Any], None]
"""Takes one reply, an error reply as an exception; what it raises breaks the link."""


_INCOMPLETE: Final = False
"""What the reader has where a reply is not all there yet; in RESP2 no reply is that."""


class Link(asyncio.Protocol):
    """A connection that redis-py has made, with its TLS, its password and its database.

    redis-py awaits each reply by itself, through a stream and three coroutines, which is a tenth of
    what a short run costs. So it hands the transport over: replies are read in the callback of the
    loop, and no task is resumed. The error replies are redis-py's own exceptions.

    A batch fails with `LinkBroken`, with ``TimeoutError`` after ``reply_seconds`` without a reply, or
    with what its taker or its transport raised. The link is of no use afterwards, and ``broken`` says why.
    """

    def __init__(self, connection: AbstractConnection, reply_seconds: float) -> None:
        # Private names of redis-py, whose streams cannot be left by its public ones.
        parser, writer = cast("Any", connection)._parser, cast("Any", connection)._writer
        self._reader = Reader(protocolError=InvalidResponse, replyError=parser.parse_error)
        self._transport: asyncio.Transport = writer.transport
        self._reply_seconds = reply_seconds
        self._loop = asyncio.get_running_loop()
        self._answered: asyncio.Future[None] | None = None
        self._heard_at = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0
        self._take: OnReply = lambda _: None
        self.broken: Exception | None = None
        if self._transport.is_closing():  # nobody would tell us any more
            self.broken = LinkBroken("the connection was lost before it was used")
        self._transport.set_protocol(self)

    def exchange(self, commands: Iterable[bytes], replies: int, take: OnReply) -> asyncio.Future[None]:
        """Send a batch of packed commands and give ``take`` each of the replies; done after the last."""
        self._answered = answered = self._loop.create_future()
        if self.broken is not None:
            answered.set_exception(self.broken)
            return answered
        self._due, self._take = replies, take
        self._heard_at = self._loop.time()
        if self._timer is None:
            self._timer = self._loop.call_later(self._reply_seconds, self._look)
        try:
            self._transport.writelines(commands)
        except Exception as error:  # noqa: BLE001 - it is unknown how much of it is on its way
            self._give_up(error)
        return answered

    def close(self) -> None:
        """Drop the connection."""
        self._give_up(LinkBroken("the connection was closed"))

    # -- what the loop calls -------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        reader, take = self._reader, self._take
        self._heard_at = self._loop.time()
        try:
            reader.feed(data)
            while (reply := reader.gets()) is not _INCOMPLETE:
                if not self._due:
                    raise LinkBroken("the server has sent a reply that nobody had asked for")
                self._due -= 1
                take(reply)
        except Exception as error:  # noqa: BLE001 - whatever it is, the next reply would be a wrong one
            self._give_up(error)
            return
        if not self._due and self._answered is not None and not self._answered.done():
            self._answered.set_result(None)

    def connection_lost(self, error: Exception | None) -> None:
        self._break(LinkBroken(f"the connection was lost: {error}" if error else "the server closed it"))

    # -- inside --------------------------------------------------------------------------------

    def _give_up(self, error: Exception) -> None:
        self._break(error)
        self._transport.abort()

    def _break(self, error: Exception) -> None:
        if self.broken is None:
            self.broken = error
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._answered is not None and not self._answered.done():
            self._answered.set_exception(self.broken)

    def _look(self) -> None:
        """See whether replies are overdue; one timer serves all batches that follow each other."""
        self._timer = None
        if not self._due:
            return
        left = self._heard_at + self._reply_seconds - self._loop.time()
        if left > 0:
            self._timer = self._loop.call_later(left, self._look)
        else:
            self._give_up(TimeoutError("no answer in time"))
