"""A TCP proxy that delays, loses replies or cuts; with a certificate, one that speaks TLS to its clients."""

from __future__ import annotations

import asyncio
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import TracebackType
from typing import Self

PATIENCE = 10.0


class Proxy:
    """Forwards connections to a port of the loopback, from a thread of its own.

    All methods are for any thread.
    """

    def __init__(self, target: int, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = 0
        self.lost = 0
        """How many replies were lost so far."""
        self._target = target
        self._tls = tls
        self._delay = 0.0
        self._lose: list[bytes] = []
        self._cut = False
        self._sizes: Iterator[int] = iter(())
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        self._server: asyncio.Server | None = None
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    @property
    def url(self) -> str:
        return f"{'rediss' if self._tls else 'redis'}://127.0.0.1:{self.port}/0"

    def __enter__(self) -> Self:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._open(), self._loop).result(PATIENCE)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        asyncio.run_coroutine_threadsafe(self._close(), self._loop).result(PATIENCE)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(PATIENCE)
        self._loop.close()

    def lose_reply(self, to: bytes) -> None:
        """Lose the reply to the next request that contains ``to``, and cut its connection then."""
        self._do(lambda: self._lose.append(to))

    def cut_after(self, sizes: Iterator[int]) -> None:
        """Cut each new connection when the next of these many bytes of replies have passed."""

        def change() -> None:
            self._sizes = sizes

        self._do(change)

    def delay(self, seconds: float) -> None:
        """Hold back every reply for so long."""

        def change() -> None:
            self._delay = seconds

        self._do(change)

    def cut(self) -> None:
        """Cut all connections, and those that come, until `mend`."""

        def change() -> None:
            self._cut = True
            self._abort()

        self._do(change)

    def cut_once(self) -> None:
        """Cut the connections there are."""
        self._do(self._abort)

    def mend(self) -> None:
        def change() -> None:
            self._cut = False

        self._do(change)

    def _do(self, change: Callable[[], None]) -> None:
        done = threading.Event()

        def act() -> None:
            change()
            done.set()

        self._loop.call_soon_threadsafe(act)
        assert done.wait(PATIENCE)

    # -- in the thread -------------------------------------------------------------------------

    async def _open(self) -> None:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=self._tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _abort(self) -> None:
        for writer in self._writers:
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._cut:
            writer.transport.abort()
            return
        there: asyncio.StreamWriter | None = None
        try:
            upstream, there = await asyncio.open_connection("127.0.0.1", self._target)
            self._writers |= {writer, there}
            losing = [False]
            pumps = {
                asyncio.ensure_future(self._requests(reader, there, losing)),
                asyncio.ensure_future(self._replies(upstream, writer, losing)),
            }
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)
        except OSError:
            pass
        finally:
            for end in (writer, there):
                if end is not None:
                    self._writers.discard(end)
                    end.transport.abort()
                    with suppress(OSError, asyncio.CancelledError):
                        await end.wait_closed()

    async def _requests(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: list[bool]
    ) -> None:
        while data := await reader.read(1 << 16):
            for mark in self._lose:
                if mark in data:
                    self._lose.remove(mark)
                    losing[0] = True
                    break
            writer.write(data)
            await writer.drain()

    async def _replies(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, losing: list[bool]
    ) -> None:
        left = next(self._sizes, None)
        while data := await reader.read(1 << 16):
            if losing[0]:
                self.lost += 1
                return
            if self._delay:
                await asyncio.sleep(self._delay)
            writer.write(data[:left])
            await writer.drain()
            if left is not None and (left := left - len(data)) <= 0:
                self.lost += 1
                writer.close()  # what was written arrives, cut off anywhere
                return
