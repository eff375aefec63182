"""The storm: houses of servers and workers under load, while processes are killed, stopped and restarted."""

from __future__ import annotations

import asyncio
import hashlib
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..servers import RedisServer
from .clients import Client, House, planned
from .ledger import Figures
from .processes import GO_ON, STOP, DidNotStart, Instance, project

LEASE_SECONDS = 1.5
STOPPED_SECONDS = 3 * LEASE_SECONDS
RECOVERY_BOUND = 30.0
"""Seconds within which a lost run goes on or ends.

Its lease and one look of the others are 3.5 of them. In the rest it may wait for executors that are about to
execute another run alone: they claim nothing until what they execute has ended, and some of that hangs until
its client cancels it. Without such agents the bound is 15 seconds: see ``test_executors.py``.
"""

_MEMORY = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
"""Where Redis has its append-only file. On a busy disk it holds writes back while a sync is under way, for up
to two seconds, and a SIGKILL then takes what it had acknowledged: a failure of its own, tested apart.
"""

AGENT = """
import asyncio, os, pathlib, time

here = pathlib.Path(__file__).parent
begun = here / "begun.txt"

async def misbehave(how, run):
    if how == "block":
        time.sleep(2)
    elif how == "exit for ever":
        os._exit(9)
    elif how == "exit":
        marker = here / f"{run}.exited"
        if not marker.exists():
            marker.touch()
            os._exit(9)
    while how == "hang":
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            pass

async def handle(payload, context):
    with begun.open("a") as file:
        file.write(f"{context.run_id}\\n")
    for number in range(int(payload["tokens"])):
        if number == payload["tokens"] // 2:
            await misbehave(payload.get("misbehaves"), context.run_id)
        await context.emit_token(f"{os.getpid()}:{number} " + "x" * (number % 200))
        if number % payload["burst"] == 0:
            await asyncio.sleep(payload["pause"])
    return {"said": payload["tokens"]}
"""


@dataclass(frozen=True)
class Size:
    """How much of it."""

    servers_killed: int
    workers_killed: int
    redis_killed: int
    stopped: int
    runs_at_once: int = 10
    subscribers: int = 3
    misbehaving: Mapping[str, float] = field(
        default_factory=lambda: {"block": 0.02, "exit": 0.02, "hang": 0.01}
    )
    """How an agent misbehaves, and in which part of the runs."""
    pause: tuple[float, float] = (0.8, 2.0)


SHORT = Size(servers_killed=11, workers_killed=2, redis_killed=3, stopped=2)
LONG = Size(
    servers_killed=200,
    workers_killed=20,
    redis_killed=50,
    stopped=24,
    misbehaving={"block": 0.02, "exit": 0.02, "hang": 0.01, "exit for ever": 0.002},
)


class Storm:
    """One storm over a folder, all its choices drawn from ``seed``."""

    def __init__(self, folder: Path, size: Size, seed: int, tell: Callable[[str], None] = print) -> None:
        self.figures = Figures(seed)
        self._size = size
        self._seed = seed
        self._tell = tell
        self._rng = random.Random(seed)
        self._memory = tempfile.TemporaryDirectory(prefix="chaos-redis-", dir=_MEMORY)
        self._redis = RedisServer(Path(self._memory.name) / "redis")
        self._houses = [self._house(folder / policy, policy) for policy in ("fail", "restart")]
        self._folder = folder
        self._digests: dict[str, str] = {}
        self._over = asyncio.Event()
        self._tending: set[asyncio.Task[None]] = set()
        self._keeping: asyncio.Task[None] | None = None

    def _house(self, folder: Path, policy: str) -> House:
        project(
            folder,
            AGENT,
            name=f"house-{policy}",
            redis=self._redis.url,
            streaming={
                "runs": {"on_executor_lost": policy, "lease_seconds": LEASE_SECONDS, "max_concurrent": 16},
                "events": {"heartbeat_interval": 1},
            },
        )
        servers = [Instance(folder) for _ in range(2)]
        return House(policy, servers, [Instance(folder, worker=True)], self.figures)

    async def rage(self) -> Figures:
        """Go through with it, and return what was counted."""
        async with self._standing():
            figures = self.figures
            figures.began = time.monotonic()
            async with asyncio.TaskGroup() as group:
                for house in self._houses:
                    for number in range(self._size.runs_at_once):
                        group.create_task(self._work(house, number))
                await self._attack()
                self._over.set()
            figures.seconds = time.monotonic() - figures.began
            await self._look_again()
            self._count_begun()
        self._read_logs()
        return figures

    @asynccontextmanager
    async def _standing(self) -> AsyncIterator[None]:
        instances = [instance for house in self._houses for instance in house.instances]
        with self._memory, self._redis:
            try:
                await asyncio.gather(
                    *(self._raise(house, one, 0.0) for house in self._houses for one in house.instances)
                )
                self._keeping = asyncio.create_task(self._keep_up())
                self._tending.add(self._keeping)
                yield
            finally:
                for task in self._tending:
                    task.cancel()
                await asyncio.gather(*self._tending, return_exceptions=True)
                for instance in instances:
                    instance.kill()

    # -- load ----------------------------------------------------------------------------------

    async def _work(self, house: House, number: int) -> None:
        rng = random.Random(f"{self._seed} {house.policy} {number}")
        count = 0
        while not self._over.is_set():
            count += 1
            run = f"{house.policy}-{number}-{count}"
            plan = planned(rng, run, self._size.subscribers, self._size.misbehaving)
            client = Client(house, plan, rng)
            self._digests[run] = hashlib.sha256(await client.see_through()).hexdigest()

    async def _look_again(self) -> None:
        """Nothing may have followed an end: every log is what it was."""
        for house in self._houses:
            rng = random.Random(0)
            for run in [run for run in self._digests if run.startswith(f"{house.policy}-")]:
                frames = await Client(house, planned(rng, run, 0), rng).log()
                digest = hashlib.sha256(b"\n".join(frame.data or b"" for frame in frames)).hexdigest()
                if digest != self._digests[run]:
                    self.figures.faults.append(f"{run}: its log has changed after its end")

    def _count_begun(self) -> None:
        """A run that is never restarted was executed once at most."""
        begun = (self._folder / "fail" / "begun.txt").read_text().split()
        self.figures.counts["executions"] += len(begun)
        if len(set(begun)) != len(begun):
            self.figures.faults.append("a run was executed twice although its policy is fail")

    def _read_logs(self) -> None:
        for house in self._houses:
            for instance in house.instances:
                text = instance.log.read_text(errors="replace")
                if "the executor failed" in text:
                    self.figures.faults.append(f"{instance.log}: an executor failed: {text[-3000:]}")

    # -- attack --------------------------------------------------------------------------------

    async def _attack(self) -> None:
        size = self._size
        kinds = {
            "server": size.servers_killed,
            "worker": size.workers_killed,
            "redis": size.redis_killed,
            "stop": size.stopped,
        }
        acts = [kind for kind, count in kinds.items() for _ in range(count)]
        self._rng.shuffle(acts)
        for number, act in enumerate(acts, 1):
            await asyncio.sleep(self._rng.uniform(*size.pause))
            await (self._kill_redis() if act == "redis" else self._strike(act))
            if number % 10 == 0 or number == len(acts):
                counts = self.figures.counts
                self._tell(
                    f"{number}/{len(acts)} attacks, {counts['runs']} runs, {counts['delivered']} events "
                    f"delivered, {counts['reconnects']} reconnects, {len(self.figures.faults)} faults"
                )
        for task in [task for task in self._tending if task is not self._keeping]:
            await task

    async def _strike(self, act: str) -> None:
        """Kill or stop a process that executes something, when there is one."""
        while True:
            house = self._rng.choice(self._houses)
            kind = house.workers if act == "worker" else house.servers
            among = kind if act != "stop" else house.instances
            busy = [one for one in among if one in house.up and one.pid in house.executing.values()]
            if busy:
                break
            await asyncio.sleep(0.05)
        victim = self._rng.choice(busy)
        house.up.discard(victim)
        self.figures.counts["stopped" if act == "stop" else f"{act} killed"] += 1
        if act == "stop":
            victim.signal(STOP)
            self._tend(self._wake(house, victim))
        else:
            house.note_kill(victim)
            victim.kill()
            self._tend(self._raise(house, victim, self._rng.uniform(0.0, 1.0)))

    async def _kill_redis(self) -> None:
        self.figures.counts["redis killed"] += 1
        self._redis.kill()
        await asyncio.sleep(self._rng.uniform(0.0, 1.5))
        await asyncio.to_thread(self._redis.start)
        for house in self._houses:
            house.standing_since = time.monotonic()

    def _tend(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._tending.add(task)
        task.add_done_callback(self._tending.discard)

    async def _raise(self, house: House, instance: Instance, pause: float) -> None:
        """Start a process, again if need be: it ends where Redis is away."""
        await asyncio.sleep(pause)
        while True:
            instance.start()
            try:
                await instance.ready()
                break
            except (DidNotStart, TimeoutError):
                instance.kill()
                self.figures.counts["starts made again"] += 1
        house.raised(instance)

    async def _keep_up(self) -> None:
        """Start the processes anew that an agent has taken along."""
        while True:
            await asyncio.sleep(0.05)
            for house in self._houses:
                for instance in [one for one in house.up if one.process.poll() is not None]:
                    house.up.discard(instance)
                    house.note_kill(instance)
                    self.figures.counts["taken along"] += 1
                    self._tend(self._raise(house, instance, 0.0))

    async def _wake(self, house: House, instance: Instance) -> None:
        await asyncio.sleep(STOPPED_SECONDS)
        instance.signal(GO_ON)
        house.raised(instance)
