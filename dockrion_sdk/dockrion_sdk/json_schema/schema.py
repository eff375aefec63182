"""A schema, compiled."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import jsonschema_rs

from .errors import Document, Fault, Path, SchemaError, ValidationTimeout
from .keywords import LARGEST_PROGRAM, Budget, Pattern, UniqueItems, can_be_large, keyword, regex_options
from .references import check_references, subschemas, types_of
from .search import Search
from .texts import shortened, shown

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"
MAX_FAULTS: Final = 20
SECONDS: Final = 0.5
"""How long the checks that can be slow may take together, for one value."""

FAULT_SECONDS: Final = 0.05
"""How long the faults of a value that was refused are looked for; the verdict stands already."""

_MASK: Final = "\ufdd0"
_LEAVES: Final = (
    "type",
    "enum",
    "const",
    "multipleOf",
    "maximum",
    "exclusiveMaximum",
    "minimum",
    "exclusiveMinimum",
    "maxLength",
    "minLength",
    "pattern",
    "maxItems",
    "minItems",
    "uniqueItems",
    "maxProperties",
    "minProperties",
    "required",
    "dependentRequired",
)


class Schema:
    """A compiled schema. Not for use from several threads at once.

    ``seconds`` is how long the checks that can be slow may take together, for one value. Raises
    `SchemaError` for a document that is no JSON Schema, has a reference that leads nowhere or
    outside, or a pattern that the engine does not support.
    """

    def __init__(self, document: Document, seconds: float = SECONDS) -> None:
        self.document = document
        self._seconds = seconds
        self._budget = Budget()
        self._options: dict[str, Any] = {
            "pattern_options": regex_options(LARGEST_PROGRAM),
            "offline": True,
        }
        try:
            check_references(document)
        except RecursionError:
            raise SchemaError((), "is nested too deeply") from None
        plain = self._compile(document)  # with the engine's own keywords, which say where the schema is wrong
        keywords: dict[str, type] = {}
        if any("pattern" in schema for _, schema in subschemas(document)):
            keywords["pattern"] = keyword(Pattern, self._budget)
        if any("uniqueItems" in schema for _, schema in subschemas(document)):
            keywords["uniqueItems"] = keyword(UniqueItems, self._budget)
        if keywords:
            self._options["keywords"] = keywords
        self._whole = self._compile(document) if keywords else plain
        self._parts: jsonschema_rs.ValidatorMap | None = None
        self._leaves: dict[str, jsonschema_rs.Validator] = {}
        self.types: frozenset[str] | None = types_of(document, document)

    @property
    def takes_objects_only(self) -> bool:
        """Whether nothing at the schema's root says that it takes anything but objects."""
        return self.types is None or self.types <= {"object"}

    def is_valid(self, value: Any) -> bool:
        """Say whether a value fits. Raises `ValidationTimeout`."""
        self._budget.start(self._seconds)
        valid = self._whole.is_valid(value)
        if self._budget.spent:
            raise ValidationTimeout
        return valid

    def faults(self, value: Any) -> list[Fault]:
        """Return the first faults of a value, none if it fits. Raises `ValidationTimeout`."""
        if self.is_valid(value):
            return []
        if self._parts is None:  # of use for values that are refused only
            self._parts = jsonschema_rs.validator_map_for(
                {**self.document, "$schema": DRAFT}, **self._options
            )
        self._budget.start(FAULT_SECONDS)
        found: list[Fault] = []
        try:
            search = Search(self.document, self._parts, self._leaf_faults, self._budget.expired)
            for fault in search.faults("#", self.document, value, ()):
                found.append(fault._replace(message=shortened(fault.message)))
                if len(found) == MAX_FAULTS:
                    break
        except (RecursionError, ValueError):  # the engine shows no value that is deeper than 255
            pass
        found.sort(key=lambda fault: list(map(str, fault.path)))
        return found or [Fault((), "the value does not fit the schema")]

    def _leaf_faults(self, pointer: str, schema: Document, value: Any) -> Iterator[str]:
        """Yield what the keywords without schemas of their own have to say."""
        if pointer not in self._leaves:
            leaf: Document = {name: schema[name] for name in _LEAVES if name in schema}
            if schema.get("additionalProperties") is False:
                leaf["additionalProperties"] = False
                for name in ("properties", "patternProperties"):
                    leaf[name] = dict.fromkeys(schema.get(name, ()), True)
            self._leaves[pointer] = self._compile(leaf, mask=_MASK)
        validator = self._leaves[pointer]
        if not validator.is_valid(value):
            for error in validator.iter_errors(value):
                yield error.message.replace(_MASK, shown(value))

    def _compile(self, document: Document, **options: Any) -> jsonschema_rs.Validator:
        try:
            return jsonschema_rs.Draft202012Validator(document, **self._options, **options)
        except jsonschema_rs.ValidationError as error:
            path = tuple(error.instance_path)
            raise SchemaError(path, _explained(path, error)) from None
        except (ValueError, TypeError, RecursionError, OverflowError) as error:
            raise SchemaError((), f"cannot be compiled: {error}") from None


def _explained(path: Path, error: jsonschema_rs.ValidationError) -> str:
    if error.kind.name != "format" or not (path[-1:] == ("pattern",) or "patternProperties" in path):
        return shortened(error.message, 200)
    if isinstance(error.instance, str) and can_be_large(error.instance):
        return "this pattern is too large: write long repetitions as maxLength, or simplify it"
    return (
        "this pattern is not supported: patterns are matched in linear time, so there are no look-arounds"
        " and no back-references"
    )
