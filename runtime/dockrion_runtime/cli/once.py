"""What `dockrion test` does: one execution, and its output."""

from __future__ import annotations

import asyncio
import logging
import time
from pathlib import Path
from typing import Any

import msgspec

from dockrion_adapters.outcome import outcome_of

from ..app import create_app
from ..routes import invocation
from ..service import Service
from ..stream import OutputInvalid
from .agent import check_input, checked_payload, own_stdout, read_dockfile, run_agent, running
from .failure import TRACEBACK_HINT, Failure, Teller, describe
from .logs import log_to_stderr
from .printable import escaped_json
from .waiting import waiting


def execute_once(text: str, path: Path, env_file: Path | None, teller: Teller, *, json: bool) -> int:
    """Execute the agent once, print its output, and return the exit code."""
    with own_stdout() as out:
        log_to_stderr(teller, level=logging.WARNING, failures=False)
        dockfile = read_dockfile(path, env_file, teller)
        data = checked_payload(text, dockfile)
        with waiting("loading the agent"):
            app = create_app(dockfile)

        async def main() -> int:
            async with running(app) as service:
                started = time.monotonic()
                with waiting("executing the agent"):
                    output = await _output(service, data)
                latency = time.monotonic() - started
            shown = invocation(service, output, latency) if json else msgspec.json.format(output, indent=2)
            out.write(escaped_json(shown.decode()) + "\n")
            return 0

        return run_agent(main())


async def _output(service: Service, payload: Any) -> bytes:
    request_id = service.new_request_id()
    context = service.context(request_id, watched=False)
    config = service.config("", None, request_id)
    await check_input(service, payload, config)
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
