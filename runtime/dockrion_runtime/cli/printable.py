"""Text of others for a terminal: an agent's, its models', a client's.

Control characters steer a terminal: they move the cursor, change what is on the screen and write to the
clipboard. Marks that turn the direction of text, and separators of lines, make it show what is not there.
Each function here returns text without any of them.
"""

from __future__ import annotations

import re
from typing import Final

_STEERING: Final = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_STEERING_BUT_LINES: Final = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
_REPLACEMENT: Final = "\ufffd"


def printable(text: str) -> str:
    """Return text of several lines, with a replacement for each character that steers."""
    if text.isprintable():
        return text
    return _STEERING_BUT_LINES.sub(_REPLACEMENT, text.replace("\r\n", "\n"))


def printable_line(text: str) -> str:
    """Return text that is to stay on its line, as a caller's line in a list does: see `printable`."""
    return text if text.isprintable() else _STEERING.sub(_REPLACEMENT, text)


def escaped_line(text: str) -> str:
    r"""Return text on one line, with each character that steers as Python writes it: ``\x1b``, ``\n``."""
    return text if text.isprintable() else _STEERING.sub(_escape, text)


def escaped_json(document: str) -> str:
    r"""Return the same JSON, with each character that steers as ``\u009b``; line breaks in it stay."""
    if document.isprintable():
        return document
    return _STEERING_BUT_LINES.sub(lambda found: f"\\u{ord(found[0]):04x}", document)


def _escape(found: re.Match[str]) -> str:
    return found[0].encode("unicode_escape").decode()
