"""References and types of a schema, read without the engine."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import unquote, urldefrag, urljoin

from .errors import Document, Path, SchemaError

_REFERENCES: Final = ("$ref", "$dynamicRef", "$recursiveRef")
_VALUES: Final = ("enum", "const", "default", "examples")
"""Keywords that hold values, in which nothing is a schema."""

_NAMES: Final = ("properties", "patternProperties", "dependentSchemas", "$defs", "definitions")
"""Keywords that hold schemas by names of the author's own."""


def check_references(document: Document) -> None:
    """Raise `SchemaError` for a reference that leads nowhere or outside, in unused parts too."""
    ids: list[str] = []
    anchors: set[str] = set()
    for _, schema in subschemas(document):
        if isinstance(schema.get("$id"), str):
            ids.append(schema["$id"])
        names = [schema.get(name) for name in ("$anchor", "$dynamicAnchor")]
        anchors |= {name for name in names if isinstance(name, str)}
    own = document.get("$id")
    base: str = own if isinstance(own, str) else ""
    inside = {urldefrag(urljoin(base, name)).url for name in ids} | {base, *ids}
    nested = len(ids) > bool(base)
    for path, schema in subschemas(document):
        for name in _REFERENCES:
            reference = schema.get(name)
            if isinstance(reference, str):
                fault = _reference_fault(document, reference, base, inside, anchors, nested)
                if fault:
                    raise SchemaError((*path, name), fault)


def _reference_fault(
    document: Document, reference: str, base: str, inside: set[str], anchors: set[str], nested: bool
) -> str:
    address, fragment = urldefrag(reference)
    if address and not ({address, urljoin(base, address)} & inside):
        hint = "put the schema into $defs and refer to it as #/$defs/NAME"
        return f"leads outside the schema, and nothing is fetched; {hint}"
    if nested or (address and address != base):
        return ""  # a part with an $id of its own: the engine resolves what is in it
    if not fragment or fragment.startswith("/"):
        known = isinstance(resolved(document, f"#{fragment}"), dict | bool)
    else:
        known = unquote(fragment) in anchors
    return "" if known else "leads to nothing in the schema"


def subschemas(schema: Any, path: Path = ()) -> Iterator[tuple[Path, Document]]:
    """Yield the objects of a document that are schemas, or would be if their keyword was one, with paths."""
    if isinstance(schema, list):
        for index, item in enumerate(schema):
            yield from subschemas(item, (*path, index))
    if not isinstance(schema, dict):
        return
    yield path, schema
    for name, item in schema.items():
        if name in _NAMES and isinstance(item, dict):
            for own, part in item.items():
                yield from subschemas(part, (*path, name, own))
        elif name not in _VALUES:
            yield from subschemas(item, (*path, name))


def resolved(document: Document, reference: str) -> Any:
    """Return what a local reference (``#`` or ``#/…``) leads to in a document, None if nothing."""
    found: Any = document
    pointer = decoded(reference)
    for part in pointer.split("/")[1:]:
        name = part.replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict):
            found = found.get(name)
        elif isinstance(found, list) and name.isascii() and name.isdecimal() and int(name) < len(found):
            found = found[int(name)]
        else:
            return None
    return found if pointer == "#" or pointer.startswith("#/") else None


def decoded(reference: str) -> str:
    """Return a local reference as a JSON pointer with a leading ``#``."""
    return unquote(reference)


def types_of(schema: Any, document: Document, depth: int = 0) -> frozenset[str] | None:
    """Return the types that a schema says it takes, None if it does not say."""
    if not isinstance(schema, dict) or depth > 16:
        return None
    given = schema.get("type")
    if isinstance(given, str):
        return frozenset({given})
    if isinstance(given, list):
        return frozenset(given)
    reference = schema.get("$ref")
    if isinstance(reference, str) and reference.startswith("#"):
        return types_of(resolved(document, reference), document, depth + 1)
    for name in ("anyOf", "oneOf"):
        branches = [types_of(branch, document, depth + 1) for branch in schema.get(name, ())]
        if branches and None not in branches:
            return frozenset().union(*(types for types in branches if types is not None))
    for part in schema.get("allOf", ()):
        types = types_of(part, document, depth + 1)
        if types is not None:
            return types
    return None
