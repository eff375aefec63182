"""How runs and conversations are named: by their owner, and in the store."""

from __future__ import annotations

import re
from typing import Final

ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
ID_RULE: Final = "1 to 128 letters, digits, '.', '_', ':' or '-'"


THREAD: Final = re.compile(r"[^\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069]{1,255}")
"""Anything but control characters, separators of lines and marks that turn the direction of text."""
THREAD_ID_RULE: Final = "1 to 255 printable characters"


def is_thread_id(text: str) -> bool:
    """Say whether ``text`` may name a conversation: a mail address may, or a phone number.

    Whoever puts it into a key, an address or a header has to escape it.
    """
    if THREAD.fullmatch(text) is None:
        return False
    return text.isascii() or not any("\ud800" <= char <= "\udfff" for char in text)  # half a character


def is_id(text: str) -> bool:
    """Say whether ``text`` may name a run."""
    return ID.fullmatch(text) is not None


def run_key(owner: str, run_id: str) -> str:
    """Return the store's name of an owner's run; two owners may use the same id."""
    return f"{owner}/{run_id}" if owner else run_id


def run_id_of(key: str) -> str:
    """Return the id by which a run's owner knows it."""
    return key.rpartition("/")[2]
