"""What is allowed in a schema and will refuse large payloads, because checking them would take too long."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from .errors import Document, Path
from .keywords import longest_text, pattern_size
from .references import subschemas

_ORDINARY: Final = 100_000
"""Characters that any pattern should be able to match."""

_QUICK: Final = ("string", "integer")
"""Types whose arrays are compared quickly, however long they are."""


def dangers(document: Document) -> Iterator[tuple[Path, str, str]]:
    """Yield the path, a message and a hint for each costly place of a schema that compiles."""
    for path, schema in subschemas(document):
        yield from _costly_patterns(path, schema)
        if schema.get("uniqueItems") is True and "maxItems" not in schema:
            items = schema.get("items")
            if not (isinstance(items, dict) and items.get("type") in _QUICK):
                message = "comparing many items takes long; arrays that take over half a second get 422"
                yield (*path, "uniqueItems"), message, "set maxItems"


def _costly_patterns(path: Path, schema: Document) -> Iterator[tuple[Path, str, str]]:
    pattern = schema.get("pattern")
    if isinstance(pattern, str):
        longest = longest_text(pattern_size(pattern) or 1)
        limit = schema.get("maxLength")
        if longest < _ORDINARY and not (isinstance(limit, int | float) and limit <= longest):
            message = f"this pattern is costly; texts of over {longest:,} characters get 422"
            yield (*path, "pattern"), message, f"set maxLength: {longest} or less, or simplify it"
    named = schema.get("patternProperties")
    for pattern in named if isinstance(named, dict) else ():
        if longest_text(pattern_size(pattern) or 1) < _ORDINARY:
            place = (*path, "patternProperties", pattern)
            yield place, "this pattern is costly to hold long names against", "simplify it"
