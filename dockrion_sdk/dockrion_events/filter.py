"""Which events a stream carries."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final, NamedTuple, TypeAlias

from .errors import InvalidFilter
from .events import CONFIGURABLE, CUSTOM_NAME, CUSTOM_PREFIX, MANDATORY

PRESETS: Final[dict[str, tuple[str, ...]]] = {
    "minimal": (),
    "chat": ("token", "step", "heartbeat"),
    "debug": CONFIGURABLE,
    "all": CONFIGURABLE,
}


Sources: TypeAlias = "Iterable[str] | Mapping[str, Iterable[str]] | None"
"""Names that are allowed, or ``{"allow": names, "deny": names}``; ``*`` in a name stands for any text."""


class _Names(NamedTuple):
    """Which of the things with names are wanted; ``allow`` of None allows all that are not denied."""

    allow: tuple[str, ...] | None = None
    deny: tuple[str, ...] = ()

    def want(self, names: Iterable[str]) -> bool:
        names = tuple(names)
        if _any_of(names, self.deny):
            return False
        return self.allow is None or _any_of(names, self.allow)


class EventsFilter:
    """Which events may leave an execution; immutable.

    ``None`` allows everything. A string is one of the presets ``minimal`` (mandatory events only),
    ``chat`` (token, step, heartbeat), ``debug`` and ``all`` (everything). A list names event types:
    ``custom`` allows every custom event, ``custom:<name>`` one of them. Mandatory events (started,
    complete, error, cancelled) are always allowed.

    ``nodes`` and ``tags`` narrow what an adapter tells by itself of models, tools and steps, besides: to
    those in the nodes (steps) of these names or within them, and to the calls of models with these tags.
    Either is a list of what is allowed or ``{"allow": [...], "deny": [...]}``, where what is denied wins.
    What agent code emits, and custom events, are not affected.

    Raises `InvalidFilter` for an event that does not exist, naming those that do.
    """

    __slots__ = ("_allowed", "_custom", "_nodes", "_tags")

    def __init__(
        self, events: str | Iterable[str] | None = None, *, nodes: Sources = None, tags: Sources = None
    ) -> None:
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
        self._nodes = _names("nodes", nodes)
        self._tags = _names("tags", tags)

    def is_allowed(self, event_type: str) -> bool:
        """Say whether an event of this type may leave the execution."""
        return event_type in self._allowed or (self._custom and event_type.startswith(CUSTOM_PREFIX))

    def with_events(self, events: str | Iterable[str] | None) -> EventsFilter:
        """Return a filter of other events, of the same nodes and tags."""
        made = EventsFilter(events)
        made._nodes, made._tags = self._nodes, self._tags
        return made

    @property
    def chooses_sources(self) -> bool:
        """Whether it depends on nodes or tags what may leave; see `allows_source`."""
        return self._nodes is not None or self._tags is not None

    def allows_source(self, nodes: Iterable[str], tags: Iterable[str] | None = None) -> bool:
        """Say whether something may be told that happens within ``nodes``, the outermost first.

        ``tags`` are those of a model's call; None for what has none, such as a step.
        """
        if self._nodes is not None and not self._nodes.want(nodes):
            return False
        return tags is None or self._tags is None or self._tags.want(tags)

    @property
    def allowed(self) -> tuple[str, ...]:
        """The configurable types that are allowed, in their canonical order."""
        listed = [name for name in CONFIGURABLE if name in self._allowed]
        return (*listed, *sorted(self._allowed.difference(CONFIGURABLE, MANDATORY)))

    def allows_any_custom(self) -> bool:
        """Say whether at least one custom event may pass."""
        return self._custom or any(name.startswith(CUSTOM_PREFIX) for name in self._allowed)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, EventsFilter) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        sources = (("nodes", self._nodes), ("tags", self._tags))
        narrowed = [f", {name}={names._asdict()!r}" for name, names in sources if names is not None]
        return f"EventsFilter({list(self.allowed)!r}{''.join(narrowed)})"

    @property
    def _key(self) -> tuple[frozenset[str], _Names | None, _Names | None]:
        return self._allowed, self._nodes, self._tags


def _any_of(names: tuple[str, ...], patterns: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, pattern) for name in names for pattern in patterns)


def _names(what: str, given: Sources) -> _Names | None:
    """Return what ``given`` chooses; None where that is everything."""
    if given is None:
        return None
    if not isinstance(given, Mapping):
        return _Names(allow=_listed(what, given))
    wrong = [key for key in given if key not in _Names._fields]
    if wrong:
        raise InvalidFilter(f"{what}: unknown key {wrong[0]!r}; valid keys: {', '.join(_Names._fields)}")
    allow, deny = given.get("allow"), given.get("deny")
    names = _Names(None if allow is None else _listed(what, allow), _listed(what, deny or ()))
    return None if names == _Names() else names


def _listed(what: str, given: object) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise InvalidFilter(f"{what}: expected a list of names, not {given!r}")
    names = tuple(given)
    wrong = [name for name in names if not (isinstance(name, str) and name)]
    if wrong:
        raise InvalidFilter(f"{what}: a name is a string that is not empty, not {wrong[0]!r}")
    return names


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
