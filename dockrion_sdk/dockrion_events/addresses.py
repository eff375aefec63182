"""What is wrong with the URL of a Redis, said without repeating any of it: it may hold a password."""

from __future__ import annotations

from typing import Final
from urllib.parse import SplitResult, parse_qs, urlsplit

ENCODE: Final = "percent-encode / ? # [ ] @ and % in the password, for example %2F for /"


def check_store_url(url: str) -> None:
    """Look at a URL whose scheme is known. Raises ``ValueError``, which never repeats a part of the URL."""
    try:
        parts = urlsplit(url)
    except ValueError:
        raise ValueError(f"the host of the URL is not one; {ENCODE}") from None
    unix = parts.scheme == "unix"
    if parts.fragment or (not unix and _has_login_behind_host(parts)):
        raise ValueError(f"the URL ends its host too early; {ENCODE}")
    if "+" not in parts.scheme and not unix:
        try:
            _ = parts.port
        except ValueError:
            raise ValueError(f"the port is not a number from 0 to 65535; {ENCODE}") from None
    database = parse_qs(parts.query).get("db", [""])[-1] if unix else _database(parts)
    if database and not (database.isascii() and database.isdigit()):
        raise ValueError("the database is not a number, such as 0 in redis://host:6379/0")


def _has_login_behind_host(parts: SplitResult) -> bool:
    return "@" in parts.path or ("@" in parts.query and "=" not in parts.query.partition("@")[0])


def _database(parts: SplitResult) -> str:
    path = parts.path.strip("/")
    return path.partition("/")[2] if parts.scheme.endswith("+sentinel") else path
