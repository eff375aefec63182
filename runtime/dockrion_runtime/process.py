"""The end of a process whose agents may not want to end."""

from __future__ import annotations

import asyncio
import os
import sys
from contextlib import suppress
from typing import Final, NoReturn

from dockrion_adapters import abandoned_threads

PATIENCE: Final = 1.0
"""Seconds in which tasks that are cancelled at the end have to end."""


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
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError):
            stream.flush()
    os._exit(code)


async def _cancel_rest() -> int:
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    if not tasks:
        return 0
    _, pending = await asyncio.wait(tasks, timeout=PATIENCE)
    return len(pending)
