"""Clients of a house under attack: they make runs, follow them, lose connections and come back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .ledger import TERMINAL, Figures, Seen, faults_of_log
from .processes import Instance
from .wire import BROKEN, Answer, Frame, ask, followed

SILENCE = 3.0
"""Heartbeats come every second; after so much silence a subscriber goes elsewhere."""

RUN_PATIENCE = 90.0
GUILTY_PATIENCE = 300.0
"""A run that takes each of its executors along is executed six times, and waits for its neighbours."""

NOBODY: Mapping[str, float] = {}
HONEST_ENDS = {
    "complete",
    "cancelled",
    "error EXECUTOR_LOST",
    "error LOG_UNAVAILABLE",  # Redis was away for longer than a run waits
    "error LOG_LOST",  # it lost what it had taken, as `appendfsync everysec` allows
}


@dataclass
class House:
    """The processes that share one agent's runs, and what is known of who executes what."""

    policy: str
    servers: list[Instance]
    workers: list[Instance]
    figures: Figures
    up: set[Instance] = field(default_factory=set)
    executing: dict[str, int] = field(default_factory=dict)  # run -> pid, as its latest token says
    killed: dict[str, tuple[int, float]] = field(default_factory=dict)  # run -> pid, when
    standing_since: float = 0.0  # since when there have been Redis and a server

    @property
    def instances(self) -> list[Instance]:
        return [*self.servers, *self.workers]

    def raised(self, instance: Instance) -> None:
        """Note that a process is ready, or goes on."""
        if not self.up.intersection(self.servers):
            self.standing_since = time.monotonic()
        self.up.add(instance)

    def note_kill(self, instance: Instance) -> None:
        """Remember which runs lose their executor at this moment."""
        now = time.monotonic()
        for run, pid in self.executing.items():
            if pid == instance.pid:
                self.killed[run] = (pid, now)

    def note(self, run: str, frame: Frame) -> None:
        """Learn from an event who executes the run, and when it goes on after a kill."""
        if frame.event == "token":
            self.executing[run] = int(frame.json()["content"].partition(":")[0])
        elif frame.event == "restarted" or frame.event in TERMINAL:
            self.executing.pop(run, None)
            killed = self.killed.pop(run, None)
            lost = frame.event == "restarted" or b"EXECUTOR_LOST" in (frame.data or b"")
            if killed is not None and lost:
                now = time.monotonic()
                self.figures.recoveries.append(now - killed[1])
                self.figures.recoveries_standing.append(now - max(killed[1], self.standing_since))


@dataclass(frozen=True)
class Plan:
    """One run as its client wants it."""

    run: str
    payload: dict[str, Any]
    joins: Sequence[float]  # seconds after the creation at which subscribers come
    leaves: Sequence[int]  # after how many events each of them breaks its own connection, once
    cancel_after: float | None


def planned(
    rng: random.Random, run: str, subscribers: int, misbehaving: Mapping[str, float] = NOBODY
) -> Plan:
    """Draw a run; ``misbehaving`` says in which part of them an agent does so, and how."""
    tokens = rng.randint(30, 120)
    payload: dict[str, Any] = {
        "tokens": tokens,
        "burst": rng.choice([1, 2, 5]),
        "pause": rng.uniform(0.02, 0.06),
    }
    how = rng.choices([None, *misbehaving], [1 - sum(misbehaving.values()), *misbehaving.values()])[0]
    if how is not None:
        payload["misbehaves"] = how
    joins = [rng.choice([0.0, 0.0, rng.uniform(0.0, 2.0)]) for _ in range(subscribers)]
    leaves = [rng.choice([0, rng.randint(1, tokens)]) for _ in range(subscribers)]
    cancel_after = rng.uniform(0.0, 2.0) if rng.random() < 0.05 else None
    if how == "hang":
        cancel_after = rng.uniform(4.0, 8.0)  # nothing else would end it soon
    return Plan(run, payload, joins, leaves, cancel_after)


class Client:
    """Sees one run through, whatever happens to the servers."""

    def __init__(self, house: House, plan: Plan, rng: random.Random) -> None:
        self.house = house
        self.plan = plan
        self._rng = rng
        self._counts = house.figures.counts

    async def see_through(self) -> bytes:
        """Make the run, follow it to its end, judge it; return its log's bytes."""
        plan = self.plan
        answer = await self._insist("POST", f"/runs?run_id={plan.run}", plan.payload)
        assert answer.status in (200, 202), answer
        self._counts["runs"] += 1
        cancelling = asyncio.create_task(self._cancel())
        seen = [Seen() for _ in plan.joins]
        try:
            guilty = plan.payload.get("misbehaves") == "exit for ever"
            async with asyncio.timeout(GUILTY_PATIENCE if guilty else RUN_PATIENCE):
                await asyncio.gather(
                    cancelling,
                    *(self._subscribe(*one) for one in zip(seen, plan.joins, plan.leaves, strict=True)),
                )
        except TimeoutError:
            self._fault("a subscriber waited in vain")
        return await self._judge(seen)

    async def _judge(self, seen: list[Seen]) -> bytes:
        figures, plan = self.house.figures, self.plan
        frames = await self.log()
        shown = (await self._insist("GET", f"/runs/{plan.run}")).json()
        for fault in faults_of_log(frames, shown, int(plan.payload["tokens"])):
            self._fault(fault)
        log = {frame.id or 0: frame.data or b"" for frame in frames}
        for one in seen:
            self._counts["delivered"] += len(one.data)
            self._counts["gaps"] += len(one.gaps)
            for fault in one.against(log):
                self._fault(fault)
        self._counts["events"] += len(frames)
        self._counts["restarted"] += sum(frame.event == "restarted" for frame in frames)
        end = figures.end_of(frames[-1]) if frames else "nothing"
        if end not in HONEST_ENDS or (end == "cancelled" and plan.cancel_after is None):
            self._fault(f"it ended in {end}")
        misbehaves = plan.payload.get("misbehaves")
        if misbehaves is not None:
            self._counts[f"runs that {misbehaves}"] += 1
        if end == "complete" and misbehaves in ("hang", "exit for ever"):
            self._fault(f"it ended in complete, and {misbehaves}s")
        return b"\n".join(log.values())

    def _fault(self, text: str) -> None:
        kind = text.partition(":")[0].split()[0]
        self._counts[kind if kind in ("lost", "duplicated") else "other faults"] += 1
        self.house.figures.faults.append(f"{self.house.policy} {self.plan.run}: {text}")

    # -- talking to whoever answers ------------------------------------------------------------

    def _port(self) -> int:
        return self._rng.choice(self.house.servers).port

    async def _insist(self, method: str, path: str, body: object = None) -> Answer:
        """Ask until somebody answers other than with 503; every request may be made again."""
        while True:
            try:
                answer = await ask(self._port(), method, path, body=body, patience=6.0)
                if answer.status != 503:
                    return answer
            except BROKEN:
                pass
            self._counts["requests made again"] += 1
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def log(self) -> list[Frame]:
        """Read the whole log, in one go."""
        while True:
            try:
                async with followed(self._port(), self.plan.run, patience=SILENCE) as response:
                    if response.status == 200:
                        every = [frame async for frame in response.frames(SILENCE)]
                        frames = [frame for frame in every if frame.data and frame.event != "heartbeat"]
                        if frames and frames[-1].event in TERMINAL:
                            return frames
                    elif response.status == 404:
                        self._fault("lost: the run itself")
                        return []
            except BROKEN:
                pass
            await asyncio.sleep(self._rng.uniform(0.05, 0.3))

    async def _cancel(self) -> None:
        if self.plan.cancel_after is not None:
            await asyncio.sleep(self.plan.cancel_after)
            answer = await self._insist("DELETE", f"/runs/{self.plan.run}")
            assert answer.status in (200, 409), answer
            self._counts["cancels"] += 1

    # -- a subscriber --------------------------------------------------------------------------

    async def _subscribe(self, seen: Seen, join: float, leave: int) -> None:
        await asyncio.sleep(join)
        first = True
        while not seen.ended:
            if not first:
                self._counts["reconnects"] += 1
                await asyncio.sleep(self._rng.uniform(0.02, 0.2))
            first = False
            try:
                leave = await self._follow(seen, leave)
            except BROKEN:
                self._counts["connections broken"] += 1

    async def _follow(self, seen: Seen, leave: int) -> int:
        """Read one connection until it ends; return when to leave the next one."""
        async with followed(self._port(), self.plan.run, seen.last, patience=SILENCE) as response:
            if response.status in (204, 404):
                seen.faults.append(f"lost: answered {response.status} behind {seen.last}")
                seen.ended = True
            if response.status != 200:
                return leave
            async for frame in response.frames(SILENCE):
                seen.take(frame)
                self.house.note(self.plan.run, frame)
                if leave and len(seen.data) >= leave and not seen.ended:
                    return 0
        return leave
