"""Plain scripts and Ctrl-C: what is waited for ends, and so does the agent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from itertools import count
from types import FrameType
from typing import Any

import pytest
from anyio import from_thread
from anyio.from_thread import start_blocking_portal

from dockrion_adapters import HandlerAdapter
from dockrion_sdk import SyncClient, stream_sync, syncing

DEADLINE = 10.0


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


@pytest.mark.parametrize("adapted", [True, False], ids=["a stream", "a generator"])
def test_ctrl_c_stops_what_is_iterated(adapted: bool) -> None:
    stopped = threading.Event()

    async def forever(payload: object) -> AsyncIterator[str]:
        try:
            yield "hello"
            threading.Timer(0.05, press_ctrl_c).start()
            await asyncio.Event().wait()
        finally:
            stopped.set()

    source: AsyncIterator[Any] = forever({})
    if adapted:
        source = HandlerAdapter(forever).invoke_stream({})
    seen = []

    def watch() -> None:
        for item in stream_sync(source):
            seen.append(item)  # noqa: PERF402 - it is interrupted

    with pytest.raises(KeyboardInterrupt):
        watch()
    assert len(seen) == (2 if adapted else 1)
    assert stopped.wait(DEADLINE)


def test_ctrl_c_may_come_at_any_line() -> None:
    """The interruption is what comes out, and the stream is closed, wherever the thread stands."""
    files = (syncing.__file__, from_thread.__file__)

    def interrupted_at(line: int) -> bool:
        """Interrupt the iteration at the line-th line this thread comes to; False: it has fewer."""
        opened: list[str] = []
        closed: list[str] = []

        async def endless() -> AsyncIterator[int]:
            opened.append("opened")
            try:
                yield 0
                await asyncio.sleep(0.001)
                yield 1
                await asyncio.Event().wait()
            finally:
                closed.append("closed")

        left = line

        def trace(frame: FrameType, event: str, _: object) -> Any:
            nonlocal left
            if frame.f_code.co_filename not in files:
                return None
            left -= event == "line"
            if left == 0:
                sys.settrace(None)
                raise KeyboardInterrupt
            return trace

        with start_blocking_portal() as portal:
            events = syncing.iterated(portal, endless())
            before = sys.gettrace()
            sys.settrace(trace)
            try:
                begun = [next(events), next(events)] == [0, 1]
            except KeyboardInterrupt:
                begun = False
            finally:
                sys.settrace(before)
            events.close()
            assert len(opened) == len(closed), f"line {line}"
        return not begun

    lines = next(line for line in count(1) if not interrupted_at(line))
    assert lines > 20


def test_ctrl_c_ends_a_request_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        threading.Timer(0.2, press_ctrl_c).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), SyncClient(url) as client:
            client.runs.get("any")
        assert time.monotonic() - began < DEADLINE
