"""How a command ends badly: what, how to mend it, an exit code, and no traceback unless asked for."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import typer

from dockrion_events import DockrionError
from dockrion_sdk import DockfileError

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
    """Writes warnings and errors to stderr, without the values of secrets once it knows them."""

    def __init__(self, verbose: bool) -> None:
        self.verbose = verbose
        self.redact: Callable[[str], str] = str

    def say(self, text: str) -> None:
        """Write lines to stderr."""
        print("\n".join(self.redact(line) for line in text.splitlines()), file=sys.stderr, flush=True)

    def failure(self, error: BaseException) -> int:
        """Tell of a failure and return the exit code it stands for."""
        code = FAILED
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


@contextmanager
def told(verbose: bool = False) -> Iterator[Teller]:
    """Turn what goes wrong within into words on stderr and an exit code."""
    teller = Teller(verbose)
    try:
        yield teller
    except (typer.Exit, typer.BadParameter):
        raise
    except BrokenPipeError:
        # Whoever read stdout has gone (`| head`): nobody is left to tell.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(FAILED) from None
    except KeyboardInterrupt:
        teller.say("interrupted")
        raise typer.Exit(INTERRUPTED) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the last stop
        raise typer.Exit(teller.failure(error)) from None
