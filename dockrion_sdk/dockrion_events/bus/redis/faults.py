"""How talking to Redis fails, what its error replies mean, and what to look at."""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from redis.exceptions import AuthenticationError, AuthorizationError, RedisError, ResponseError

FAILURES: Final = (RedisError, OSError, TimeoutError, EOFError)
"""What a connection raises that is lost, silent or refused."""

Meaning: TypeAlias = Literal["noscript", "elsewhere", "later", "refused"]

_CODE: Final = re.compile(r"(?:^|[\s-])([A-Z]{3,20})\b")
"""Codes; inside of a script's error they stand in the middle of the text, behind a dash."""

_FORBIDDEN: Final = re.compile(
    r"no permissions? to (?:run|access)[^']*?(?:keys?|channels?|')|can't run this command"
    r"|can't access at least one of the keys|unknown (?:redis )?command|permissions to access a",
    re.IGNORECASE,
)

_NAMED_COMMAND: Final = re.compile(r"(?:run the '|unknown command [`'])([A-Za-z|]+)", re.IGNORECASE)

_MEANINGS: Final[dict[str, Meaning]] = {
    "NOSCRIPT": "noscript",
    "READONLY": "elsewhere",
    "UNBLOCKED": "elsewhere",
    "LOADING": "later",
    "MASTERDOWN": "later",
    "CLUSTERDOWN": "later",
    "TRYAGAIN": "later",
    "BUSY": "later",
}

_ADVICE: Final = {
    "OOM": "its memory is full (look at maxmemory and what else it keeps)",
    "MISCONF": "it cannot save to its disk and takes no writes (look at its log and its disk)",
    "NOREPLICAS": "it has too few replicas to take writes (look at min-replicas-to-write)",
    "READONLY": "it is a read-only replica (is there a master, and does the URL lead to it?)",
    "LOADING": "it is still loading its data",
    "MASTERDOWN": "it is a replica that has lost its master",
    "CLUSTERDOWN": "the cluster is down (look at CLUSTER INFO)",
    "NOPERM": "its access rules do not allow a command that is needed (look at the user's ACL)",
    "NOAUTH": "it wants a user name and a password",
    "WRONGPASS": "it does not accept the user name and the password",
    "WRONGTYPE": "its keys hold something else (is the prefix used by another program?)",
    "BUSY": "it is busy with somebody's script",
}


def _codes(error: Exception) -> list[str]:
    kind = type(error).__name__
    named = {
        "NoScriptError": "NOSCRIPT",
        "ReadOnlyError": "READONLY",
        "OutOfMemoryError": "OOM",
        "NoPermissionError": "NOPERM",
        "MasterDownError": "MASTERDOWN",
        "ClusterDownError": "CLUSTERDOWN",
        "TryAgainError": "TRYAGAIN",
        "BusyLoadingError": "LOADING",
    }
    found = _CODE.findall(str(error))
    return [named[kind], *found] if kind in named else found


def meaning(error: ResponseError) -> Meaning:
    """Return what to do about an error reply; what is not known is refused for good."""
    for code in _codes(error):
        if code in _MEANINGS:
            return _MEANINGS[code]
    return "refused"


def final(error: BaseException) -> bool:
    """Whether a failed connection need not be tried again."""
    return isinstance(error, AuthenticationError | AuthorizationError)


def forbidden(error: BaseException | None) -> str | None:
    """Return what an error reply says is not allowed: ``command``, ``keys`` or ``channels``; else None.

    A command that Redis does not know, because somebody has renamed it, is not allowed either.
    """
    text = str(error) if isinstance(error, ResponseError) else ""
    found = _FORBIDDEN.search(text)
    if found is None:
        return None
    return "channels" if "channel" in text else "keys" if "key" in found[0] else "command"


def described(error: BaseException) -> str:
    """Return one line about an error, with what to look at where that is known."""
    named = _NAMED_COMMAND.search(str(error)) if forbidden(error) == "command" else None
    if named is not None:
        return f"its access rules do not allow {named[1].upper()} (look at the user's ACL)"
    if isinstance(error, AuthenticationError | AuthorizationError):
        return _ADVICE["WRONGPASS"]
    if isinstance(error, Exception):
        for code in _codes(error):
            if code in _ADVICE:
                return f"{_ADVICE[code]} ({code})"
    text = " ".join(str(error).split())
    return text[:200] or type(error).__name__
