"""How runs are named: by their owner, and in the store."""

from __future__ import annotations

import re
from typing import Final

ID: Final = re.compile(r"[A-Za-z0-9._:-]{1,128}")
ID_RULE: Final = "1 to 128 letters, digits, '.', '_', ':' or '-'"


def is_id(text: str) -> bool:
    """Say whether ``text`` may name a run."""
    return ID.fullmatch(text) is not None


def run_key(owner: str, run_id: str) -> str:
    """Return the store's name of an owner's run; two owners may use the same id."""
    return f"{owner}/{run_id}" if owner else run_id


def run_id_of(key: str) -> str:
    """Return the id by which a run's owner knows it."""
    return key.rpartition("/")[2]
