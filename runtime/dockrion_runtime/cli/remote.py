"""A server to talk to: where it is, who asks, and what its refusals mean."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TextIO

import httpx

from dockrion_events import StreamEvent
from dockrion_sdk import SyncClient
from dockrion_sdk.client import APIError, ServerUnreachable, StreamBroken

from ..keys import KeyRing
from ..redaction import Redactor
from .environment import read_environment
from .failure import FAILED, INTERRUPTED, USAGE, Failure, Teller
from .options import LOCAL
from .payloads import unchecked_payload_of
from .view import CODES, opened_view

PATIENCE_SECONDS: Final = 2.0
"""How long a request goes on without an answer; whoever follows a run is more patient."""


@dataclass(frozen=True)
class Server:
    """The server that a command line names."""

    url: str
    key_env: str
    env_file: Path | None
    teller: Teller


def api_key(variable: str, env_file: Path | None) -> str | None:
    """Return the key that ``variable`` holds, the first of several; None where it is not set.

    What the variable may hold is what a server reads from it. Raises `Failure`.
    """
    text = os.environ.get(variable) or (read_environment(env_file).get(variable) if env_file else None)
    if not text:
        return None
    try:
        return KeyRing(text, variable=variable).secrets[0]
    except ValueError as error:
        raise Failure(str(error), code=USAGE) from None


@contextmanager
def connected(server: Server, *, patience: float = PATIENCE_SECONDS) -> Iterator[SyncClient]:
    """Hold a client of a server; what goes wrong within is a `Failure`."""
    key, url = api_key(server.key_env, server.env_file), server.url
    if key is not None:
        server.teller.redact = Redactor([key])
    if httpx.URL(url).scheme not in ("http", "https"):
        raise Failure(f"{url!r} is no address of a server", f"for example --url {LOCAL}", code=USAGE)
    try:
        with SyncClient(url, api_key=key, patience=patience) as client:
            yield client
    except APIError as error:
        raise _refused(server, error) from error
    except ServerUnreachable as error:
        mend = "start one with `dockrion run`, or name another with --url"
        raise Failure(f"no server answers at {url}: {error}", mend) from error
    except StreamBroken as error:
        raise Failure(f"the stream broke: {error}", "see the server's log, and ask again") from error


def stream_there(
    payload: str, url: str, key_env: str, env_file: Path | None, teller: Teller, *, json: bool
) -> int:
    """Have a server execute its agent once, show its events, and return the exit code."""
    data = unchecked_payload_of(payload)
    with connected(Server(url, key_env, env_file, teller)) as client:
        code, _, interrupted = show_events(client.stream(data), sys.stdout, json=json)
    if interrupted:
        teller.say("interrupted; the server stops its agent")
    return code


def show_events(
    events: Generator[StreamEvent, None, None], out: TextIO, *, json: bool
) -> tuple[int, int, bool]:
    """Show events to the terminal one or to Ctrl-C.

    Return the exit code, the last sequence, and whether it was interrupted.
    """
    code, last = FAILED, 0
    with closing(events), opened_view(out, json=json) as view:
        try:
            for event in events:
                view.show(event)
                last = event.sequence or last
                code = CODES.get(event.type, code)
        except KeyboardInterrupt:
            return INTERRUPTED, last, True
    return code, last, False


def _refused(server: Server, error: APIError) -> Failure:
    mend = ""
    if error.status == 401:
        mend = f"put the key into {server.key_env}, or name where it is with --key-env and --env-file"
    elif error.status == 404 and error.code != "RUN_NOT_FOUND":
        mend = "is it a dockrion server, and does its Dockfile turn this on (streaming.async_runs: true)?"
    elif error.status == 404:
        mend = "`dockrion runs list` shows those there are"
    return Failure(f"{server.url} answers {error}", mend)
