"""The machine: one core for what is measured, one for who measures; processor time and memory."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
CORES: Final = sorted(os.sched_getaffinity(0))  # as this process was given them
SERVER_CORE: Final = CORES[0]
CLIENT_CORE: Final = CORES[-1]

_libc = ctypes.CDLL(None, use_errno=True)


def pin(core: int) -> None:
    """Keep this process, and what it starts from here on, on one core."""
    os.sched_setaffinity(0, {core})


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Be on one core within the block."""
    before = os.sched_getaffinity(0)
    pin(core)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def cpu_seconds(pid: int) -> float:
    """Return the processor time, user and system, that all threads of a process have taken.

    Read from the process's own clock (clock_getcpuclockid(3)), which counts nanoseconds where
    ``/proc/PID/stat`` counts hundredths of a second.
    """
    clock = ctypes.c_int()
    error = _libc.clock_getcpuclockid(pid, ctypes.byref(clock))
    if error:
        raise OSError(error, os.strerror(error))
    return time.clock_gettime(clock.value)


def memory_bytes(pid: int) -> int:
    """Return the resident memory of a process, shared pages by its share."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError(f"/proc/{pid}/smaps_rollup tells no Pss")


def allow_open_files(wanted: int) -> None:
    """Raise the soft limit of open files as far as the hard one lets us. Raises OSError where too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if limit < wanted:
        raise OSError(f"{wanted} open files are needed, and the hard limit is {hard}")
    if soft < limit:
        resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))


def processor() -> str:
    """Return the name of the processor, as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
