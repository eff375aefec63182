"""What `dockrion stream` does here: one execution, watched."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

from dockrion_events import CancelledEvent, EncodedEvent, EventsFilter, StreamContext, as_encoded

from ..app import create_app
from ..service import Service
from ..stream import Execution
from .agent import check_input, checked_payload, own_stdout, read_dockfile, run_agent, running
from .failure import FAILED, INTERRUPTED, TRACEBACK_HINT, Teller
from .logs import log_to_stderr
from .view import CODES, View, opened_view
from .waiting import waiting


def stream_here(
    payload: str,
    path: Path,
    chosen: EventsFilter | None,
    env_file: Path | None,
    teller: Teller,
    *,
    json: bool,
) -> int:
    """Execute the agent once, show its events as they come, and return the exit code."""
    with ExitStack() as stack:
        log_to_stderr(teller, level=logging.WARNING, failures=False)
        live = sys.stdout.isatty() and not json
        out = sys.stdout if live else stack.enter_context(own_stdout())
        dockfile = read_dockfile(path, env_file, teller)
        data = checked_payload(payload, dockfile)
        with waiting("loading the agent"):
            app = create_app(dockfile)
        service: Service = app.state.service
        service.disclosure = service.disclosure._replace(errors="full")  # this terminal is the author's

        async def main() -> int:
            async with running(app) as service:
                with opened_view(out, json=json) as view:
                    return await _watch(service, data, chosen, view)

        code = run_agent(main())
        if code == FAILED and not teller.verbose:
            teller.say(f"the agent failed; {TRACEBACK_HINT}" if json else f"  {TRACEBACK_HINT}")
    return code


async def _watch(service: Service, payload: Any, events_filter: EventsFilter | None, view: View) -> int:
    request_id = service.new_request_id()
    chosen = service.events_filter
    if events_filter is not None:
        chosen = chosen.with_events(events_filter.allowed)
    context = StreamContext(request_id, events_filter=chosen)
    config = service.config("", None, request_id)
    await check_input(service, payload, config)
    service.enter()
    execution: Execution[EncodedEvent] = service.execute(payload, config, context, as_encoded)
    last = "cancelled"
    try:
        with _on_interrupt(lambda: execution.stop(CancelledEvent("interrupted"))) as interrupted:
            while not execution.ended:
                await execution.wait()
                for item in execution.take():
                    view.show(item)
                    last = item.type
    finally:
        view.close()
        await execution.aclose()
        service.forget(execution)
    return INTERRUPTED if interrupted.is_set() else CODES[last]


@contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[threading.Event]:
    """Call ``stop`` on the loop at the first Ctrl-C and say so; a second one raises KeyboardInterrupt."""
    loop = asyncio.get_running_loop()
    happened = threading.Event()
    before = signal.getsignal(signal.SIGINT)

    def interrupted(_: int, __: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        happened.set()
        loop.call_soon_threadsafe(stop)

    signal.signal(signal.SIGINT, interrupted)
    try:
        yield happened
    finally:
        signal.signal(signal.SIGINT, before)
