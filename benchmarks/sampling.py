"""A sampling profiler of this process: which lines hold the processor.

Driven by the processor time taken (ITIMER_PROF), so that waiting does not count. The handler runs in
the main thread, where the event loop is; a line's share includes the C code that it calls.
"""

from __future__ import annotations

import signal
import sys
from collections import Counter
from types import FrameType, TracebackType
from typing import Final, Self

EVERY: Final = 0.001
SHOWN: Final = 30


class Sampler:
    """Samples within the block, and writes the most frequent lines and functions to stderr after it."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._lines: Counter[str] = Counter()
        self._functions: Counter[str] = Counter()
        self._samples = 0

    def __enter__(self) -> Self:
        signal.signal(signal.SIGPROF, self._sample)
        signal.setitimer(signal.ITIMER_PROF, EVERY, EVERY)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.setitimer(signal.ITIMER_PROF, 0)
        self._write("where it is (line)", self._lines)
        self._write("what it is within (function, callees included)", self._functions)

    def _sample(self, number: int, frame: FrameType | None) -> None:
        if frame is None:
            return
        self._samples += 1
        self._lines[f"{_place(frame)}:{frame.f_lineno}"] += 1
        within = set()
        while frame is not None:
            within.add(f"{_place(frame)}:{frame.f_code.co_firstlineno}")
            frame = frame.f_back
        self._functions.update(within)

    def _write(self, title: str, counts: Counter[str]) -> None:
        print(f"\n{self._name}: {title}, {self._samples} samples", file=sys.stderr)
        for place, count in counts.most_common(SHOWN):
            print(f"{count / self._samples:7.1%}  {place}", file=sys.stderr)


def _place(frame: FrameType) -> str:
    file = "/".join(frame.f_code.co_filename.split("/")[-2:])
    return f"{frame.f_code.co_qualname} {file}"
