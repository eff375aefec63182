"""stdout and stderr of a server: whoever reads them cannot stop it.

A pipe whose reader has stalled blocks the thread that writes to it. In a server that would be the event
loop, as soon as something is logged or printed there. So what is written to ``sys.stdout`` and ``sys.stderr``
is queued, and a thread of its own writes it to the file descriptor. The queue is bounded: what does not fit
is dropped and counted.
"""

from __future__ import annotations

import io
import logging
import os
import select
import stat
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Final

MAX_BYTES: Final = 1024 * 1024
"""Bytes that may wait for each file descriptor until the Dockfile has been read; see `allow_waiting`."""

WRITE_BYTES: Final = 100
"""About what a waiting write takes besides its bytes."""

FLUSH_SECONDS: Final = 0.5
"""How long the end of the process waits for output that nobody has read yet."""

AT_ONCE: Final = 64 * 1024

log = logging.getLogger("dockrion")

_outlets: weakref.WeakSet[Outlet] = weakref.WeakSet()
_dropped = 0


def dropped_records() -> int:
    """Return how many writes to stdout and stderr this process has dropped; a line of the log is one."""
    return _dropped


def flush_output(seconds: float = FLUSH_SECONDS) -> None:
    """Wait up to ``seconds`` until everything written so far has been read or buffered by the system."""
    deadline = time.monotonic() + seconds
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError, AttributeError):  # closed, or None
            stream.flush()
    for outlet in list(_outlets):
        outlet.wait_until_written(deadline)


def allow_waiting(max_bytes: int) -> None:
    """Let so many bytes wait for the reader of each file descriptor; further writes are dropped."""
    for outlet in list(_outlets):
        outlet.max_bytes = max_bytes


@contextmanager
def unblocked_output() -> Iterator[None]:
    """Within the block, writing to ``sys.stdout`` or ``sys.stderr`` never waits for a reader."""
    before = sys.stdout, sys.stderr
    with suppress(OSError, ValueError, AttributeError):  # closed, or replaced by something without a file
        out, err = (stream.fileno() for stream in before)
        error_outlet = Outlet(err, "stderr")
        # Where both are the same file, one queue keeps the order in which they were written to.
        outlet = error_outlet if os.path.sameopenfile(out, err) else Outlet(out, "stdout")
        for stream in before:
            stream.flush()
        sys.stdout, sys.stderr = outlet.stream(before[0]), error_outlet.stream(before[1])
    try:
        yield
    finally:
        flush_output()
        if sys.stdout is not before[0]:
            # What holds the replaced streams still, a handler say, goes on through them.
            sys.stdout, sys.stderr = before


class Outlet:
    """A queue of writes to one file descriptor, and the thread that carries them out.

    ``put`` never waits for a reader. Where there is none to wait for, the file descriptor being that of a
    file, it writes directly; so it does in a forked child, which has no such thread.
    """

    def __init__(self, fd: int, name: str) -> None:
        self.fd: int = fd
        self.max_bytes: int = MAX_BYTES
        self._name = name
        self._changed = threading.Condition()  # its lock may be taken again by a signal handler
        self._queue: deque[bytes] = deque()
        self._bytes = 0  # in the queue and being written
        self._unreported = 0
        self._thread: threading.Thread | None = None
        self._direct = stat.S_ISREG(os.fstat(fd).st_mode)
        self._gone = False
        self._buffers: weakref.WeakSet[_Buffer] = weakref.WeakSet()
        _outlets.add(self)

    def stream(self, like: Any) -> io.TextIOWrapper:
        """Return a text stream that writes here, with the encoding of ``like``."""
        buffer = _Buffer(self, like.name)
        self._buffers.add(buffer)
        return io.TextIOWrapper(buffer, encoding=like.encoding, errors=like.errors, line_buffering=True)

    def put(self, data: bytes) -> None:
        """Queue a write; drop it where the queue is full."""
        if self._direct:
            self._write(data)
            return
        global _dropped
        with self._changed:
            if self._gone:
                return
            full = self._bytes and self._bytes + len(data) > self.max_bytes
            if full or len(self._queue) * WRITE_BYTES >= self.max_bytes:
                _dropped += 1
                self._unreported += 1
                return
            self._queue.append(data)
            self._bytes += len(data)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._write_all, name=f"dockrion-{self._name}", daemon=True
                )
                self._thread.start()
            self._changed.notify_all()

    def wait_until_written(self, deadline: float) -> None:
        """Wait until the queue is empty, at most until ``deadline`` by ``time.monotonic``."""
        with self._changed:
            self._changed.wait_for(lambda: not self._bytes, max(0.0, deadline - time.monotonic()))

    def forked(self) -> None:
        """Write directly from now on: this is a child, and what waited is its parent's to write."""
        self._changed = threading.Condition()
        self._queue = deque()
        self._bytes = 0
        self._direct = True
        for buffer in list(self._buffers):
            buffer.forked()

    def _write_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue)
                parts = list(self._queue)
                self._queue.clear()
            for part in parts:  # each by itself: to a pipe that processes share, a line is then one piece
                self._write(part)
            with self._changed:
                self._bytes -= sum(map(len, parts))
                count, self._unreported = self._unreported, 0
                self._changed.notify_all()
            if count:
                log.warning(
                    "%d writes to %s were dropped: its reader has stalled for a while", count, self._name
                )

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        while view and not self._gone:
            try:
                view = view[os.write(self.fd, view) :]
            except BlockingIOError:  # somebody has made the file descriptor non-blocking
                select.select([], [self.fd], [])
            except BrokenPipeError:  # its reader has gone: nobody is left to write for
                with self._changed:
                    self._gone = True
                    self._bytes -= sum(map(len, self._queue))
                    self._queue.clear()
            except OSError:  # a disk that is full, say
                return


class _Buffer(io.BufferedIOBase):
    """The binary layer below a text stream: each flush is one write, a line or more."""

    def __init__(self, outlet: Outlet, name: Any) -> None:
        self._outlet = outlet
        self._lock = threading.RLock()  # a signal handler may print while its thread prints
        self._pending = bytearray()
        self.name = name
        self.mode = "wb"

    def write(self, data: Any) -> int:
        with self._lock:
            self._pending += data
        if len(self._pending) > AT_ONCE:
            self.flush()
        return len(data)

    def flush(self) -> None:
        with self._lock:
            data, self._pending = bytes(self._pending), bytearray()
        if data:
            self._outlet.put(data)

    def forked(self) -> None:
        """Forget what the parent has written, and a lock that another of its threads may have held."""
        self._lock = threading.RLock()
        self._pending = bytearray()

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._outlet.fd

    def isatty(self) -> bool:
        return os.isatty(self._outlet.fd)


def _forked() -> None:
    for outlet in list(_outlets):
        outlet.forked()


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forked)
