"""What an execution finds around it: the graph whose node it runs in, if it does, and what that lends.

LangGraph keeps this in the ``configurable`` part of the config, under names that it does not promise;
``tests/adapters/langgraph/test_pins.py`` holds them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, TypeAlias

from langchain_core.runnables.config import var_child_runnable_config
from langgraph.pregel import Pregel

Graph: TypeAlias = "Pregel[Any, Any, Any, Any]"

RUNTIME_KEY: Final = "__pregel_runtime"  # the Runtime: store, stream writer and the rest
STREAM_KEY: Final = "__pregel_stream"  # where a subgraph sends its parts besides its own stream
SAVER_KEY: Final = "__pregel_checkpointer"  # the checkpointer that a graph lends to its nodes
_COORDINATES = ("thread_id", "checkpoint_ns", "checkpoint_id", "checkpoint_map")


def configurable_of(graph: Graph, config: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what is configurable for an execution of ``graph``, as LangGraph puts it together.

    Within a node that is what surrounds it, unless a thread or a checkpoint is named.
    """
    given = {**(graph.config or {}).get("configurable", {}), **((config or {}).get("configurable") or {})}
    if any(given.get(name) for name in _COORDINATES):
        return given
    return {**(var_child_runnable_config.get() or {}).get("configurable", {}), **given}


def saver_of(graph: Graph, config: Mapping[str, Any] | None) -> Any:
    """Return the checkpointer that LangGraph takes for an execution of ``graph``."""
    return configurable_of(graph, config).get(SAVER_KEY, graph.checkpointer)
