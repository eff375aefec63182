"""`dockrion stream`: watch one execution in the terminal."""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import Annotated, Any, Protocol

import typer

from dockrion_events import AnyEvent, CancelledEvent, EncodedEvent, EventsFilter, StreamContext, as_encoded

from ..app import create_app
from ..service import Service
from ..stream import Execution
from .agent import checked_payload, own_stdout, read_dockfile, run_agent, running
from .failure import FAILED, INTERRUPTED, TRACEBACK_HINT, told
from .live import LiveView
from .logs import log_to_stderr
from .options import HERE, DockfilePath, EnvFile, PayloadText, Verbose, chosen_events
from .plain import JSONView, PlainView

_CODES = {"complete": 0, "error": FAILED, "cancelled": INTERRUPTED}


class View(Protocol):
    """Shows the events of one execution."""

    def show(self, item: AnyEvent) -> None:
        """Show an event, now."""

    def close(self) -> None:
        """Finish: no event follows."""


def stream(
    payload: PayloadText,
    path: DockfilePath = HERE,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET|LIST", help="In place of streaming.events.allowed: chat, or token,step."
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print each event as one line of JSON.")] = False,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Execute the agent once and show its events as they come."""
    chosen = None if events is None else EventsFilter(chosen_events(events))
    with told(verbose) as teller, ExitStack() as stack:
        log_to_stderr(teller, level=logging.WARNING, failures=False)
        live = sys.stdout.isatty() and not json
        out = sys.stdout if live else stack.enter_context(own_stdout())
        dockfile = read_dockfile(path, env_file, teller)
        data = checked_payload(payload, dockfile)
        app = create_app(dockfile)

        async def main() -> int:
            async with running(app) as service:
                if live:
                    with LiveView() as view:
                        return await _watch(service, data, chosen, view)
                return await _watch(service, data, chosen, JSONView(out) if json else PlainView(out))

        code = run_agent(main())
        if code == FAILED and not verbose:
            teller.say(f"  {TRACEBACK_HINT}")
    raise typer.Exit(code)


async def _watch(
    service: Service, payload: dict[str, Any], events_filter: EventsFilter | None, view: View
) -> int:
    request_id = service.new_request_id()
    context = StreamContext(request_id, events_filter=events_filter or service.events_filter)
    service.enter()
    config = {"configurable": {"thread_id": request_id}}
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
    return INTERRUPTED if interrupted.is_set() else _CODES[last]


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
