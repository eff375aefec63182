"""Whether a checkpointer can be used from an event loop."""

from __future__ import annotations

import weakref
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver


class Savers:
    """Asks each checkpointer once whether it is synchronous only."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], bool]] = {}

    async def is_sync_only(self, saver: Any) -> bool:
        if not isinstance(saver, BaseCheckpointSaver):
            return False
        key = id(saver)
        known = self._known.get(key)
        if known is None:
            forget = weakref.ref(saver, lambda _: self._known.pop(key, None))
            known = self._known[key] = (forget, await _refuses_async(saver))
        return known[1]


async def _refuses_async(saver: BaseCheckpointSaver[Any]) -> bool:
    try:
        await saver.aget_tuple({"configurable": {"thread_id": "", "checkpoint_ns": ""}})
    except NotImplementedError:
        return True
    except Exception:  # noqa: BLE001 - any other fault is the execution's to report
        return False
    return False
