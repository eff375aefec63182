"""From ``module:attribute`` to the object, with errors that say what is there instead."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import os
import re
import sys
import sysconfig
import traceback
from types import ModuleType
from typing import Any

from .errors import LoadError

_STDLIB = sysconfig.get_path("stdlib")
_FORM = re.compile(r"(?P<module>[^\W\d]\w*(?:\.[^\W\d]\w*)*):(?P<attribute>[^\W\d]\w*(?:\.[^\W\d]\w*)*)")


def load_entrypoint(entrypoint: str) -> Any:
    """Import ``module:attribute`` (both may be dotted) and return the object.

    Raises `LoadError` where the text has another form, the module is part of the standard library,
    does not exist or fails to import, or the attribute is missing; the message says what is near.
    An error within the module keeps its traceback as the cause.
    """
    match = _FORM.fullmatch(entrypoint)
    if match is None:
        raise LoadError(
            f"{entrypoint!r} is no entry point; write module:attribute, such as app.service:handle"
        )
    name, path = match["module"], match["attribute"]
    if name.partition(".")[0] in sys.stdlib_module_names:
        raise LoadError(f"{entrypoint!r}: {name} is part of Python's standard library and cannot be an agent")
    found: Any = _import(entrypoint, name)
    for part in path.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            raise LoadError(f"{entrypoint!r}: {_missing(found, part)}") from None
        except Exception as error:
            raise LoadError(
                f"{entrypoint!r}: reading {part} failed: {type(error).__name__}: {error}"
            ) from error
    return found


def _import(entrypoint: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not (name == error.name or name.startswith(error.name + ".")):
            raise LoadError(f"{entrypoint!r}: importing {name} failed: {error}{_place(error)}") from error
        where = ", ".join(path or "." for path in sys.path[:2])
        raise LoadError(
            f"{entrypoint!r}: there is no module {error.name!r}; it was looked for in {where} "
            "and in the installed packages"
        ) from None
    except SystemExit as error:
        raise LoadError(
            f"{entrypoint!r}: the agent's module ends the process when it is imported "
            f"(SystemExit: {error}){_place(error)}; "
            'put what is for the command line under if __name__ == "__main__":'
        ) from error
    except Exception as error:
        said = error.msg if isinstance(error, SyntaxError) else str(error)
        raise LoadError(
            f"{entrypoint!r}: importing {name} failed: {type(error).__name__}: {said}{_place(error)}"
        ) from error


def _place(error: BaseException) -> str:
    """Return the file and line of the user's own code that raised an error, in parentheses."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({_shown(error.filename)}, line {error.lineno})"
    here = os.path.dirname(__file__)
    own = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if not frame.filename.startswith(("<", here, _STDLIB)) and "site-packages" not in frame.filename
    ]
    return f" ({_shown(own[-1].filename)}, line {own[-1].lineno})" if own else ""


def _shown(file: str) -> str:
    """Return a path as it is said: from the working directory on, if it is below that."""
    below = os.path.relpath(file)
    return file if below.startswith("..") else below


def _missing(owner: Any, name: str) -> str:
    what = f"module {owner.__name__}" if isinstance(owner, ModuleType) else f"{type(owner).__name__} object"
    own = (
        [
            key
            for key, value in vars(owner).items()
            if not key.startswith("_") and not isinstance(value, ModuleType)
        ]
        if hasattr(owner, "__dict__")
        else []
    )
    near = difflib.get_close_matches(name, own, n=1)
    if near:
        return f"{what} has no {name!r}; did you mean {near[0]!r}?"
    return f"{what} has no {name!r}; it has {', '.join(sorted(own)[:10]) or 'nothing public'}"
