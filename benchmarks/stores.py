"""A redis-server for a scenario, and the two processes that append to it and read from it."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.servers.redis import RedisServer  # it knows where one is found, and how it is started

from .machine import CLIENT_CORE, CORES, cpu_seconds
from .server import Worker

SHARED_MEMORY: Final = Path("/dev/shm")


class Store(RedisServer):
    """A redis-server that keeps an append-only file and syncs it every second."""

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def cpu_seconds(self) -> float:
        return cpu_seconds(self.pid)

    def keys(self) -> int:
        """Return how many keys there are."""
        return int(self.command("DBSIZE").removeprefix(b":"))


@contextmanager
def redis_store(*, cores: Collection[int] = CORES) -> Iterator[Store]:
    """Run a redis-server on these cores within the block."""
    # Its file is in memory: a disk that others use as well would be what is measured.
    memory = SHARED_MEMORY if SHARED_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="dockrion-bench-", dir=memory) as folder:
        store = Store(Path(folder))
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, cores)
        try:
            store.start()
        finally:
            os.sched_setaffinity(0, before)
        try:
            yield store
        finally:
            store.kill()


class Pair:
    """One process that appends and one that reads, each on a core of its own."""

    def __init__(self, store: Store, module: str) -> None:
        self._store = store
        self._module = module
        self.writer = Worker()
        self.reader = Worker(CLIENT_CORE)

    def __enter__(self) -> Self:
        for worker in (self.writer, self.reader):
            worker.ask(f"{self._module}.connect", url=self._store.url)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.writer.__exit__(kind, error, trace)
        self.reader.__exit__(kind, error, trace)

    def write(self, command: str, **arguments: Any) -> Any:
        return self.writer.ask(f"{self._module}.{command}", **arguments)

    def read(self, command: str, **arguments: Any) -> Any:
        return self.reader.ask(f"{self._module}.{command}", **arguments)

    def together(
        self, writing: tuple[str, dict[str, Any]], reading: tuple[str, dict[str, Any]]
    ) -> tuple[Any, Any, float, float]:
        """Let one write while the other reads.

        Returns the answers of both, the processor seconds of the two together, and those of Redis.
        """
        cpu = self.writer.cpu_seconds() + self.reader.cpu_seconds()
        served = self._store.cpu_seconds()
        self.reader.begin(f"{self._module}.{reading[0]}", **reading[1])
        self.writer.begin(f"{self._module}.{writing[0]}", **writing[1])
        written, read = self.writer.answer(), self.reader.answer()
        cpu = self.writer.cpu_seconds() + self.reader.cpu_seconds() - cpu
        return written, read, cpu, self._store.cpu_seconds() - served
