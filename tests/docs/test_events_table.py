"""The table of events names every type, and every field of it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from dockrion_events import EVENT_CLASSES, CustomEvent, Event

PAGE = Path(__file__).parents[2] / "docs" / "streaming.md"
ENVELOPE = {field.name for field in msgspec.structs.fields(Event)}


def fields_of(event: type[Event]) -> list[str]:
    """Return the fields that are the type's own; those that may be left out with a question mark."""
    return [
        field.name if field.required else f"{field.name}?"
        for field in msgspec.structs.fields(event)
        if field.name not in ENVELOPE and not (event is CustomEvent and field.name == "type")
    ]


def test_it_is_true_and_complete() -> None:
    table = PAGE.read_text().split("## Every event")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w:<>]+)` \|([^|]*)\|", table, re.MULTILINE)
    shown = {name: re.findall(r"`([\w?]+)`", fields) for name, fields in rows}
    assert shown == {
        name: fields_of(event) for name, event in {**EVENT_CLASSES, "custom:<name>": CustomEvent}.items()
    }
