"""From a Dockfile to what serves its agent: the service, its runs, and how long they live."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager

from dockrion_sdk import Dockfile, load

from .observability import Observability
from .observability.tracing import open_tracing
from .redaction import redactor
from .runs.ids import id_generator
from .runs.service import Runs, event_backend
from .service import Service
from .watchdog import LoopWatch

log = logging.getLogger("dockrion")


def assemble(
    dockfile: Dockfile,
    env: Mapping[str, str],
    *,
    secrets: tuple[str, ...] = (),
    owners: int = 1,
    executing: bool = True,
) -> tuple[Service, Runs | None]:
    """Load the agent and return what serves it; nothing is started.

    ``secrets`` are the API keys, of so many ``owners``.

    Raises `DockfileError` and the adapters' `LoadError`.
    """
    adapter = load(dockfile)
    if getattr(adapter, "recursion_limit", 0) is None:
        adapter.recursion_limit = dockfile.agent.recursion_limit  # type: ignore[attr-defined]
    service = Service(
        dockfile,
        adapter,
        redact=redactor(dockfile, env, secrets),
        observability=Observability(metered=dockfile.observability.metrics, tracing=open_tracing(dockfile)),
    )
    if not dockfile.streaming.async_runs:
        return service, None
    runs = Runs(
        service,
        lambda: event_backend(dockfile, owners=owners),
        id_generator(dockfile),
        executing=executing,
    )
    service.runs = runs
    return service, runs


@asynccontextmanager
async def alive(service: Service, runs: Runs | None) -> AsyncIterator[None]:
    """Hold the agent's lifetime and the store; within, requests and runs can be served.

    Raises what the agent raises that does not start, and `BackendUnavailable`.
    """
    # Synchronous graph nodes run in the loop's own pool, whose usual size is a handful.
    asyncio.get_running_loop().set_default_executor(service.agent.pool)
    tracing = service.observability.tracing
    async with AsyncExitStack() as stack:
        if tracing is not None:
            stack.push_async_callback(tracing.close)
        await stack.enter_async_context(service.agent.lifetime())
        for warning in await service.agent.inspect():
            log.warning("%s", warning)
        service.learn_input_schema()
        if runs is not None:
            stack.push_async_callback(runs.close)
            await runs.open()
        service.ready = True
        try:
            yield
        finally:
            service.ready = False


@contextmanager
def watching(service: Service, runs: Runs | None) -> Iterator[None]:
    """Within the block, on the event loop: say what blocks the loop, and renew leases in its place."""
    keeper = None if runs is None else runs.lease_keeper()
    with LoopWatch(service.observability.meter.loop_lag, keeper):
        yield
