"""The text in which a client learns of an agent's failure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from .model_failures import message_of, model_code

SHOWN_CAUSES: Final = 5
"""Failures within a group that a text names; the others are counted."""

LONGEST_CAUSE: Final = 300
"""Characters of the message of one failure within a group."""


def failure_text(error: BaseException, redact: Callable[[str], str]) -> str:
    """Return a failure's type and message, for a client.

    A group names its first causes. A failure without a message of its own, or one of a model, names what
    caused it. Any other failure does not: what an agent raised ``from`` something is what it wants known.
    Each message passes ``redact`` before it is shortened, so that no part of a secret is left.
    """
    if isinstance(error, BaseExceptionGroup):
        causes = list(_leaves(error))
        shown = [_shortened(_line(cause, redact)) for cause in causes[:SHOWN_CAUSES]]
        if len(causes) > SHOWN_CAUSES:
            shown.append(f"and {len(causes) - SHOWN_CAUSES} more")
        return f"{type(error).__name__}: {redact(error.message)}: {'; '.join(shown)}"
    return _line(error, redact)


def _line(error: BaseException, redact: Callable[[str], str]) -> str:
    kind, message = type(error).__name__, redact(message_of(error))
    line = f"{kind}: {message}" if message else kind
    cause = error.__cause__
    if cause is None or cause is error or (message and model_code(error) is None):
        return line
    because = redact(message_of(cause))
    if not because or because in message:
        return line
    return f"{line} (caused by {type(cause).__name__}: {_shortened(because)})"


def _shortened(text: str) -> str:
    return text if len(text) <= LONGEST_CAUSE else text[:LONGEST_CAUSE] + "…"


def _leaves(group: BaseExceptionGroup[BaseException]) -> Iterator[BaseException]:
    """Yield the failures within a group that are no groups, in their order."""
    waiting: list[BaseException] = [group]
    while waiting:
        error = waiting.pop()
        if isinstance(error, BaseExceptionGroup):
            waiting.extend(reversed(error.exceptions))
        else:
            yield error
