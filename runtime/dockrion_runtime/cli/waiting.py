"""What keeps a person company in a terminal while something takes longer than a second."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner

SHOWN_AFTER_SECONDS: Final = 1.0


@contextmanager
def waiting(what: str) -> Iterator[None]:
    """Say ``what`` is going on, on stderr, once it has taken a second; only in a terminal."""
    if not sys.stderr.isatty():
        yield
        return
    # The agent's own stdout and stderr stay what they are: code that is loaded here keeps them.
    live = Live(
        Spinner("dots", what),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=False,
        redirect_stderr=False,
    )
    lock, over = threading.Lock(), False

    def show() -> None:
        with lock:
            if not over:
                live.start()

    timer = threading.Timer(SHOWN_AFTER_SECONDS, show)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        with lock:
            over = True
        timer.cancel()
        live.stop()
