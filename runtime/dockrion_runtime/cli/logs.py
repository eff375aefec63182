"""Logging for people: one line per record on stderr, without the values of secrets."""

from __future__ import annotations

import logging
from typing import Final

from ..stream import failure_event
from .failure import Teller

_OURS: Final = ("dockrion", "dockrion_events", "dockrion_adapters", "dockrion_sdk", "uvicorn", "asyncio")


class StartupNoise(logging.Filter):
    """Drops what uvicorn logs where the app cannot start: the command tells of that itself."""

    def __init__(self) -> None:
        super().__init__()
        self.starting = True

    def filter(self, record: logging.LogRecord) -> bool:
        return not (self.starting and record.module == "on")


class _Formatter(logging.Formatter):
    def __init__(self, teller: Teller) -> None:
        super().__init__("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S")
        self._teller = teller

    def format(self, record: logging.LogRecord) -> str:
        return "\n".join(self._teller.redact(line) for line in super().format(record).splitlines())


def log_to_stderr(teller: Teller, *, level: int = logging.INFO, failures: bool = True) -> StartupNoise:
    """Send our log, and uvicorn's warnings, to stderr.

    Without ``failures`` the agent's are left out unless ``--verbose`` is given: for commands that tell of
    them themselves.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(_Formatter(teller))
    if not (failures or teller.verbose):
        handler.addFilter(lambda record: record.funcName != failure_event.__name__)
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level if name == "dockrion" else logging.WARNING)
    noise = StartupNoise()
    logging.getLogger("uvicorn.error").addFilter(noise)
    return noise
