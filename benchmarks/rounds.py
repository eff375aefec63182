"""The method: two sides by turns, round after round, and the median of their ratios."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from .client import Connection, Response, WrongStream, ask_all
from .report import Goal, Row
from .server import Server, Took

T = TypeVar("T")

IDLE_SECONDS: Final = 2.0
"""How long a connection may wait for its next turn; the server closes it after five."""


@dataclass(frozen=True)
class Plan:
    """How long to measure: ``rounds`` of each pair, ``crowd_rounds`` of the long one."""

    rounds: int = 9
    crowd_rounds: int = 3
    starts: int = 15

    @classmethod
    def quick(cls) -> Plan:
        return cls(rounds=3, crowd_rounds=1, starts=5)


@dataclass(frozen=True)
class Sample:
    """One side of one round.

    ``cpu_us`` is the processor time of the process measured, for each event or call; ``client_busy``
    the client's share of its own core: near 1, it is the client that was measured.
    """

    per_second: float
    cpu_us: float
    client_busy: float = 0.0
    frame_bytes: float = 0.0
    frames_a_chunk: float = 0.0


def sample_of(took: Took, count: int) -> Sample:
    """Return the sample of ``count`` events or calls that a worker was timed over."""
    return Sample(count / took.seconds, took.cpu_seconds / count * 1e6)


async def alternate(
    ours: Callable[[], Awaitable[T]],
    theirs: Callable[[], Awaitable[T]],
    rounds: int,
    *,
    warm_up: bool = True,
) -> list[tuple[T, T]]:
    """Measure both sides by turns, after one round each to warm up; who begins alternates too."""
    if warm_up:
        await theirs()
        await ours()
    pairs = []
    for number in range(rounds):
        with _no_collections():
            if number % 2:
                one, other = await ours(), await theirs()
            else:
                other, one = await theirs(), await ours()
        pairs.append((one, other))
    return pairs


@contextmanager
def _no_collections() -> Iterator[None]:
    """Keep the client's own collector out of a round."""
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


class Streaming:
    """Streams a server's responses on some connections at once; call it for a `Sample`."""

    def __init__(
        self,
        server: Server,
        path: str,
        body: bytes,
        *,
        tokens: int,
        streams: int,
        runs: int,
        others: int = 0,
    ) -> None:
        self._server = server
        self._path = path
        self._body = body
        self._tokens = tokens
        self._streams = streams
        self._runs = runs
        self._others = others
        self._connections: list[Connection] = []
        self._used = 0.0

    async def __call__(self) -> Sample:
        if time.monotonic() - self._used > IDLE_SECONDS:
            await self.close()
            self._connections = [await Connection.open(self._server.port) for _ in range(self._streams)]
            await ask_all(self._connections, self._path, self._body, 1)
        before = self._server.cpu_seconds()
        load = await ask_all(self._connections, self._path, self._body, self._runs)
        cpu = self._server.cpu_seconds() - before
        self._used = time.monotonic()
        for response in load.responses:
            response.events(tokens=self._tokens, others=self._others)
        events = len(load.responses) * (self._tokens + self._others + 2)
        tokens = len(load.responses) * self._tokens
        size, chunks = _frame_size(load.responses[0])
        return Sample(
            tokens / load.seconds,
            cpu / events * 1e6,
            load.client_busy,
            size,
            events / len(load.responses) / chunks,
        )

    async def close(self) -> None:
        for connection in self._connections:
            connection.close()
        self._connections = []


def _frame_size(response: Response) -> tuple[float, int]:
    """Return the mean bytes of a token's frame, and in how many chunks the stream came."""
    sizes = [len(frame) for frame in response.frames() if frame.startswith(b"event: token")]
    return statistics.fmean(sizes), len(response.chunks())


def comparable(pairs: Sequence[tuple[Sample, Sample]]) -> None:
    """Make sure that both sides send frames of the same size, and that it is not the client's limit
    that was found. Raises `WrongStream`.
    """
    busy = statistics.median(max(ours.client_busy, theirs.client_busy) for ours, theirs in pairs)
    if busy > 0.95:
        raise WrongStream(
            f"the client was busy for {busy:.0%} of the time: it was the client that was measured"
        )
    for ours, theirs in pairs:
        if abs(ours.frame_bytes - theirs.frame_bytes) > 0.02 * theirs.frame_bytes:
            raise WrongStream(
                f"the frames differ: {ours.frame_bytes:.1f} bytes against {theirs.frame_bytes:.1f}"
            )


def ratio_row(name: str, pairs: Sequence[tuple[float, float]], goal: Goal, detail: str) -> Row:
    """Return the row of a ratio: the median over the rounds, with its quartiles."""
    ratios = [ours / theirs for ours, theirs in pairs]
    return Row(name, statistics.median(ratios), "ratio", goal, spread=quartiles(ratios), detail=detail)


def speed_row(name: str, pairs: Sequence[tuple[Sample, Sample]], goal: Goal, more: str = "") -> Row:
    """Return the row of a ratio of speeds; behind it are the speeds and the processor time."""
    speeds = [(ours.per_second, theirs.per_second) for ours, theirs in pairs]
    ours, theirs = (statistics.median(side) for side in zip(*speeds, strict=True))
    cpu, raw_cpu = (statistics.median(pair[side].cpu_us for pair in pairs) for side in (0, 1))
    scale, unit = (1000, "ms") if cpu >= 1000 else (1, "µs")
    detail = (
        f"{rate(ours)} against {rate(theirs)}; CPU {cpu / scale:.3g} against {raw_cpu / scale:.3g} {unit}"
    )
    return ratio_row(name, speeds, goal, detail + more)


def rate(per_second: float) -> str:
    return f"{per_second / 1000:,.0f}k/s" if per_second >= 10_000 else f"{per_second:,.0f}/s"


def quartiles(values: Sequence[float]) -> tuple[float, float]:
    """Return the first and third quartile."""
    if len(values) < 2:
        return values[0], values[0]
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, high
