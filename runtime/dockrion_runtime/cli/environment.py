"""Environment files: NAME=value lines that fill in what the environment does not set."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Final

from .failure import USAGE, Failure

DEFAULT: Final = ".env"

_LINE = re.compile(r"(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=\s*(.*)")
_SINGLE = re.compile(r"'([^']*)'\s*(?:#.*)?")
_DOUBLE = re.compile(r'"((?:[^"\\]|\\.)*)"\s*(?:#.*)?')
_ESCAPE = re.compile(r"\\(.)")
_ESCAPED = {"n": "\n", "r": "\r", "t": "\t"}


def environment_file(dockfile: Path, asked_for: Path | None) -> Path | None:
    """Return the file to read: the one asked for, else a ``.env`` beside the Dockfile, else None."""
    if asked_for is not None:
        return asked_for
    directory = dockfile if dockfile.is_dir() else dockfile.parent
    beside = directory / DEFAULT
    return beside if beside.is_file() else None


def unset_variables(file: Path | None) -> dict[str, str]:
    """Return what ``file`` sets and the environment does not: what is set there wins. Raises `Failure`."""
    if file is None:
        return {}
    return {name: value for name, value in read_environment(file).items() if name not in os.environ}


def read_environment(file: Path) -> dict[str, str]:
    """Read a file of ``NAME=value`` lines.

    ``#`` begins a comment, ``export`` may stand in front, values may be quoted: in double quotes
    ``\\n``, ``\\t``, ``\\"`` and ``\\\\`` are escapes. Messages name the line and never a value.
    Raises `Failure`.
    """
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise Failure(f"{file} is not UTF-8 text", "save it as UTF-8", code=USAGE) from None
    except OSError as error:
        reason = error.strerror or str(error)
        raise Failure(f"cannot read {file}: {reason}", "name another with --env-file", code=USAGE) from None
    found = {}
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.strip()
        if line and not line.startswith("#"):
            match = _LINE.fullmatch(line)
            value = _value(match[2]) if match else None
            if match is None or value is None:
                raise Failure(f"{file}:{number} is no NAME=value line", _mend(match), code=USAGE)
            found[match[1]] = value
    return found


def _value(text: str) -> str | None:
    if "\0" in text:
        return None
    if text.startswith("'"):
        match = _SINGLE.fullmatch(text)
        return match[1] if match else None
    if text.startswith('"'):
        match = _DOUBLE.fullmatch(text)
        return _ESCAPE.sub(lambda found: _ESCAPED.get(found[1], found[1]), match[1]) if match else None
    if text.startswith("#"):
        return ""
    return re.split(r"\s#", text, maxsplit=1)[0].rstrip()


def _mend(match: re.Match[str] | None) -> str:
    if match is None:
        return "write NAME=value, the name in letters, digits and '_'; begin a comment with #"
    return "close the quote that the value begins with"
