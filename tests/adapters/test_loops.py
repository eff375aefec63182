"""Executions and the event loops they run on: none, a running one, one that ends."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar
from typing import Any

from dockrion_adapters import EventStream, HandlerAdapter

tenant: ContextVar[str] = ContextVar("tenant", default="nobody")


def test_a_loop_that_ends_takes_a_dropped_stream_along() -> None:
    ended: list[BaseException] = []

    async def agent(payload: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            ended.append(error)
            raise

    async def main() -> None:
        stream = HandlerAdapter(agent).invoke_stream(1)
        await anext(stream)
        await asyncio.sleep(0)
        kept.append(stream)

    kept: list[EventStream[Any]] = []
    asyncio.run(main())
    assert len(ended) == 1
    kept.clear()
    gc.collect()


def test_a_plain_invocation_works_with_and_without_a_loop() -> None:
    async def agent(payload: Any) -> Any:
        return tenant.get(), threading.current_thread() is threading.main_thread()

    token = tenant.set("acme")
    try:
        assert HandlerAdapter(agent).invoke(1) == ("acme", True)

        async def within() -> Any:
            return HandlerAdapter(agent).invoke(1)

        assert asyncio.run(within()) == ("acme", False)
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(HandlerAdapter(agent).invoke, 1).result(20) == ("nobody", False)
    finally:
        tenant.reset(token)
