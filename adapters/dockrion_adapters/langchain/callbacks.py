"""The callbacks of a config, how to be one of them, and what they are told that is not what it seems."""

from __future__ import annotations

import logging
import re
from asyncio import CancelledError
from functools import lru_cache
from typing import Any, Final

from langchain_core.callbacks import BaseCallbackHandler, BaseCallbackManager

from dockrion_events import CustomEvent, EventsFilter
from dockrion_events.events import CUSTOM_NAME, CUSTOM_PREFIX

log: logging.Logger = logging.getLogger("dockrion")

SILENT_TAGS: Final = frozenset({"nostream", "langsmith:nostream"})
"""Tags that keep what a model says out of a stream."""

HIDDEN_TAG: Final = "langsmith:hidden"
"""The tag of a part that is not to be shown."""


def added(callbacks: Any, handler: BaseCallbackHandler) -> Any:
    """Return the callbacks of a config and one more, leaving the given ones as they are."""
    if isinstance(callbacks, BaseCallbackManager):
        manager = callbacks.copy()
        manager.add_handler(handler, inherit=True)
        return manager
    return [*(callbacks or ()), handler]


def custom_event(name: Any, data: Any, events_filter: EventsFilter) -> CustomEvent | None:
    """Return the event of ``dispatch_custom_event(name, data)``; None where it is not allowed."""
    kind = _custom_type(str(name))
    return CustomEvent(kind, data) if events_filter.is_allowed(kind) else None


@lru_cache(maxsize=1024)
def _custom_type(name: str) -> str:
    """Return ``custom:<name>``; LangChain takes any name, so that what cannot stand in one is replaced."""
    given = name.removeprefix(CUSTOM_PREFIX)
    if CUSTOM_NAME.fullmatch(given):
        return CUSTOM_PREFIX + given
    made = re.sub(r"[^A-Za-z0-9_.-]", "_", given)
    made = made if re.match(r"[A-Za-z_]", made) else f"_{made}"
    made = made[:64]
    log.warning("the custom event %.80r is sent as %r: its name is no valid one", name, made)
    return CUSTOM_PREFIX + made


def is_control_flow(error: BaseException | None) -> bool:
    """Whether an exception only steers: an interrupt, a handoff to a parent graph, or a cancellation."""
    if isinstance(error, CancelledError | GeneratorExit):
        return True
    return any(
        kind.__name__ == "GraphBubbleUp" and kind.__module__.partition(".")[0] == "langgraph"
        for kind in type(error).__mro__
    )
