"""A stream as plain lines, or as JSON: for pipes and files."""

from __future__ import annotations

import os
import sys
from typing import Any, TextIO

from dockrion_events import (
    AnyEvent,
    CheckpointEvent,
    CompleteEvent,
    CustomEvent,
    EncodedEvent,
    ErrorEvent,
    Event,
    ProgressEvent,
    StartedEvent,
    StepEvent,
    TokenEvent,
    encode_json,
)

from .printable import escaped_json, printable_line
from .steps import duration

_LONGEST = 500


class JSONView:
    """One event per line, as it is sent to clients."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def show(self, item: AnyEvent) -> None:
        json = item.json if isinstance(item, EncodedEvent) else encode_json(item)
        print(escaped_json(json.decode()), file=self._out, flush=True)

    def close(self) -> None:
        """Nothing is left open."""


class PlainView:
    """Tokens to stdout as they come; a line on stderr for everything else.

    Where both are read together, such a line does not go on where the tokens have stopped.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out
        self._one_file = _same_file(out, sys.stderr)
        self._together = self._one_file or sys.stderr.isatty()
        self._within_line = False  # of stdout
        self._glued = False  # to what the reader of both has seen last

    def show(self, item: AnyEvent) -> None:
        event = item.decode() if isinstance(item, EncodedEvent) else item
        if isinstance(event, TokenEvent):
            self._out.write(event.content)  # to a program or a file: a terminal has another view
            self._out.flush()
            if event.content:
                self._within_line = self._glued = not event.content.endswith("\n")
        else:
            between = "\n" if self._glued and self._together else ""
            print(f"{between}{printable_line(line(event))}", file=sys.stderr, flush=True)
            self._glued = False

    def close(self) -> None:
        if self._glued if self._one_file else self._within_line:
            print(file=self._out, flush=True)
        self._within_line = self._glued = False


def _same_file(one: TextIO, other: TextIO) -> bool:
    try:
        return os.path.sameopenfile(one.fileno(), other.fileno())
    except OSError:  # a stream of no file
        return False


def line(event: Event) -> str:
    """Return an event in one line."""
    match event:
        case StartedEvent():
            return f"started {event.agent_name} ({event.framework})"
        case StepEvent():
            indent = "  " * len(event.namespace or ())
            return f"{indent}step {event.node_name} {duration(event.duration_ms)}".rstrip()
        case ProgressEvent():
            return f"progress {event.step} {event.progress:.0%} {event.message or ''}".rstrip()
        case CheckpointEvent():
            return f"checkpoint {event.name} {brief(event.data)}"
        case CustomEvent():
            return f"{event.type} {brief(event.data)}"
        case CompleteEvent():
            return f"complete in {event.latency_seconds:.2f} s: {brief(event.output, longest=None)}"
        case ErrorEvent():
            return f"error {event.code}: {event.error}"
    return f"{event.type} {brief(own)}" if (own := fields_of(event)) else event.type


def fields_of(event: Event) -> dict[str, Any]:
    """Return what is said in an event of this type alone, and was not left out."""
    shared = ("type", *Event.__struct_fields__)
    names = [name for name in event.__struct_fields__ if name not in shared]
    return {name: value for name in names if (value := getattr(event, name)) is not None}


def brief(value: Any, longest: int | None = _LONGEST) -> str:
    """Write a value as JSON on one line, cut where it is long."""
    text = encode_json(value).decode()
    return text if longest is None or len(text) <= longest else text[:longest] + "…"
