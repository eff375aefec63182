"""Keeps secrets out of what clients and logs are told: known values in any form, and what looks like one."""

from __future__ import annotations

import base64
import html
import json
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import quote, quote_plus, unquote, urlsplit

if TYPE_CHECKING:
    from dockrion_sdk import Dockfile

_SHORTEST: Final = 4  # shorter values would blot out ordinary words
_SHORTEST_GUESSED: Final = 6
_SHORTEST_BASE64: Final = 8
_SHORTEST_LINE: Final = 8

_LONGEST_TEXT: Final = 256 * 1024
"""Characters of a text that are looked through; of a longer one its middle is left out."""

_WORDS: Final = frozenset(
    {
        "KEY", "KEYS", "TOKEN", "TOKENS", "SECRET", "SECRETS", "PASSWORD", "PASSWORDS", "PASSWD",
        "PASSPHRASE", "PASS", "PWD", "CREDENTIAL", "CREDENTIALS", "CRED", "CREDS", "DSN", "AUTH", "APIKEY",
        "JWT", "PAT", "COOKIE", "SALT", "CONNSTR",
    }
)  # fmt: skip
"""What the last word of a variable's name says of its value."""

_STRONG: Final = ("PASSWORD", "PASSWD", "PASSPHRASE", "SECRET", "TOKEN", "APIKEY", "API_KEY", "CREDENTIAL")
_HARMLESS_ENDS: Final = frozenset(
    {
        "FILE", "PATH", "DIR", "SOCK", "HOST", "PORT", "NAME", "TTL", "TIMEOUT", "LIMIT", "MAX", "MIN",
        "LENGTH", "COUNT", "SECONDS", "ENABLED", "TYPE", "URL", "URI",
    }
)  # fmt: skip
_HARMLESS: Final = frozenset({"PWD", "OLDPWD", "SSH_AUTH_SOCK"})
_ORDINARY_VALUES: Final = frozenset(
    {"true", "false", "enabled", "disabled", "required", "default", "optional"}
)

_NAMES: Final = (
    r"(?:password|passwd|pwd|passphrase|secret|api[_-]?key|(?:access|account|private|signing)[_-]?key"
    r"|sharedaccesskey|(?:access|auth|bearer|id|refresh|security|session)[_-]?token|credential)s?"
)
_ASSIGNED: Final = re.compile(
    rf"""({_NAMES}\\{{0,3}}["']?\s?[:=]\s?b?\\{{0,3}}(["']))((?:(?!\\{{0,3}}\2)[^\r\n]){{4,1024}})"""
    rf"""|({_NAMES}(?:=|["']\s*:\s*))([^\s"'&;,\\]{{4,}})|([?&;]sig=)([^\s"'&;,]{{4,}})""",
    re.IGNORECASE,
)
"""``db_password=…``, ``"password": "…"``, ``clientSecret: '…'``, and the signature in Azure's URLs."""

_IN_NAMES: Final = ("passw", "pwd", "passphrase", "secret", "key", "token", "credential", "sig=")
"""One of these is in whatever `_ASSIGNED` finds."""

_PASSWORD_IN_URL: Final = re.compile(
    r"""(?<=://)(?:([^\s/?#@:"'<>]{0,256}):(?![0-9]{1,5}(?:[/?#]|$))[^\s"'<>]{1,1024}@"""
    r"""|[^\s/?#@:"'<>]{16,256}@)"""
)
"""The password may hold ``/``, ``?`` and ``#`` that nobody has encoded; a port is no password."""

_KEYS: Final = re.compile(
    r"\bsk-[\w-]{12,}"  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"|\b(?:gsk|hf|r8|nvapi|pplx|xai|tvly|fw|csk|gh[pousr]|github_pat|glpat|xox[abeprs]|npm|pypi)"
    r"[-_][A-Za-z0-9_-]{16,}"
    r"|\b[rs]k_(?:live|test)_[A-Za-z0-9]{10,}"  # Stripe
    r"|(?<![\w-])eyJ[\w-]{10,}\.[\w-]{4,}(?:\.[\w-]*)?"  # JSON Web Tokens
    r"|\bSG\.[\w-]{16,}\.[\w-]{16,}"  # SendGrid
    r"|\bAIza[\w-]{30,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # Google, AWS
    r"|(?<=\bBearer )[\w.~+/-]{6,}=*|(?<=\bBasic )[A-Za-z0-9+/_-]{8,}=*"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]*",
    re.ASCII,
)
"""Keys of the usual providers, by their form: an exception may name one that no variable holds."""


class Redactor:
    """Replaces known secret values, as they are or encoded, and what has a secret's form, by ``***``."""

    def __init__(self, values: Iterable[str]) -> None:
        parts = {part for value in values for part in (value, value.strip(), *_lines(value))}
        known = {part for part in parts if len(part) >= _SHORTEST}
        forms = {form for value in known for form in _forms(value)}
        self._forms = sorted(forms, key=len, reverse=True)
        self._longest = len(self._forms[0]) if self._forms else 0

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets, and without its middle where it is very long."""
        if len(text) <= _LONGEST_TEXT:
            return self._clean(text)
        half = _LONGEST_TEXT // 2
        # A secret on the edge of the cut is not recognised: nothing that may be part of one is shown.
        edge = min(self._longest, half // 2) + 1
        first, last = self._clean(text[:half])[:-edge], self._clean(text[-half:])[edge:]
        return f"{first}… ({len(text) - 2 * half:,} characters left out) …{last}"

    def _clean(self, text: str) -> str:
        for form in self._forms:
            text = text.replace(form, "***")
        text = _PASSWORD_IN_URL.sub(_without_password, text)
        text = _KEYS.sub("***", text)
        lowered = text.lower()
        if any(word in lowered for word in _IN_NAMES):  # most texts have none, and the search is slow
            text = _ASSIGNED.sub(_without_value, text)
        return text


def _lines(value: str) -> list[str]:
    """Return the lines of a value that are no ordinary words: a text may show one of them only."""
    return [line for line in map(str.strip, value.splitlines()) if len(line) >= _SHORTEST_LINE]


def _without_password(found: re.Match[str]) -> str:
    return "***@" if found[1] is None else f"{found[1]}:***@"


def _without_value(found: re.Match[str]) -> str:
    return f"{found[1] or found[4] or found[6]}***"


def _forms(value: str) -> Iterator[str]:
    """Yield a secret as it is, and as URLs, HTML, quoted texts, bytes, hex and base64 spell it."""
    quoted = {quote(value, safe=""), quote(value), quote_plus(value)}
    yield from (
        value,
        *quoted,
        *(_lower_escapes(text) for text in quoted),
        quote(quote(value, safe=""), safe=""),
        repr(value)[1:-1],
        json.dumps(value)[1:-1],
        json.dumps(value, ensure_ascii=False)[1:-1],
        json.dumps(json.dumps(value))[3:-3],
        html.escape(value),
        unicodedata.normalize("NFC", value),
        unicodedata.normalize("NFD", value),
    )
    data = value.encode("utf-8", "surrogateescape")
    yield from (repr(data)[2:-1], data.hex(), data.hex().upper())
    for before in range(3):  # where it begins within a group of three bytes is the neighbours' doing
        coded = base64.b64encode(b"\0" * before + data).decode()
        # The first and the last characters hold bits of what stands around.
        inner = coded[(0, 2, 3)[before] : (len(data) + before) * 8 // 6]
        if len(inner) >= _SHORTEST_BASE64:
            yield inner
            yield inner.replace("+", "-").replace("/", "_")


def _lower_escapes(text: str) -> str:
    return re.sub("%[0-9A-F]{2}", lambda found: found[0].lower(), text)


def redactor(dockfile: Dockfile, env: Mapping[str, str], keys: Iterable[str] = ()) -> Redactor:
    """Return the redactor of the secrets that the Dockfile names, the store's password, and the API keys.

    Of the other environment variables it takes those whose names say what they are, such as
    ``OPENAI_API_KEY`` and ``DB_PASS``, where their values are too long to be ordinary words, and of those
    that hold a URL or a connection string the password in it.
    """
    secrets = dockfile.secrets
    names = [*(secret.name for secret in secrets.required), *(secret.name for secret in secrets.optional)]
    named = [env.get(name, "") for name in names]
    return Redactor([*named, *_guessed(env), *_passwords("", dockfile.streaming.redis.url), *keys])


def _guessed(env: Mapping[str, str]) -> Iterator[str]:
    for name, value in env.items():
        own = _names_a_secret(name.upper())
        long_enough = len(value) >= _SHORTEST_GUESSED and value.lower() not in _ORDINARY_VALUES
        if own and long_enough:
            yield value
            yield value.strip()
        for password in _passwords(name.upper(), value):
            if len(password) >= _SHORTEST:
                yield password


def _names_a_secret(name: str) -> bool:
    last = name.rpartition("_")[2]
    if name in _HARMLESS or last in _HARMLESS_ENDS:
        return False
    return last in _WORDS or any(word in name for word in _STRONG) or last.endswith("PASS")


def _passwords(name: str, value: str) -> Iterator[str]:
    """Yield what is secret within a URL or a connection string; the user of a DSN is its key."""
    if "://" in value:
        rest = value.partition("://")[2]
        user, at, _ = rest.rpartition("@")
        if at and ":" in user:
            password = user.partition(":")[2]  # as a person reads it, "/" and "#" in it or not
            yield password
            yield unquote(password)
        elif at and name.endswith("DSN"):
            yield user
        try:
            proper = urlsplit(value).password or ""
        except ValueError:
            proper = ""
        yield proper
        yield unquote(proper)
    for found in _ASSIGNED.finditer(value):
        yield found[3] or found[5] or found[7]
