"""Commands to a Redis Cluster: a lane for each master, and a map of the slots.

A run's keys share a hash tag, so each command has one slot. The map is read at the start, and again
when a server redirects a command or cannot be reached; until then its commands wait, and go where the new
map says.
"""

from __future__ import annotations

import asyncio
import random
import secrets
from typing import Any, Final

from redis.asyncio.connection import AbstractConnection
from redis.crc import key_slot
from redis.exceptions import AskError, MovedError

from ...errors import BackendUnavailable
from .commands import Commands
from .faults import FAILURES, described
from .lanes import CONNECT_SECONDS, Call, Lane
from .urls import Address, Place, connection

SLOTS: Final = 16384
REFRESH_PAUSE: Final = 0.1
"""Seconds between two readings of the map."""


class ClusterCommands(Commands):
    """Knows which master has which slot."""

    one_slot = True

    def __init__(self, place: Place, size: int, patience: float) -> None:
        super().__init__(place, size, patience)
        self._lanes: dict[Address, Lane] = {}
        self._map: list[Address | None] = [None] * SLOTS
        self._homeless: list[Call] = []  # their slot has no master at present
        self._refreshing: asyncio.Task[None] | None = None
        self._closing: set[asyncio.Task[None]] = set()
        self._closed = False
        self._retired_troubles = 0
        self._retired_at = float("-inf")

    def _submit(self, key: bytes, call: Call) -> None:
        call.slot = key_slot(key)
        self._route(call)

    def _route(self, call: Call) -> None:
        address = self._map[call.slot]
        if self._closed:
            call.fail(self._gone())
        elif address is None:
            self._homeless.append(call)
            self._refresh()
        else:
            self._lane_at(address).submit(call)

    def _lane_at(self, address: Address) -> Lane:
        lane = self._lanes.get(address)
        if lane is None:
            lane = self._lanes[address] = self._lane(
                connection(self._place.options, address),
                f"{address[0]}:{address[1]}",
                on_trouble=self._troubled,
                on_redirect=self._redirected,
            )
        return lane

    # -- what goes wrong -----------------------------------------------------------------------

    def _troubled(self, lane: Lane) -> None:
        self._refresh()

    def _redirected(self, call: Call, error: AskError) -> None:
        """Send a call to the server that the error names."""
        host = error.host or self._host_of(call.slot)
        address = (host, int(error.port))
        if isinstance(error, MovedError):
            self._map[call.slot] = address
            self._refresh()
        else:
            call.asking = True  # the slot is on its way there
        self._lane_at(address).submit(call)

    def _host_of(self, slot: int) -> str:
        address = self._map[slot]
        return address[0] if address is not None else self._place.nodes[0][0]

    def _refresh(self) -> None:
        if self._refreshing is None and not self._closed:
            self._refreshing = self._loop.create_task(self._read_map())

    async def _read_map(self) -> None:
        """Read the map again, and route anew what waits; again after a pause while something is homeless."""
        try:
            while True:
                await asyncio.sleep(REFRESH_PAUSE * random.uniform(0.5, 1.0))
                try:
                    self._take_map(await self._any_map())
                except BackendUnavailable as error:
                    self._expire(error)
                else:
                    self._expire(BackendUnavailable(f"a part of the cluster at {self.text} has no master"))
                if not self._homeless:
                    return
        finally:
            self._refreshing = None

    def _expire(self, error: BackendUnavailable) -> None:
        now = self._loop.time()
        for call in self._homeless:
            if call.deadline < now:
                call.fail(error)
        self._homeless = [call for call in self._homeless if not call.future.done()]

    async def _any_map(self) -> list[Any]:
        """Ask one server after the other for the map, until one answers."""
        addresses = list(dict.fromkeys([*self._lanes, *self._place.nodes]))
        random.shuffle(addresses)
        failure: BaseException | None = None
        for address in addresses:
            asked = connection(self._place.options, address)()
            try:
                async with asyncio.timeout(CONNECT_SECONDS):
                    await asked.connect()  # type: ignore[no-untyped-call]
                    await asked.send_command(b"CLUSTER", b"SLOTS", check_health=False)
                    ranges = await asked.read_response()
                return [(first, last, _address(master, address)) for first, last, master, *_ in ranges]
            except FAILURES as error:
                failure = error
            finally:
                await asked.disconnect(nowait=True)
        reason = "no node is known" if failure is None else described(failure)
        raise BackendUnavailable(f"no node of the cluster at {self.text} can be reached: {reason}")

    def _take_map(self, ranges: list[tuple[int, int, Address]]) -> None:
        masters = {address for _, _, address in ranges}
        self._map = [None] * SLOTS
        for first, last, address in ranges:
            self._map[first : last + 1] = [address] * (last + 1 - first)
        waiting = self._homeless
        self._homeless = []
        for address, lane in list(self._lanes.items()):
            waiting += lane.drain()
            if address not in masters:
                self._retire(address, lane)
        for address in masters:
            self._lane_at(address)
        for call in waiting:
            self._route(call)

    def _retire(self, address: Address, lane: Lane) -> None:
        del self._lanes[address]
        self._retired_troubles += lane.troubles + 1  # replies that were under way are lost with it
        self._retired_at = self._loop.time()
        lane.hand_over(self._route)
        task = self._loop.create_task(lane.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    # -- Commands ------------------------------------------------------------------------------

    @property
    def troubles(self) -> int:
        return self._retired_troubles + sum(lane.troubles for lane in self._lanes.values())

    @property
    def troubled_at(self) -> float:
        return max([self._retired_at, *(lane.troubled_at for lane in self._lanes.values())])

    async def open(self) -> None:
        deadline = self._loop.time() + self._patience
        while True:
            try:
                self._take_map(await self._any_map())
                break
            except BackendUnavailable:
                if self._loop.time() > deadline:
                    raise
            await asyncio.sleep(REFRESH_PAUSE)
        await asyncio.gather(*(self.ask(lane, b"PING") for lane in self.lanes()))

    async def close(self) -> None:
        self._closed = True
        if self._refreshing is not None:
            self._refreshing.cancel()
            await asyncio.gather(self._refreshing, return_exceptions=True)
        await asyncio.gather(*(lane.close() for lane in self._lanes.values()), *self._closing)
        for call in self._homeless:
            call.fail(self._gone())

    def _gone(self) -> BackendUnavailable:
        return BackendUnavailable(f"the connection to the cluster at {self.text} is closed")

    def places(self) -> list[tuple[Lane, str]]:
        found: dict[Lane, str] = {}
        lanes = self.lanes()
        for _ in range(100 * len(lanes)):  # by then each has one, if it has slots at all
            tag = secrets.token_hex(6)
            address = self._map[key_slot(tag.encode())]
            if address is not None:
                found.setdefault(self._lane_at(address), tag)
            if len(found) == len(lanes):
                break
        return list(found.items())

    def lanes(self) -> list[Lane]:
        return list(self._lanes.values())

    async def connection_for(self, key: bytes | None) -> AbstractConnection:
        address = (
            random.choice(list(self._lanes) or self._place.nodes) if key is None else self._map[key_slot(key)]
        )
        if address is None:
            self._refresh()
            raise BackendUnavailable(f"a part of the cluster at {self.text} has no master")
        return connection(self._place.options, address)()


def _address(master: list[Any], asked: Address) -> Address:
    """Return a server's address; one without a name is the server that was asked."""
    host, port = master[0], master[1]
    name = host.decode() if isinstance(host, bytes) else host
    return (name or asked[0], int(port))
