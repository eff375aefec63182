"""Puts environment variables into the text values of a document, after it was parsed.

`${NAME}` is the variable's value, `${NAME:-default}` the default where the variable is unset or empty, and
`$${` a literal `${`. Values are inserted as they are and never looked at again; keys are left alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from .errors import Loc, bounded

VARIABLE_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class Unresolved(NamedTuple):
    """Why a reference cannot be resolved; ``variable`` is the one that is not set, if that is the reason."""

    message: str
    hint: str
    variable: str = ""


@dataclass
class Substitution:
    """One pass over a document: what was inserted where, and what could not be.

    `templates` maps each location that took a value from the environment to its text as written in the file:
    what may be shown of it. `faults` maps locations to what is wrong there.
    """

    templates: dict[Loc, str] = field(default_factory=dict)
    faults: dict[Loc, list[Unresolved]] = field(default_factory=dict)

    def apply(self, value: Any, env: Mapping[str, str], loc: Loc = ()) -> Any:
        """Return the value with its references resolved; one that cannot be stays as it is written."""
        if isinstance(value, dict):
            return {key: self.apply(item, env, (*loc, key)) for key, item in value.items()}
        if isinstance(value, list):
            return [self.apply(item, env, (*loc, index)) for index, item in enumerate(value)]
        if not isinstance(value, str) or "${" not in value:
            return value
        pieces = _Pieces(value, env)
        if pieces.inserted:
            self.templates[loc] = value
        if pieces.faults:
            self.faults[loc] = pieces.faults
            return value
        return "".join(pieces.out)


class _Pieces:
    def __init__(self, template: str, env: Mapping[str, str]) -> None:
        self.out: list[str] = []
        self.faults: list[Unresolved] = []
        self.inserted = False
        at = 0
        while (start := template.find("${", at)) >= 0:
            if start > at and template[start - 1] == "$":
                self.out += [template[at : start - 1], "${"]
                at = start + 2
                continue
            end = template.find("}", start)
            if end < 0:
                self._fault("`${` is never closed", "write ${NAME} or ${NAME:-default}, or $${ for the text")
                break
            self.out += [template[at:start], self._reference(template[start + 2 : end], env)]
            self.inserted = True
            at = end + 1
        self.out.append(template[at:])

    def _reference(self, body: str, env: Mapping[str, str]) -> str:
        name, has_default, default = body.partition(":-")
        if not VARIABLE_NAME.fullmatch(name):
            self._fault(f"{bounded(name)} is not the name of a variable", "write ${NAME} or ${NAME:-default}")
        elif "${" in default:
            self._fault(f"the default of ${{{name}}} holds another `${{`", "a default is plain text")
        elif has_default:
            return self._checked(name, env.get(name) or default)
        elif name not in env:
            hint = f"set it, or give a default: ${{{name}:-default}}"
            self._fault(f"environment variable {name} is not set", hint, name)
        else:
            return self._checked(name, env[name])
        return ""

    def _checked(self, name: str, value: str) -> str:
        if not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            self._fault(f"environment variable {name} is not UTF-8 text", "")
        return value

    def _fault(self, message: str, hint: str, variable: str = "") -> None:
        self.faults.append(Unresolved(message, hint, variable))
