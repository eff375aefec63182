"""The first faults of a value that a schema refuses.

The engine's own lists hold every fault there is, and those of each branch of ``anyOf``: a payload of 2 MB can
have a million. Here its verdicts on parts of the value lead to the keywords that are to blame.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final

import jsonschema_rs

from .errors import Document, Fault, Path
from .references import decoded, resolved, types_of
from .texts import shortened, shown

_TYPES: Final = {
    bool: "boolean",
    dict: "object",
    list: "array",
    str: "string",
    type(None): "null",
    int: "integer",
    float: "number",
}


class Search:
    """Goes down into what does not fit, to the keywords that are to blame."""

    def __init__(
        self,
        document: Document,
        parts: jsonschema_rs.ValidatorMap,
        leaf_faults: Callable[[str, Document, Any], Iterator[str]],
        out_of_time: Callable[[], bool],
    ) -> None:
        self._document = document
        self._parts = parts
        self._leaf_faults = leaf_faults
        self._out_of_time = out_of_time
        self._open: set[tuple[str, int]] = set()

    def faults(self, pointer: str, schema: Any, value: Any, path: Path) -> Iterator[Fault]:
        """Yield the faults of a value that the schema at ``pointer`` refuses; at least one."""
        place = (pointer, id(value))
        if place in self._open:
            return
        self._open.add(place)
        try:
            count = 0
            for fault in self._found(pointer, schema, value, path):
                count += 1
                yield fault
            if not count:
                yield Fault(path, f"{shown(value)} does not fit the schema{_at(pointer)}")
        finally:
            self._open.discard(place)

    def _found(self, pointer: str, schema: Any, value: Any, path: Path) -> Iterator[Fault]:
        if not isinstance(schema, dict):
            yield Fault(path, f"{shown(value)} is not allowed here")
            return
        for message in self._leaf_faults(pointer, schema, value):
            yield Fault(path, message)
        yield from self._in_place(pointer, schema, value, path)
        if isinstance(value, dict):
            yield from self._in_object(pointer, schema, value, path)
        elif isinstance(value, list):
            yield from self._in_array(pointer, schema, value, path)

    def _check(self, pointer: str, schema: Any, value: Any, path: Path) -> Iterator[Fault]:
        if not self._fits(pointer, value):
            yield from self.faults(pointer, schema, value, path)

    def _fits(self, pointer: str, value: Any) -> bool:
        part = self._parts.get(pointer)
        return part is None or part.is_valid(value)

    def _in_place(self, pointer: str, schema: Document, value: Any, path: Path) -> Iterator[Fault]:
        """Apply the keywords that hold the very value to other schemas."""
        target = schema.get("$ref")
        if isinstance(target, str) and target.startswith("#"):
            found = resolved(self._document, target)
            if found is not None:
                yield from self._check(decoded(target), found, value, path)
        for index, part in enumerate(schema.get("allOf", ())):
            yield from self._check(f"{pointer}/allOf/{index}", part, value, path)
        for name in ("anyOf", "oneOf"):
            if name in schema:
                yield from self._in_branches(f"{pointer}/{name}", schema[name], value, path, name == "oneOf")
        if "not" in schema and self._fits(f"{pointer}/not", value):
            yield Fault(path, f"{shown(value)} fits a schema that it must not fit")
        if "if" in schema:
            name = "then" if self._fits(f"{pointer}/if", value) else "else"
            if name in schema:
                yield from self._check(f"{pointer}/{name}", schema[name], value, path)

    def _in_branches(
        self, pointer: str, branches: list[Any], value: Any, path: Path, only_one: bool
    ) -> Iterator[Fault]:
        fitting = sum(self._fits(f"{pointer}/{index}", value) for index in range(len(branches)))
        if fitting > 1 and only_one:
            yield Fault(path, f"{shown(value)} fits more than one of the given schemas")
        if fitting:
            return
        document = self._document
        kinds = {_TYPES[type(value)], "number" if isinstance(value, int | float) else ""}
        likely = [
            index
            for index, branch in enumerate(branches)
            if (types := types_of(branch, document)) is None or types & kinds
        ]
        if len(likely) == 1:
            yield from self.faults(f"{pointer}/{likely[0]}", branches[likely[0]], value, path)
        else:
            yield Fault(path, f"{shown(value)} is not valid under any of the given schemas")

    def _in_object(self, pointer: str, schema: Document, value: Document, path: Path) -> Iterator[Fault]:
        properties = schema.get("properties", {})
        for name, part in properties.items():
            if name in value:
                yield from self._check(
                    f"{pointer}/properties/{_escaped(name)}", part, value[name], (*path, name)
                )
        for name, part in schema.get("dependentSchemas", {}).items():
            if name in value:
                yield from self._check(f"{pointer}/dependentSchemas/{_escaped(name)}", part, value, path)
        more = schema.get("additionalProperties")
        others = isinstance(more, dict) and "patternProperties" not in schema
        names = schema.get("propertyNames")
        if not others and names is None:
            return
        for name, item in value.items():
            if self._out_of_time():
                return
            if names is not None and not self._fits(f"{pointer}/propertyNames", name):
                yield Fault(path, f"the name {shown(name)} is not allowed")
            if others and name not in properties:
                yield from self._check(f"{pointer}/additionalProperties", more, item, (*path, name))

    def _in_array(self, pointer: str, schema: Document, value: list[Any], path: Path) -> Iterator[Fault]:
        first = schema.get("prefixItems", ())
        for index, (part, item) in enumerate(zip(first, value, strict=False)):
            yield from self._check(f"{pointer}/prefixItems/{index}", part, item, (*path, index))
        if "items" not in schema:
            return
        for index in range(len(first), len(value)):
            if not index % 64 and self._out_of_time():
                return
            yield from self._check(f"{pointer}/items", schema["items"], value[index], (*path, index))


def _at(pointer: str) -> str:
    return f" at {shortened(pointer, 100)}" if pointer != "#" else ""


def _escaped(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
