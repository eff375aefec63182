"""`dockrion test`: execute the agent once and print its output."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Annotated, Any

import msgspec
import typer

from dockrion_adapters.stream import outcome_of

from ..app import create_app
from ..routes import invocation
from ..service import Service
from ..stream import OutputInvalid
from .agent import checked_payload, own_stdout, read_dockfile, run_agent, running
from .failure import TRACEBACK_HINT, Failure, describe, told
from .logs import log_to_stderr
from .options import HERE, DockfilePath, EnvFile, PayloadText, Verbose
from .waiting import waiting


def try_agent(
    payload: PayloadText,
    path: DockfilePath = HERE,
    json: Annotated[
        bool, typer.Option("--json", help="Print what POST /invoke answers, in one line.")
    ] = False,
    env_file: EnvFile = None,
    verbose: Verbose = False,
) -> None:
    """Execute the agent once and print its output as JSON; nothing else goes to stdout."""
    with told(verbose, json) as teller, own_stdout() as out:
        log_to_stderr(teller, level=logging.WARNING, failures=False)
        dockfile = read_dockfile(path, env_file, teller)
        data = checked_payload(payload, dockfile)
        with waiting("loading the agent"):
            app = create_app(dockfile)

        async def main() -> int:
            async with running(app) as service:
                started = time.monotonic()
                with waiting("executing the agent"):
                    output = await _output(service, data)
                latency = time.monotonic() - started
            text = invocation(service, output, latency) if json else msgspec.json.format(output, indent=2)
            out.write(text.decode() + "\n")
            return 0

        code = run_agent(main())
    raise typer.Exit(code)


async def _output(service: Service, payload: dict[str, Any]) -> bytes:
    request_id = service.new_request_id()
    context = service.context(request_id, watched=False)
    config = {"configurable": {"thread_id": request_id}}
    # In a task of its own, so that Ctrl-C does not depend on the agent's consent.
    task = asyncio.ensure_future(outcome_of(lambda: service.agent.call(payload, config, context)))
    try:
        output, error = await asyncio.shield(task)
    except asyncio.CancelledError:
        context.cancel()
        task.cancel()
        raise
    if error is not None:
        raise Failure(f"the agent failed: {describe(error)}", TRACEBACK_HINT) from error
    try:
        service.check_output(output)
        return service.encoder.encode_value(output)
    except OutputInvalid as error:
        mend = "make the agent return what io_schema.output says, or change that"
        raise Failure(f"the output does not fit io_schema.output: {error}", mend) from error
    except Exception as error:
        raise Failure(
            f"the output cannot be written as JSON: {error}", "return plain values without cycles"
        ) from error
