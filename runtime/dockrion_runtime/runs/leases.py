"""Renewing leases while the event loop is blocked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from dockrion_events.bus import Claim, EventBackend

log = logging.getLogger("dockrion")


class LeaseKeeper:
    """Renews the leases of a process's runs in place of its blocked event loop; see `WhileBlocked`.

    An event backend belongs to the loop it was opened on. So another one of the same store is opened on a
    loop of the watchdog's thread, when it is needed, and closed when the loop goes on. After
    ``longest`` seconds it gives up: no execution may take longer, and others then take the runs over.

    A process that is stopped as a whole, or whose interpreter is blocked, loses its leases as before.
    """

    def __init__(
        self,
        open_another: Callable[[], EventBackend],
        claims: Callable[[], Iterable[Claim]],
        *,
        lease_seconds: float,
        longest: float,
    ) -> None:
        self._open_another = open_another
        self._claims = claims
        self._lease_seconds = lease_seconds
        self.after: float = min(1.0, lease_seconds / 3)
        self._longest = longest
        self._runner: asyncio.Runner | None = None
        self._backend: EventBackend | None = None
        self._renewed_at = float("-inf")

    def blocked(self, seconds: float) -> None:
        """Renew what is due."""
        now = time.monotonic()
        if seconds > self._longest or now - self._renewed_at < self._lease_seconds / 3:
            return
        claims = [claim for claim in self._claims() if not claim.revoked.done()]
        if not claims:
            return
        self._renewed_at = now
        if self._runner is None:
            self._runner = asyncio.Runner()
        try:
            self._runner.run(self._renew(claims))
        except Exception as error:  # noqa: BLE001 - whatever the store raises, the watch goes on
            log.warning("the leases could not be renewed while the event loop is blocked: %r", error)

    def released(self) -> None:
        """Close what was opened."""
        runner, backend = self._runner, self._backend
        self._runner = self._backend = None
        self._renewed_at = float("-inf")
        if runner is not None:
            with runner:
                if backend is not None:
                    with suppress(Exception):
                        runner.run(backend.close())

    async def _renew(self, claims: list[Claim]) -> None:
        async with asyncio.timeout(self._lease_seconds):
            if self._backend is None:
                backend = self._open_another()
                await backend.open()
                self._backend = backend
            # What it learns of lost rights, the claims' own backend learns as well, when its loop goes on.
            twins = [claim.twin() for claim in claims]
            await self._backend.renew(twins, lease_seconds=self._lease_seconds)
