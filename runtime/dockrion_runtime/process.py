"""The end of a process whose agents may not want to end, and what it must not leave to its children."""

from __future__ import annotations

import _thread
import asyncio
import logging
import os
import queue
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, Final, NoReturn, TypeAlias

from dockrion_adapters import abandoned_threads
from dockrion_adapters.stream import running_agents
from dockrion_adapters.threads import THREAD_NAMES

from .output import flush_output

LAST_SECONDS: Final = 1.0
"""How much longer than its grace period a process may take to end."""

FAREWELL_SECONDS: Final = 0.3
"""Of these, how long the process takes to say that it ends regardless of what still runs."""

SAME_ORDER_SECONDS: Final = 1.0
"""Signals of different kinds within this time are one order: a terminal and a supervisor both send theirs."""

PATIENCE: Final = 0.5
"""Seconds in which tasks that are cancelled at the end have to end."""

INTERRUPTED: Final = 130

log = logging.getLogger("dockrion")

Handler: TypeAlias = Callable[[int, FrameType | None], Any]


def stop_signals() -> list[signal.Signals]:
    """Return the signals that tell a process to drain and end.

    A hang-up that is ignored, as under ``nohup``, stays ignored. Windows has none, and Ctrl-Break instead.
    """
    names = ("SIGINT", "SIGTERM", "SIGBREAK", "SIGHUP")
    found = [getattr(signal, name) for name in names if hasattr(signal, name)]
    return [sig for sig in found if sig.name != "SIGHUP" or signal.getsignal(sig) is not signal.SIG_IGN]


@contextmanager
def handling(handler: Handler) -> Iterator[None]:
    """Let ``handler`` take the signals that stop a process; only the main thread can."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {sig: signal.signal(sig, handler) for sig in stop_signals()}
    _handlers.append(handler)
    _handled.update(before)
    try:
        yield
    finally:
        with suppress(ValueError):  # this is a forked child
            _handlers.remove(handler)
        _handled.clear()
        for sig, old in before.items():
            signal.signal(sig, old)


def retake_signals() -> None:
    """Take the signals back whose handlers an agent has replaced: nothing else would end the process.

    Called on the event loop now and then; it does nothing outside of `handling`.
    """
    if not _handlers or threading.current_thread() is not threading.main_thread():
        return
    for sig in _handled:
        if signal.getsignal(sig) is not _handlers[-1]:
            signal.signal(sig, _handlers[-1])
            log.warning("the agent has replaced the handler of %s; the server's own is set again", sig.name)


class Ending:
    """Ends the process in time, whatever it still runs.

    Code that swallows its cancellation, threads that are joined when the interpreter ends, children that it
    waits for, exit handlers and a blocked event loop: each of them may keep a process for ever. A thread that
    needs none of them ends it when its time is over.
    """

    def __init__(self) -> None:
        self._asked: queue.SimpleQueue[tuple[float, int]] = queue.SimpleQueue()  # a signal handler may put
        threading.Thread(target=self._watch, name="dockrion-ending", daemon=True).start()
        self._first: tuple[float, int] | None = None

    def within(self, seconds: float, code: int = 0) -> None:
        """End the process within ``seconds`` with this exit code; the earliest of several calls counts."""
        self._asked.put((time.monotonic() + seconds, code))

    def last(self, code: int) -> None:
        """End the process soon: what it was there for is over. A signal that comes now ends it at once."""
        self.within(LAST_SECONDS, code)
        if threading.current_thread() is threading.main_thread():
            for sig in stop_signals():
                signal.signal(sig, lambda *_: self.within(0.0, code))

    def repeated(self, sig: int) -> bool:
        """Say whether a signal repeats the order to stop, which it then gives more urgently."""
        now = time.monotonic()
        if self._first is None:
            self._first = (now, sig)
            return False
        at, first = self._first
        return sig == first or now - at > SAME_ORDER_SECONDS

    def _watch(self) -> None:
        deadline, code = self._asked.get()
        while (left := deadline - FAREWELL_SECONDS - time.monotonic()) > 0:
            try:
                other, its_code = self._asked.get(timeout=left)
            except queue.Empty:
                break
            if other < deadline:
                deadline, code = other, its_code
        # In a thread of its own: an agent's log handler may block, or hold a lock.
        said = _thread.allocate_lock()
        said.acquire()
        _thread.start_new_thread(_farewell, (said,))
        said.acquire(timeout=max(0.0, deadline - time.monotonic()))
        os._exit(code)


def _farewell(said: _thread.LockType) -> None:
    try:
        log.warning("did not end in time, and ends with the process: %s", _what_runs())
        end_children()
        flush_output(FAREWELL_SECONDS)
    finally:
        said.release()


def _what_runs() -> str:
    main = threading.main_thread()
    threads = [one.name for one in threading.enumerate() if not one.daemon and one is not main]
    own = [name for name in threads if not name.startswith(THREAD_NAMES)]
    frame = sys._current_frames().get(main.ident or 0)
    held = {
        "agents": running_agents(),
        "threads in synchronous code": abandoned_threads(),
        "threads of its own": ", ".join((*own[:5], *(["…"] if own[5:] else []))),
        "the main thread": frame and f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}",
    }
    return "; ".join(f"{what}: {value}" for what, value in held.items() if value)


def end_children() -> None:
    """Terminate the processes that the agent has started with ``multiprocessing``.

    The interpreter would wait for them for ever. Other children are the agent's own to end.
    """
    if (module := sys.modules.get("multiprocessing")) is not None:
        for child in module.active_children():
            with suppress(OSError, AttributeError):
                child.terminate()


def held_by(runner: asyncio.Runner) -> str:
    """Cancel what still runs on the loop and say what goes on regardless; empty where nothing does.

    Closing the loop, or ending the interpreter, would wait for it for ever.
    """
    tasks, threads = runner.run(_cancel_rest()), abandoned_threads()
    held = [("tasks that swallow it", tasks), ("threads in synchronous code", threads)]
    told = ", ".join(f"{what}: {count}" for what, count in held if count)
    return told and f"cancelled, and still running: {told}"


def leave(code: int) -> NoReturn:
    """End the process at once, with whatever it still runs."""
    end_children()
    flush_output()
    os._exit(code)


async def _cancel_rest() -> int:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks:
        return 0
    _, pending = await asyncio.wait(tasks, timeout=PATIENCE)
    return len(pending)


# -- forks ---------------------------------------------------------------------------------------

_handlers: list[Handler] = []
_handled: set[signal.Signals] = set()
"""The signals that the last of `_handlers` takes."""


def _forked() -> None:
    """Give a child the usual signals: ours would wake the parent's loop and leave the child alive."""
    if not _handlers:
        return
    _handlers.clear()
    _handled.clear()
    signal.set_wakeup_fd(-1)
    for sig in stop_signals():
        signal.signal(sig, signal.default_int_handler if sig == signal.SIGINT else signal.SIG_DFL)


if hasattr(os, "register_at_fork"):  # Windows has no forks
    os.register_at_fork(after_in_child=_forked)
