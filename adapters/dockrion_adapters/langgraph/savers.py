"""Which checkpointer an execution uses, and whether that can be used from an event loop."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.checkpoint.base import BaseCheckpointSaver

from .source import Graph

SAVER_KEY: Final = "__pregel_checkpointer"  # where LangGraph lends a graph's checkpointer to its nodes
_COORDINATES = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")


def saver_of(graph: Graph, config: Mapping[str, Any] | None) -> Any:
    """Return the checkpointer that LangGraph takes for an execution of ``graph``.

    Within a node it is the surrounding graph's, unless the config names a thread or a checkpoint.
    """
    around = (var_child_runnable_config.get() or {}).get("configurable", {})
    given = {**(graph.config or {}).get("configurable", {}), **(config or {}).get("configurable", {})}
    lent = given if any(given.get(name) for name in _COORDINATES) else {**around, **given}
    return graph.checkpointer if graph.checkpointer is False else lent.get(SAVER_KEY, graph.checkpointer)


class Savers:
    """Asks each checkpointer once whether it is synchronous only."""

    def __init__(self) -> None:
        self._known: dict[int, tuple[weakref.ref[Any], bool]] = {}

    async def is_sync_only(self, saver: Any) -> bool:
        if not isinstance(saver, BaseCheckpointSaver):
            return False
        key = id(saver)
        if key not in self._known:
            refuses = await _refuses_async(saver)
            forget = weakref.ref(saver, lambda _: self._known.pop(key, None))
            self._known[key] = (forget, refuses)
        return self._known[key][1]


async def _refuses_async(saver: BaseCheckpointSaver[Any]) -> bool:
    try:
        await saver.aget_tuple({"configurable": {"thread_id": "", "checkpoint_ns": ""}})
    except NotImplementedError:
        return True
    except Exception:  # noqa: BLE001 - any other fault is the execution's to report
        return False
    return False
