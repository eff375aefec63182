"""Names for runs that their clients do not name."""

from __future__ import annotations

import inspect
import logging
import uuid
from collections.abc import Callable
from typing import Any, Final, TypeAlias

from dockrion_adapters import AdapterError, load_entrypoint
from dockrion_events.bus.names import ID_RULE, is_id
from dockrion_sdk import Dockfile, DockfileError
from dockrion_sdk import Problem as Fault

from ..problems import Problem
from ..uuids import random_uuid

log = logging.getLogger("dockrion")

IdGenerator: TypeAlias = Callable[[dict[str, Any]], str]

_NAMESPACE: Final = uuid.UUID("0b0a8c1c-6f57-4f0e-9a53-5a8a3f6d3f60")


def id_generator(dockfile: Dockfile) -> IdGenerator:
    """Return what names a run, given its payload. Raises `DockfileError` where the Dockfile's own is none."""
    settings = dockfile.streaming.id_generator
    if settings.type == "uuid":
        return lambda _: random_uuid()
    where = str(dockfile.file or "Dockfile")
    try:
        handler = load_entrypoint(settings.handler or "")
    except AdapterError as error:
        raise DockfileError(where, [Fault("streaming.id_generator.handler", str(error))]) from error
    if not callable(handler) or inspect.iscoroutinefunction(handler):
        told = "has to be a plain function that returns a run's id"
        raise DockfileError(where, [Fault("streaming.id_generator.handler", told)])
    takes_payload = bool(inspect.signature(handler).parameters)

    def generate(payload: dict[str, Any]) -> str:
        made = handler(payload) if takes_payload else handler()
        if not isinstance(made, str) or not is_id(made):
            log.error("streaming.id_generator.handler returned %r; a run's id is %s", made, ID_RULE)
            raise Problem(500, "INVALID_RUN_ID", "the server's own id generator returned no valid run id")
        return made

    return generate


def id_of_idempotency_key(key: str) -> str:
    """Return the run id that an ``Idempotency-Key`` stands for: the same request makes the same run."""
    return str(uuid.uuid5(_NAMESPACE, key))
