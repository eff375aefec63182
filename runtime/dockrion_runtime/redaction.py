"""Keeps the values of secrets out of what clients read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

if TYPE_CHECKING:
    from dockrion_sdk import Dockfile

_SHORTEST: Final = 4  # shorter values would blot out ordinary words
_SHORTEST_GUESSED: Final = 8

_NAME: Final = re.compile(
    r"(.*_)?(KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|CREDENTIALS?)", re.ASCII | re.IGNORECASE
)
"""Names of environment variables that are secrets, whether the Dockfile knows them or not."""


_KEYS: Final = re.compile(
    r"\bsk-[\w-]{12,}"  # OpenAI, Anthropic, OpenRouter, DeepSeek
    r"|\b(?:gsk|hf|r8|nvapi|pplx|xai|tvly|fw|csk|gh[pousr])[-_][A-Za-z0-9_-]{16,}"
    r"|\bAIza[\w-]{30,}|\b(?:AKIA|ASIA)[A-Z0-9]{16}\b"  # Google, AWS
    r"|(?<=\bBearer )[\w.~+/-]{6,}=*|(?<=\bBasic )[A-Za-z0-9+/]{8,}=*",
    re.ASCII,
)
"""Keys of the usual providers, by their form: an exception may name one that no variable holds."""


class Redactor:
    """Replaces known secret values, and what has the form of a provider's key, in texts by ``***``."""

    def __init__(self, values: Iterable[str]) -> None:
        self._values = sorted({v for v in values if len(v) >= _SHORTEST}, key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """Return ``text`` without secrets."""
        for value in self._values:
            text = text.replace(value, "***")
        return _KEYS.sub("***", text)


def redactor(dockfile: Dockfile, env: Mapping[str, str], keys: Iterable[str] = ()) -> Redactor:
    """Return the redactor of the secrets that the Dockfile names, the store's password, and the API keys.

    Of the other environment variables it takes those whose names say what they are, such as
    ``OPENAI_API_KEY``, where their values are too long to be ordinary words.
    """
    guessed = [
        value for name, value in env.items() if len(value) >= _SHORTEST_GUESSED and _NAME.fullmatch(name)
    ]
    secrets = dockfile.secrets
    names = [*(secret.name for secret in secrets.required), *(secret.name for secret in secrets.optional)]
    password = urlsplit(dockfile.streaming.redis.url).password or ""
    return Redactor([*(env.get(name, "") for name in names), *guessed, password, unquote(password), *keys])
