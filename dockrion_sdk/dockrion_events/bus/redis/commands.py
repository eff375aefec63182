"""Which server a command goes to: the only one, the master of a Sentinel, or one of a cluster."""

from __future__ import annotations

import asyncio
import secrets
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from redis.asyncio.connection import AbstractConnection

from .lanes import NEWBORN, Call, Lane, Part
from .scripts import Script
from .urls import Make, Master, Place, connection


class Commands(ABC):
    """Sends commands, each for up to ``patience`` seconds; see `lanes`.

    ``one_slot`` says whether a script's keys have to be of one slot.
    """

    one_slot: bool

    def __init__(self, place: Place, size: int, patience: float) -> None:
        self.text: str = place.text
        self._place = place
        self._size = size
        self._patience = patience
        self._loop = asyncio.get_running_loop()

    def call(self, key: bytes, *parts: Part, seconds: float | None = None) -> asyncio.Future[Any]:
        """Send a command to the server that has ``key``; the reply is as Redis gives it, in bytes.

        The future fails with `BackendUnavailable`.
        """
        return self._send(key, parts, None, seconds)

    def call_now(self, key: bytes, *parts: Part) -> asyncio.Future[Any]:
        """As `call`, but give up where the connection is lost before the reply.

        For what is right only as long as the server is known to have lost nothing.
        """
        return self._send(key, parts, None, None, now=True)

    def run(self, script: Script, keys: Sequence[bytes], *args: Part) -> asyncio.Future[Any]:
        """Run a script."""
        return self._send(keys[0], (b"EVALSHA", script.sha, len(keys), *keys, *args), script.source, None)

    def run_parts(self, script: Script, key: bytes, parts: tuple[Part, ...]) -> asyncio.Future[Any]:
        """Run a script whose whole command the caller has made, as `head` makes its beginning."""
        return self._send(key, parts, script.source, None)

    @staticmethod
    def head(script: Script, keys: Sequence[bytes], *args: Part) -> tuple[Part, ...]:
        """Return the beginning of a command for `run_parts`."""
        return (b"EVALSHA", script.sha, len(keys), *keys, *args)

    def _send(
        self,
        key: bytes,
        parts: tuple[Part, ...],
        source: bytes | None,
        seconds: float | None,
        *,
        now: bool = False,
    ) -> asyncio.Future[Any]:
        loop = self._loop
        future: asyncio.Future[Any] = loop.create_future()
        call = Call(parts, future, loop.time() + (self._patience if seconds is None else seconds), source)
        if now:
            call.born = NEWBORN
        self._submit(key, call)
        return future

    @abstractmethod
    def _submit(self, key: bytes, call: Call) -> None: ...

    @property
    @abstractmethod
    def troubles(self) -> int:
        """How many connections were lost so far."""

    @property
    @abstractmethod
    def troubled_at(self) -> float:
        """The loop's time at which a connection was lost or came back the last time."""

    @abstractmethod
    async def open(self) -> None:
        """Learn where the servers are."""

    @abstractmethod
    async def close(self) -> None:
        """Close all connections; what was not answered fails."""

    @abstractmethod
    def lanes(self) -> list[Lane]:
        """Return one lane for each server that keeps data."""

    @abstractmethod
    def places(self) -> list[tuple[Lane, str]]:
        """Return each server that keeps data, and a new hash tag whose keys it has."""

    @abstractmethod
    async def connection_for(self, key: bytes | None) -> AbstractConnection:
        """Return a connection of the caller's own, not connected yet, to the server that has ``key``.

        With None to any server.
        """

    async def ask(self, lane: Lane, *parts: Part) -> Any:
        """Send a command to one server."""
        future: asyncio.Future[Any] = self._loop.create_future()
        lane.submit(Call(parts, future, self._loop.time() + self._patience, None))
        return await future

    def _lane(self, make: Make, text: str, **hooks: Any) -> Lane:
        # Half of the patience, so that a command whose reply was lost can be sent once more.
        return Lane(make, self._size, text, reply_seconds=self._patience / 2, **hooks)


class OneServer(Commands):
    """A single server, or the master that the sentinels name."""

    one_slot = False

    def __init__(self, place: Place, size: int, patience: float) -> None:
        super().__init__(place, size, patience)
        self._master = Master(place) if place.kind == "sentinel" else None
        self._make = self._master or connection(place.options)
        self._only = self._lane(self._make, place.text)

    def _submit(self, key: bytes, call: Call) -> None:
        self._only.submit(call)

    @property
    def troubles(self) -> int:
        return self._only.troubles

    @property
    def troubled_at(self) -> float:
        return self._only.troubled_at

    async def open(self) -> None:
        await self.call(b"", b"PING")

    async def close(self) -> None:
        await self._only.close()
        if self._master is not None:
            await self._master.close()

    def lanes(self) -> list[Lane]:
        return [self._only]

    def places(self) -> list[tuple[Lane, str]]:
        return [(self._only, secrets.token_hex(6))]

    async def connection_for(self, key: bytes | None) -> AbstractConnection:
        return self._make()
