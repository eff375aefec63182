"""Whose thread an execution has, and what is left of it afterwards."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from langgraph.checkpoint.base import BaseCheckpointSaver

from ..base import OWNER, TEMPORARY
from .execution import INTERRUPT_KEY
from .surroundings import Graph

log: logging.Logger = logging.getLogger("dockrion")


class Scope(NamedTuple):
    """Whose thread it is, and whether nobody but the execution knows it by name."""

    owner: str = ""
    temporary: bool = False


UNSCOPED: Final = Scope()


class Call(NamedTuple):
    """How LangGraph is called for one execution: the graph as it is, and all that goes along with it."""

    graph: Graph
    config: Any
    options: dict[str, Any]
    saver: Any

    @property
    def keeps(self) -> bool:
        """Whether checkpoints are written."""
        return isinstance(self.saver, BaseCheckpointSaver)


def scoped(config: dict[str, Any] | None) -> tuple[dict[str, Any] | None, Scope]:
    """Return ``config`` as user code may see it, and the scope that was in it."""
    configurable = (config or {}).get("configurable")
    if not configurable or not (OWNER in configurable or TEMPORARY in configurable):
        return config, UNSCOPED
    left = {key: value for key, value in configurable.items() if key not in (OWNER, TEMPORARY)}
    scope = Scope(configurable.get(OWNER, ""), configurable.get(TEMPORARY, False))
    return {**(config or {}), "configurable": left}, scope


class Leftovers:
    """What a temporary execution has stored, and nobody needs unless it waits for an answer."""

    __slots__ = ("_call", "keep")

    def __init__(self) -> None:
        self._call: Call | None = None
        self.keep: bool = False

    def of(self, call: Call) -> None:
        """The execution has begun, with this call."""
        self._call = call

    async def settle(self, output: Any) -> None:
        """The execution has returned ``output``."""
        call = self._call
        if call is not None:
            self.keep = await waits_for_answer(call, output)

    async def discard(self) -> None:
        """Delete it, once."""
        call, self._call = self._call, None
        if call is not None and not self.keep:
            await delete_thread(call.saver, call.config)


async def waits_for_answer(call: Call, output: Any) -> bool:
    """Whether an execution that gave ``output`` has stopped at an interrupt, and can go on from there."""
    if isinstance(output, dict) and output.get(INTERRUPT_KEY):
        return True
    graph, options = call.graph, call.options
    before = options.get("interrupt_before", graph.interrupt_before_nodes)
    after = options.get("interrupt_after", graph.interrupt_after_nodes)
    if not (before or after) or not call.keeps:
        return False
    return bool((await graph.aget_state(call.config)).next)


async def delete_thread(saver: Any, config: Mapping[str, Any]) -> None:
    """Delete what is stored in the thread of ``config``, if the checkpointer can do that."""
    thread_id = (config.get("configurable") or {}).get("thread_id")
    if thread_id is None or not isinstance(saver, BaseCheckpointSaver):
        return
    try:
        await saver.adelete_thread(thread_id)
    except NotImplementedError:
        log.debug("%s cannot delete threads; thread %s is left", type(saver).__name__, thread_id)
    except Exception as error:  # noqa: BLE001 - the execution has ended well; only space is lost
        log.warning("the checkpoints of thread %s could not be deleted: %s", thread_id, error)
