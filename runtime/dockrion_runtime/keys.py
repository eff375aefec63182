"""API keys: read from a variable, compared in constant time, and the owners they stand for."""

from __future__ import annotations

import hashlib
import hmac
import re
from typing import Final

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,64}")

SHORTEST: Final = 8
"""Characters below which a key is taken for one that can be guessed."""


class KeyRing:
    """The valid keys and their owners.

    Made from the text of an environment variable: keys separated by commas, each ``key`` or
    ``name:key``. The owner is the name, or a hash of a key that has none.
    """

    def __init__(self, text: str, *, variable: str) -> None:
        self._variable = variable
        self._keys: list[tuple[bytes, str]] = []
        for entry in filter(None, (part.strip() for part in text.split(","))):
            name, colon, key = entry.partition(":")
            if not colon:
                name, key = "", entry
            elif not (_NAME.fullmatch(name) and key):
                raise ValueError(
                    f"{variable}: an entry is neither key nor name:key, a name being letters, digits, '_.-'"
                )
            digest = hashlib.sha256(key.encode()).hexdigest()
            self._keys.append((key.encode(), name or f"key-{digest[:16]}"))
        if not self._keys:
            raise ValueError(f"{variable} holds no key; set it to key or name:key, commas between several")

    def owner(self, key: str) -> str | None:
        """Return whom ``key`` belongs to, or None; takes as long for a near miss as for a far one."""
        found = None
        given = key.encode("utf-8", "surrogateescape")
        for valid, owner in self._keys:
            if hmac.compare_digest(given, valid):
                found = owner
        return found

    def keys_of(self, owner: str) -> list[bytes]:
        """Return an owner's keys, as they were given."""
        return [key for key, whose in self._keys if whose == owner]

    @property
    def warnings(self) -> list[str]:
        """What is odd about the keys, a line each; no line shows a key."""
        short = sum(len(key.decode()) < SHORTEST for key, _ in self._keys)
        if not short:
            return []
        keys = "a key has" if short == 1 else f"{short} keys have"
        made = "python -c 'import secrets; print(secrets.token_urlsafe(32))'"
        return [
            f"{self._variable}: {keys} fewer than {SHORTEST} characters and can be guessed; "
            f"{made} makes a good one"
        ]

    @property
    def owners(self) -> int:
        """How many owners there are."""
        return len({owner for _, owner in self._keys})

    @property
    def secrets(self) -> list[str]:
        """The keys themselves, for redaction."""
        return [key.decode() for key, _ in self._keys]
