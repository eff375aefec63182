"""Commands typed in a terminal, and what they leave on its screen."""

from __future__ import annotations

import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from contextlib import suppress
from fcntl import ioctl
from pathlib import Path
from typing import Final

ROWS: Final = 50
_CONTROL: Final = re.compile(r"\x1b\[[0-9;?]*[A-LN-Za-ln-z]|\r")  # all but colours, which end in m
_DRAWN_ANEW: Final = re.compile(r"\x1b\[\d*A|\x1b\[2K")


class Session:
    """A shell of sorts: it knows ``cd`` and runs ``dockrion``; ``screen`` is what stands there, coloured."""

    def __init__(self, directory: Path, *, width: int = 96) -> None:
        self.width = width
        self.screen = ""
        self._directory = directory

    def type(self, command: str) -> None:
        """Run a command to its end. Raises `subprocess.CalledProcessError` where it fails."""
        self.screen += f"\x1b[1;32m$\x1b[0m \x1b[1m{command}\x1b[0m\n"
        words = shlex.split(command)
        if words[0] == "cd":
            self._directory /= words[1]
        else:
            self.screen += f"{_left(self._run(words)).strip()}\n\n"

    def _run(self, words: list[str]) -> str:
        ours, theirs = pty.openpty()
        ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", ROWS, self.width, 0, 0))
        process = subprocess.Popen(
            [sys.executable, "-m", "dockrion_runtime.cli", *words[1:]],
            cwd=self._directory,
            env={**os.environ, "TERM": "xterm-256color", "COLUMNS": str(self.width)},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        written = b""
        with suppress(OSError):  # how Linux tells that the terminal's other end is closed
            while data := os.read(ours, 65536):
                written += data
        os.close(ours)
        if process.wait():
            raise subprocess.CalledProcessError(process.returncode, words, written)
        return written.decode()


def _left(written: str) -> str:
    """Return what is left of a drawing that was drawn anew again and again: its last state."""
    return _CONTROL.sub("", _DRAWN_ANEW.split(written)[-1])
