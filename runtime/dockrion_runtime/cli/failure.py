"""How a command ends badly: what, how to mend it, an exit code, and no traceback unless asked for."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import Any, Final

import typer

from dockrion_events import DockrionError, encode_json

from .printable import escaped_json, printable

FAILED: Final = 1
USAGE: Final = 2
INTERRUPTED: Final = 130

TRACEBACK_HINT: Final = "--verbose shows the traceback"


class Failure(Exception):
    """The command has failed: ``what`` in one line, how to ``mend`` it in another, and the exit code."""

    def __init__(self, what: str, mend: str = "", *, code: int = FAILED) -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend
        self.code = code


class Teller:
    """Writes warnings and errors to stderr, without the values of secrets once it knows them.

    With ``as_json`` a failure is a JSON document on stdout too, in place of the one that was asked for.
    """

    def __init__(self, verbose: bool, as_json: bool = False) -> None:
        self.verbose = verbose
        self.as_json = as_json
        self.redact: Callable[[str], str] = str

    def say(self, text: str) -> None:
        """Write lines to stderr, if somebody reads it."""
        lines = [printable(self.redact(line)) for line in text.splitlines()]
        with suppress(BrokenPipeError):
            print("\n".join(lines), file=sys.stderr, flush=True)

    def failure(self, error: BaseException) -> int:
        """Tell of a failure and return the exit code it stands for."""
        from dockrion_sdk import DockfileError

        code = FAILED
        if self.as_json:
            document = self._redacted({"error": error_document(error)})
            print(escaped_json(encode_json(document).decode()), flush=True)
        if isinstance(error, Failure):
            self._two_lines(error.what, error.mend)
            code = error.code
        elif isinstance(error, DockfileError):
            for line in str(error).splitlines():
                self.say(f"error: {line}")
            if error.__cause__ is not None and error.__cause__.__cause__ is not None and not self.verbose:
                self.say(f"  {TRACEBACK_HINT}")
        else:
            self._two_lines(describe(error), TRACEBACK_HINT)
        told_of = error.__cause__ if isinstance(error, Failure) else error
        if self.verbose and told_of is not None:
            self.say("".join(traceback.format_exception(told_of)))
        return code

    def _redacted(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {name: self._redacted(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self._redacted(item) for item in value]
        return self.redact(value) if isinstance(value, str) else value

    def _two_lines(self, what: str, mend: str) -> None:
        self.say(f"error: {' '.join(what.split())}")
        if mend and not (self.verbose and mend == TRACEBACK_HINT):
            self.say(f"  {mend}")


def describe(error: BaseException) -> str:
    """Return an exception in one line, its type first where it is not one of ours."""
    text = " ".join(str(error).split())
    if isinstance(error, DockrionError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def error_document(error: BaseException) -> dict[str, Any]:
    """Return what ``--json`` says of a failure: ``message``, and ``hint`` or ``problems`` where there are."""
    from dockrion_sdk import DockfileError

    if isinstance(error, DockfileError):
        problems = [
            {name: value for name, value in asdict(problem).items() if value} for problem in error.problems
        ]
        return {"message": str(error), "file": error.file, "problems": problems}
    if isinstance(error, Failure):
        return {"message": error.what, **({"hint": error.mend} if error.mend else {})}
    return {"message": describe(error)}


@contextmanager
def told(verbose: bool = False, as_json: bool = False) -> Iterator[Teller]:
    """Turn what goes wrong within into words on stderr and an exit code."""
    teller = Teller(verbose, as_json)
    try:
        yield teller
        if sys.stdout is not None:
            sys.stdout.flush()  # or a reader that has gone would be noticed by the interpreter
    except (typer.Exit, typer.BadParameter):
        raise
    except KeyboardInterrupt:
        teller.say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last stop
        if _reader_has_gone(error):
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, sys.stdout.fileno())
            raise typer.Exit(FAILED) from None
        code = FAILED
        with suppress(BrokenPipeError):
            code = teller.failure(error)
        raise typer.Exit(code) from None


def _reader_has_gone(error: BaseException) -> bool:
    """Whether nobody reads stdout any more (`| head`): then nobody is left to tell.

    rich turns the broken pipe into an exit of its own.
    """
    return isinstance(error, BrokenPipeError) or (
        isinstance(error, SystemExit) and isinstance(error.__context__, BrokenPipeError)
    )
