"""Plain scripts and Ctrl-C: what is waited for ends, and so does the agent."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from dockrion_adapters import HandlerAdapter
from dockrion_sdk import SyncClient, stream_sync

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


def test_ctrl_c_ends_a_request_at_once() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:  # takes connections and never answers
        url = f"http://127.0.0.1:{mute.getsockname()[1]}"
        threading.Timer(0.2, press_ctrl_c).start()
        began = time.monotonic()
        with pytest.raises(KeyboardInterrupt), SyncClient(url) as client:
            client.runs.get("any")
        assert time.monotonic() - began < DEADLINE
