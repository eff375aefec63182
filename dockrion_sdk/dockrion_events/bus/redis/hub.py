"""Hints by publish and subscribe: one connection for a whole process.

A hint says that something may have changed. It may get lost, so nothing depends on it but speed; what
it is about is always read from the log or the record.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, TypeAlias

from redis.asyncio.connection import AbstractConnection

from ...errors import BackendUnavailable
from .commands import Commands
from .faults import FAILURES, forbidden
from .lanes import CONNECT_SECONDS, LONGEST_PAUSE

Hint: TypeAlias = Callable[[bytes | None], None]
"""Called with a message, and with None when the subscription has begun, maybe not for the first time:
what happened before may have been missed."""

SILENCE_SECONDS: Final = 10.0
"""After so much silence the connection is asked whether it is alive; after twice as much it is closed."""


FORBIDDEN_SECONDS: Final = 10.0
"""The pause before a subscription that is not allowed is tried again."""


class Hub:
    """Subscriptions to channels, kept over losses of the connection."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands
        self._loop = asyncio.get_running_loop()
        self._hints: dict[bytes, Hint] = {}
        self._changes: dict[bytes, bool] = {}  # channels to subscribe to, or to leave
        self._changed = asyncio.Event()
        self._connection: AbstractConnection | None = None
        self._heard_at = 0.0
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        self._tasks = [self._loop.create_task(self._listen()), self._loop.create_task(self._talk())]

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._hints.clear()

    def subscribe(self, channel: bytes, hint: Hint) -> None:
        """Call ``hint`` for each message on ``channel`` from some moment on, which it is told of."""
        self._hints[channel] = hint
        self._changes[channel] = True
        self._changed.set()

    def unsubscribe(self, channel: bytes) -> None:
        if self._hints.pop(channel, None) is not None:
            self._changes[channel] = False
            self._changed.set()

    # -- the connection ------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Connect, and hand out what arrives; for ever."""
        failures = 0
        while True:
            connection = None
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    connection = await self._commands.connection_for(None)
                    await connection.connect()  # type: ignore[no-untyped-call]
                failures = 0
                self._heard_at = self._loop.time()
                self._changes = dict.fromkeys(self._hints, True)
                self._connection = connection
                self._changed.set()
                while True:
                    self._handle(await connection.read_response(timeout=float("inf")))
            except (*FAILURES, BackendUnavailable) as error:
                failures = min(failures + 1, 10)
                if forbidden(error) is not None:
                    await asyncio.sleep(FORBIDDEN_SECONDS)  # `checked` has said so
            finally:
                self._connection = None
                if connection is not None:
                    await connection.disconnect(nowait=True)
            await asyncio.sleep(min(LONGEST_PAUSE, 0.01 * 2**failures))

    def _handle(self, reply: object) -> None:
        self._heard_at = self._loop.time()
        if not isinstance(reply, list) or len(reply) != 3:
            return
        kind, channel, payload = reply
        hint = self._hints.get(channel)
        if hint is None:
            return
        if kind == b"message":
            hint(payload)
        elif kind == b"subscribe":
            hint(None)

    async def _talk(self) -> None:
        """Send subscriptions, gathered over a turn of the loop, and signs of life."""
        while True:
            try:
                async with asyncio.timeout(SILENCE_SECONDS / 2):
                    await self._changed.wait()
            except TimeoutError:
                pass
            self._changed.clear()
            connection = self._connection
            if connection is None:
                continue
            changes, self._changes = self._changes, {}
            joined = [channel for channel, wanted in changes.items() if wanted]
            left = [channel for channel, wanted in changes.items() if not wanted]
            try:
                if joined:
                    await connection.send_command(b"SUBSCRIBE", *joined, check_health=False)
                if left:
                    await connection.send_command(b"UNSUBSCRIBE", *left, check_health=False)
                await self._check(connection)
            except FAILURES:
                await connection.disconnect(nowait=True)  # the listener finds out

    async def _check(self, connection: AbstractConnection) -> None:
        silence = self._loop.time() - self._heard_at
        if silence > 2 * SILENCE_SECONDS:
            await connection.disconnect(nowait=True)
        elif silence > SILENCE_SECONDS:
            await connection.send_command(b"PING", check_health=False)
