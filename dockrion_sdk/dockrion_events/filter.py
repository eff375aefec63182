"""Which events a stream carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

from .errors import InvalidFilter
from .events import CONFIGURABLE, CUSTOM_NAME, CUSTOM_PREFIX, MANDATORY

PRESETS: Final[dict[str, tuple[str, ...]]] = {
    "minimal": (),
    "chat": ("token", "step", "heartbeat"),
    "debug": CONFIGURABLE,
    "all": CONFIGURABLE,
}


class EventsFilter:
    """The set of event types that may leave an execution; immutable.

    ``None`` allows everything. A string is one of the presets ``minimal`` (mandatory events only),
    ``chat`` (token, step, heartbeat), ``debug`` and ``all`` (everything). A list names event types:
    ``custom`` allows every custom event, ``custom:<name>`` one of them. Mandatory events (started,
    complete, error, cancelled) are always allowed.

    Raises `InvalidFilter` for a name that does not exist, naming those that do.
    """

    __slots__ = ("_allowed", "_custom")

    def __init__(self, events: str | Iterable[str] | None = None) -> None:
        if events is None:
            names: tuple[str, ...] = CONFIGURABLE
        elif isinstance(events, str):
            names = _preset(events)
        else:
            try:
                names = tuple(_checked(name) for name in events)
            except TypeError:
                raise InvalidFilter(
                    f"an events filter is None, a preset ({', '.join(PRESETS)}) or a list of event "
                    f"types, not {type(events).__name__}"
                ) from None
        self._allowed = frozenset(names) | MANDATORY
        self._custom = "custom" in self._allowed

    def is_allowed(self, event_type: str) -> bool:
        """Say whether an event of this type may leave the execution."""
        return event_type in self._allowed or (self._custom and event_type.startswith(CUSTOM_PREFIX))

    @property
    def allowed(self) -> tuple[str, ...]:
        """The configurable types that are allowed, in their canonical order."""
        listed = [name for name in CONFIGURABLE if name in self._allowed]
        return (*listed, *sorted(self._allowed.difference(CONFIGURABLE, MANDATORY)))

    def allows_any_custom(self) -> bool:
        """Say whether at least one custom event may pass."""
        return self._custom or any(name.startswith(CUSTOM_PREFIX) for name in self._allowed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventsFilter) and self._allowed == other._allowed

    def __hash__(self) -> int:
        return hash(self._allowed)

    def __repr__(self) -> str:
        return f"EventsFilter({list(self.allowed)!r})"


def _preset(name: str) -> tuple[str, ...]:
    try:
        return PRESETS[name]
    except KeyError:
        hint = ""
        if name in CONFIGURABLE or name.startswith(CUSTOM_PREFIX):
            hint = f"; to allow one event, write a list: [{name}]"
        else:
            hint = _nearest(name, PRESETS)
        raise InvalidFilter(f"unknown preset {name!r}{hint}; valid presets: {', '.join(PRESETS)}") from None


def _checked(name: object) -> str:
    valid = f"valid events: {', '.join(CONFIGURABLE)}, custom:<name>"
    if not isinstance(name, str):
        raise InvalidFilter(f"an event is named by a string, not {name!r}; {valid}")
    if name in CONFIGURABLE or name in MANDATORY:
        return name
    if name.startswith(CUSTOM_PREFIX):
        if CUSTOM_NAME.fullmatch(name, len(CUSTOM_PREFIX)):
            return name
        raise InvalidFilter(
            f"invalid custom event {name!r}: the name has up to 64 letters, digits, '_', '.' or '-' and "
            "begins with a letter or '_'"
        )
    if name in PRESETS:
        raise InvalidFilter(f"{name!r} is a preset and stands alone, outside a list; {valid}")
    hint = _nearest(name, CONFIGURABLE)
    if not hint and CUSTOM_NAME.fullmatch(name):
        hint = f"; an event of the agent's own is written 'custom:{name}'"
    raise InvalidFilter(f"unknown event {name!r}{hint}; {valid}")


def _nearest(name: str, valid: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, list(valid), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
