"""A look at the event loop from outside: how late it is, and what blocks it.

Everything that a server does shares one event loop. Code that does not await keeps it from all else: no
request is answered, no lease renewed, and nothing on the loop can say so. A thread can.
"""

from __future__ import annotations

import asyncio
import logging
import sys
import threading
import time
import traceback
from itertools import dropwhile
from types import FrameType, TracebackType
from typing import Final, Protocol, Self

from .observability.meter import Buckets
from .process import retake_signals

BEAT_SECONDS: Final = 0.1
"""How often the loop gives a sign of life, and how often the thread looks for it."""

BLOCKED_SECONDS: Final = 1.0
"""A loop that was silent for so long counts as blocked."""

DEEPEST: Final = 20
"""Frames of the blocking code that are shown, the innermost ones."""

log = logging.getLogger("dockrion")

_LEADING: Final = frozenset(
    {"__main__", "asyncio", "click", "contextlib", "dockrion_adapters", "dockrion_events", "dockrion_runtime",
     "litestar", "multiprocessing", "runpy", "threading", "typer", "uvicorn", "uvloop"}
)  # fmt: skip
"""Packages whose frames lead from the command to the code that blocks."""


_IDLE: Final = frozenset({"asyncio.runners", "selectors"})
"""Modules in whose code a loop waits for something to do; uvloop's own has no frame."""


class WhileBlocked(Protocol):
    """What is done in the loop's place while it is blocked; called from the watchdog's thread."""

    after: float
    """After so many seconds of silence it is done."""

    def blocked(self, seconds: float) -> None:
        """The loop has been blocked for so long; called again every `BEAT_SECONDS`."""

    def released(self) -> None:
        """The loop goes on, or the watch has ended; called once after `blocked` was."""


class LoopWatch:
    """Watches the running loop within the block; ``lag`` gets how late each sign of life was.

    A process that was stopped as a whole (SIGSTOP, a suspended machine) has not been blocked: the thread
    counts only time during which it was running itself.
    """

    def __init__(self, lag: Buckets, while_blocked: WhileBlocked | None = None) -> None:
        self._lag = lag
        self._while_blocked = while_blocked
        self._loop = asyncio.get_running_loop()
        self._loop_thread = threading.get_ident()
        self._beats = 0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._over = threading.Event()

    def __enter__(self) -> Self:
        self._due = self._loop.time() + BEAT_SECONDS
        self._timer = self._loop.call_at(self._due, self._beat)
        threading.Thread(target=self._watch, name="dockrion-watchdog", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        if self._timer is not None:
            self._timer.cancel()

    def _beat(self) -> None:
        now = self._loop.time()
        self._lag.add(max(0.0, now - self._due))
        self._beats += 1
        retake_signals()
        self._due = now + BEAT_SECONDS
        self._timer = self._loop.call_at(self._due, self._beat)

    def _watch(self) -> None:
        seen, silent, told, acting, last = -1, 0.0, False, False, time.monotonic()
        while not self._over.wait(BEAT_SECONDS):
            now = time.monotonic()
            passed, last = min(now - last, 2 * BEAT_SECONDS), now
            if self._beats != seen:
                seen, silent = self._beats, 0.0
                told = False
                if acting and self._while_blocked is not None:
                    acting = False
                    self._while_blocked.released()
                continue
            silent += passed
            if silent >= BLOCKED_SECONDS and not told:
                told = self._tell(seen, silent)
            if self._while_blocked is not None and silent >= self._while_blocked.after:
                acting = True
                self._while_blocked.blocked(silent)
        if acting and self._while_blocked is not None:
            self._while_blocked.released()

    def _tell(self, seen: int, silent: float) -> bool:
        """Say what blocks the loop; False where nothing does: the machine has no time for it."""
        frame = sys._current_frames().get(self._loop_thread)
        if frame is None or self._beats != seen or frame.f_globals.get("__name__") in _IDLE:
            return False
        stack = blocking_frames(frame)
        log.warning(
            "the event loop has been blocked for %.1f s, and nothing else goes on meanwhile; it is at\n%s",
            silent,
            "".join(stack.format()).rstrip(),
        )
        return True


def blocking_frames(frame: FrameType) -> traceback.StackSummary:
    """Return the stack of the code that blocks, the outermost frame first, without what leads there."""
    frames = [one for one, _ in traceback.walk_stack(frame)][::-1]
    below = list(dropwhile(_leads_there, frames)) or frames
    return traceback.StackSummary.extract((one, one.f_lineno) for one in below[-DEEPEST:])


def _leads_there(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__", "")).partition(".")[0] in _LEADING
