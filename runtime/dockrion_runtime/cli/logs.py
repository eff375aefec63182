"""The log on stderr: one renderer for our lines, uvicorn's and the agent's own, without secrets.

For people a line and, where something failed, its traceback; for programs one JSON object a record. The ids
of the request, the run and the trace that a line belongs to are added to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from ..observability.correlation import current_ids
from ..stream import failure_event
from .failure import Teller
from .printable import escaped_json, escaped_line, printable

_OURS: Final = ("dockrion", "dockrion_events", "dockrion_adapters", "dockrion_sdk", "uvicorn", "asyncio")

_OF_MANY_LINES: Final = ("exception", "stack")
_LIKE_A_RECORD: Final = re.compile(r"^(?=\d\d:\d\d:\d\d)", re.MULTILINE)

_DEEPEST: Final = 10
"""Levels of a value in a record that are looked through; deeper ones are shown as their repr."""


class Log:
    """The handler that all records go through; ``starting`` and `show_as` change what it does."""

    def __init__(self, teller: Teller) -> None:
        self.handler = logging.StreamHandler()
        self.starting = True
        """Whether to drop what uvicorn logs where the app cannot start: the command tells of that itself."""
        self._redact = _redacting(lambda text: teller.redact(text))
        self.show_as("console")

    def show_as(self, style: Literal["auto", "json", "console"]) -> None:
        """Show records for people (``console``), for programs (``json``), or for whoever reads stderr."""
        people = sys.stderr.isatty() if style == "auto" else style == "console"
        self.handler.setFormatter(_for_people(self._redact) if people else _for_programs(self._redact))

    def awaited(self, record: logging.LogRecord) -> bool:
        """Say whether a record of uvicorn's is worth showing.

        Requests that it cancels at the end are no faults: another line says how many there are.
        """
        cancelled = record.exc_info is not None and isinstance(record.exc_info[1], asyncio.CancelledError)
        return not (cancelled or (self.starting and record.module == "on"))


def log_to_stderr(teller: Teller, *, level: int = logging.INFO, failures: bool = True) -> Log:
    """Send our log, uvicorn's warnings, and whatever the agent logs to stderr, for people.

    Without ``failures`` the agent's are left out unless ``--verbose`` is given: for commands that tell of
    them themselves. An agent that sets its own loggers up keeps them.
    """
    log = Log(teller)
    if not (failures or teller.verbose):
        log.handler.addFilter(lambda record: record.funcName != failure_event.__name__)
    for name in _OURS:
        logger = logging.getLogger(name)
        logger.handlers = [log.handler]
        logger.propagate = False
        logger.setLevel(level if name == "dockrion" else logging.WARNING)
    logging.getLogger().handlers = [log.handler]
    logging.getLogger("uvicorn.error").addFilter(log.awaited)
    return log


def _for_people(redact: Processor) -> logging.Formatter:
    return _formatter(
        [],
        structlog.processors.TimeStamper(fmt="%H:%M:%S", utc=False),
        _traceback_apart,
        redact,
        _unsaid,
        _steering_nothing,
        structlog.dev.ConsoleRenderer(
            colors=sys.stderr.isatty() and not os.environ.get("NO_COLOR"),
            pad_event_to=0,
            pad_level=False,
            exception_formatter=structlog.dev.plain_traceback,
        ),
    )


def _for_programs(redact: Processor) -> logging.Formatter:
    return _formatter(
        [structlog.stdlib.add_logger_name],
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _traceback_apart,
        redact,
        structlog.processors.JSONRenderer(default=repr, ensure_ascii=False),
        lambda _, __, line: escaped_json(str(line)),
    )


def _formatter(of_record: list[Processor], *processors: Processor) -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            *of_record,
            structlog.stdlib.add_log_level,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.format_exc_info,
            structlog.processors.StackInfoRenderer(),
            _with_ids,
        ],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *processors],
        use_get_message=True,
    )


def _with_ids(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    """Add the ids of the context that the record was made in."""
    return {**current_ids(), **record}


def _unsaid(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    """Leave out the ids that the message itself names."""
    message = str(record.get("event", ""))
    return {
        key: value for key, value in record.items() if not (key in current_ids() and str(value) in message)
    }


def _traceback_apart(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    """Give a traceback that is part of the message a member of its own."""
    message, found, rest = str(record.get("event", "")).partition("\nTraceback ")
    if found and "exception" not in record:
        record["event"], record["exception"] = message, f"Traceback {rest}"
    return record


def _steering_nothing(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
    """Keep each text on its line: what is logged cannot pass for another record."""
    return {
        key: _set_apart(value) if key in _OF_MANY_LINES else _shown(value) for key, value in record.items()
    }


def _shown(value: Any) -> Any:
    if isinstance(value, str):
        return escaped_line(value)
    return value if value is None or isinstance(value, bool | int | float) else escaped_line(repr(value))


def _set_apart(value: Any) -> Any:
    """Return a traceback in which no line looks like the beginning of a record."""
    return _LIKE_A_RECORD.sub("  ", printable(value)) if isinstance(value, str) else value


def _redacting(redact: Callable[[str], str]) -> Processor:
    """Return what takes secrets out of all texts of a record, before any of them is quoted or escaped."""

    def clean(value: Any, level: int = 0) -> Any:
        if value is None or isinstance(value, bool | int | float):
            return value
        if level < _DEEPEST and isinstance(value, Mapping):
            return {redact(str(key)): clean(inner, level + 1) for key, inner in value.items()}
        if level < _DEEPEST and isinstance(value, list | tuple | set | frozenset):
            return [clean(inner, level + 1) for inner in value]
        return redact(value if isinstance(value, str) else repr(value))

    def process(_: WrappedLogger, __: str, record: EventDict) -> EventDict:
        return {key: clean(value) for key, value in record.items()}

    return process
