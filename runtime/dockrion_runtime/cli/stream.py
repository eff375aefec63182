"""`dockrion stream`: watch one execution in the terminal."""

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
from typing import Annotated, Any

import typer

from dockrion_events import CancelledEvent, EncodedEvent, EventsFilter, StreamContext, as_encoded

from ..app import create_app
from ..service import Service
from ..stream import Execution
from .agent import checked_payload, own_stdout, payload_of, read_dockfile, run_agent, running
from .failure import FAILED, INTERRUPTED, TRACEBACK_HINT, told
from .logs import log_to_stderr
from .options import (
    HERE,
    AsJSONLines,
    DockfilePath,
    EnvFile,
    PayloadText,
    Verbose,
    chosen_events,
    completed_events,
)
from .project import KEY_VARIABLE
from .remote import KeyVariable, api_key, connected, show_events
from .view import CODES, View, opened_view
from .waiting import waiting


def stream(
    payload: PayloadText,
    path: DockfilePath = HERE,
    events: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET|LIST",
            help="In place of streaming.events.allowed: chat, or token,step.",
            autocompletion=completed_events,
        ),
    ] = None,
    url: Annotated[
        str | None,
        typer.Option("--url", metavar="URL", help="Have a server execute its agent.", show_default=False),
    ] = None,
    key_env: KeyVariable = KEY_VARIABLE,
    json: AsJSONLines = False,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Execute the agent once and show its events as they come."""
    chosen = None if events is None else EventsFilter(chosen_events(events))
    if url is None:
        code = _execute_here(payload, path, chosen, json, env_file, verbose)
    elif chosen is not None or path != HERE:
        raise typer.BadParameter(
            "with --url the server has the agent and the events: leave PATH and --events out"
        )
    else:
        code = _execute_there(url, payload, key_env, json, env_file, verbose)
    raise typer.Exit(code)


def _execute_here(
    payload: str, path: Path, chosen: EventsFilter | None, json: bool, env_file: Path | None, verbose: bool
) -> int:
    with told(verbose) as teller, ExitStack() as stack:
        log_to_stderr(teller, level=logging.WARNING, failures=False)
        live = sys.stdout.isatty() and not json
        out = sys.stdout if live else stack.enter_context(own_stdout())
        dockfile = read_dockfile(path, env_file, teller)
        data = checked_payload(payload, dockfile)
        with waiting("loading the agent"):
            app = create_app(dockfile)

        async def main() -> int:
            async with running(app) as service:
                with opened_view(out, json=json) as view:
                    return await _watch(service, data, chosen, view)

        code = run_agent(main())
        if code == FAILED and not verbose:
            teller.say(f"  {TRACEBACK_HINT}")
    return code


def _execute_there(
    url: str, payload: str, key_env: str, json: bool, env_file: Path | None, verbose: bool
) -> int:
    with told(verbose) as teller:
        data = payload_of(payload)
        with connected(url, api_key(key_env, env_file), teller) as client:
            code, _, interrupted = show_events(client.stream(data), sys.stdout, json=json)
        if interrupted:
            teller.say("interrupted; the server stops its agent")
    return code


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
