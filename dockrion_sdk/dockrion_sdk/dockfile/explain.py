"""Turns errors of the models into problems: path, what is expected, and what is there if it may be shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, NamedTuple

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from .errors import Loc, bounded, did_you_mean
from .fields import FAULT


class Finding(NamedTuple):
    """Where, what, a hint, and the environment variable that is missing if that is what is wrong."""

    loc: Loc
    message: str
    hint: str = ""
    variable: str = ""


_EXPECTED = {
    "string_type": "expected text",
    "string_unicode": "expected text",
    "int_type": "expected a whole number",
    "int_parsing": "expected a whole number",
    "int_parsing_size": "expected a smaller number",
    "int_from_float": "expected a whole number",
    "float_type": "expected a number",
    "float_parsing": "expected a number",
    "finite_number": "expected a finite number",
    "bool_type": "expected true or false",
    "dict_type": "expected a mapping of keys",
    "list_type": "expected a list",
    "less_than": "expected a number less than {lt}",
    "bool_parsing": "expected true or false",
    "tuple_type": "expected a list",
    "model_type": "expected a mapping of keys",
    "model_attributes_type": "expected a mapping of keys",
    "greater_than": "expected a number greater than {gt:g}",
    "greater_than_equal": "expected a number of at least {ge:g}",
    "less_than_equal": "expected a number of at most {le:g}",
    "string_too_short": "must not be empty",
    "string_too_long": "expected at most {max_length} characters",
}
_SECRET_KEYS = frozenset({("secrets", "optional", "default")})


def explain(
    error: ValidationError, tree: Mapping[str, Any], templates: Mapping[Loc, str], unresolved: Set[Loc]
) -> Iterator[Finding]:
    """Tell each error once.

    `tree` is what was validated, `templates` how values from the environment are written in the file, and
    `unresolved` the places whose references could not be resolved: what is wrong there follows from that.
    """
    teller = _Teller(tree, templates)
    for item in error.errors(include_url=False):
        context: dict[str, Any] = item.get("ctx", {})
        loc: Loc = (*item["loc"], *context.get("at", ()))
        if not _follows(loc, teller.value(loc), unresolved):
            yield Finding(loc, *teller.tell(item, loc, context))


def _follows(loc: Loc, value: Any, unresolved: Set[Loc]) -> bool:
    inside = any(loc[: len(place)] == place for place in unresolved)
    around = isinstance(value, list) and any(place[: len(loc)] == loc for place in unresolved)
    return inside or around


class _Teller:
    def __init__(self, tree: Mapping[str, Any], templates: Mapping[Loc, str]) -> None:
        self._tree = tree
        self._templates = templates

    def value(self, loc: Loc) -> Any:
        """What stands at a location, None where nothing does."""
        found: Any = self._tree
        for part in loc:
            if isinstance(found, dict):
                found = found.get(str(part))
            elif isinstance(found, list) and isinstance(part, int) and part < len(found):
                found = found[part]
            else:
                return None
        return found

    def tell(self, item: ErrorDetails, loc: Loc, context: dict[str, Any]) -> tuple[str, str]:
        if item["type"] == FAULT:
            return self._fault(loc, context)
        if item["type"] == "missing":
            return "is required", ""
        expected = _EXPECTED.get(item["type"], "not a valid value").format_map(context)
        number = isinstance(self.value(loc), int | float)
        hint = "put it in quotes" if item["type"] == "string_type" and number else ""
        return expected + self._got(loc), hint

    def _fault(self, loc: Loc, context: dict[str, Any]) -> tuple[str, str]:
        message, valid, value = context["message"], context["valid"], self.value(loc)
        hidden = any(place[: len(loc)] == loc for place in self._templates)
        if context["instead"] and hidden:
            message = context["instead"] + self._got(loc)
        elif not context["told"]:
            message += self._got(loc)
        if not valid:
            return message, context["hint"]
        given = str(loc[-1]) if context["told"] else value
        nearest = given if isinstance(given, str) and (context["told"] or not hidden) else ""
        return message, did_you_mean(nearest, valid)

    def _got(self, loc: Loc) -> str:
        if tuple(part for part in loc if isinstance(part, str)) in _SECRET_KEYS:
            return ""
        if loc in self._templates:
            return f", got {bounded(self._templates[loc])}"
        value = self.value(loc)
        if isinstance(value, dict | list):
            return f", got a {'mapping' if isinstance(value, dict) else 'list'}"
        return f", got {bounded(value)}"
