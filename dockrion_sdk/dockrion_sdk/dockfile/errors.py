"""What is wrong with a Dockfile, told so that it can be mended in one go."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dockrion_events import DockrionError

Loc = tuple[str | int, ...]
"""Where a value stands in the document: keys and list indexes, outermost first."""

_PLAIN_KEY = re.compile(r"[A-Za-z0-9_$-]{1,64}")


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong.

    `path` is dotted, with list indexes in brackets (`secrets.required[0].name`), and empty where the file as
    a whole is meant. `line` and `column` count from 1. `variable` names the environment variable that is
    missing, where nothing else is wrong.
    """

    path: str
    message: str
    hint: str = ""
    line: int | None = None
    column: int | None = None
    variable: str = ""

    def __str__(self) -> str:
        told = f"{self.path}: {self.message}" if self.path else self.message
        return one_line(f"{told}; {self.hint}" if self.hint else told)


class DockfileError(DockrionError):
    """A Dockfile cannot be used; `problems` holds everything found, in the order of the file.

    `file` is the path as it was asked for. The text has one line per problem and shows no value that came out
    of the environment.
    """

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        super().__init__(file, tuple(problems))
        self.file = file
        self.problems: tuple[Problem, ...] = tuple(problems)

    def __str__(self) -> str:
        return "\n".join(f"{self._place(problem)}: {problem}" for problem in self.problems)

    def _place(self, problem: Problem) -> str:
        marks = (problem.line, problem.column if problem.line else None)
        return ":".join([one_line(self.file), *(str(mark) for mark in marks if mark is not None)])


def dotted(loc: Iterable[str | int]) -> str:
    """Write a location as `a.b[0]`; a key that is not a plain word is quoted."""
    path = ""
    for part in loc:
        if isinstance(part, int):
            path += f"[{part}]"
            continue
        plain = _PLAIN_KEY.fullmatch(part)
        path += f"{'.' if path else ''}{part if plain else bounded(part)}"
    return path


def bounded(value: object, limit: int = 60) -> str:
    """Write a scalar as the reader of a YAML file expects it: quoted text, `true`, a shortened tail."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str) and len(value) > limit:
        return repr(value[:limit] + "…")
    if isinstance(value, int) and value.bit_length() > 3 * limit:
        return "a number of very many digits"
    return repr(value)


def did_you_mean(given: str, valid: Sequence[str]) -> str:
    """Name the valid spelling nearest to the given one, then all of them."""
    near = difflib.get_close_matches(given, valid, n=1)
    return " ".join([*(f"did you mean {name!r}?" for name in near), f"Valid: {', '.join(valid)}"])


def is_near(given: str, valid: Sequence[str]) -> bool:
    """Say whether the given name is probably a valid one, misspelt."""
    return bool(difflib.get_close_matches(given.lower(), valid, n=1))


def one_line(text: str) -> str:
    """Escape line breaks and control characters, so that a message stays on its line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)
