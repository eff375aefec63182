"""How far a run has got: read from the newest checkpoint of its thread.

Entries of ``config["metadata"]`` land in the metadata of every checkpoint that an execution writes,
and so say later whose it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import copy
from typing import Any, Final, NamedTuple, cast

from langchain_core.runnables import RunnableConfig
from langgraph.constants import TAG_HIDDEN
from langgraph.types import StateSnapshot

from .execution import INTERRUPT_KEY
from .surroundings import Graph, configurable_of

RUN_KEY: Final = "dockrion_run"


class Progress(NamedTuple):
    """What the executions of a run have left behind in its thread.

    With ``settled`` nothing is left to execute: the run has finished, or waits at an interrupt, and
    ``output`` is what the graph returned there. Else it goes on with ``config``, and None for input.
    """

    settled: bool
    output: Any
    config: RunnableConfig


def marked(config: Mapping[str, Any] | None, run: str) -> dict[str, Any]:
    """Return the config with which an execution's checkpoints are known to be those of ``run``."""
    given = config or {}
    return {**given, "metadata": {**(given.get("metadata") or {}), RUN_KEY: run}}


async def read_progress(
    graph: Graph,
    config: Mapping[str, Any],
    run: str,
    *,
    options: Mapping[str, Any],
) -> Progress | None:
    """Return how far ``run`` has got; None where the newest checkpoint of the thread is not its own.

    That is so for a run that left none, whatever turns of a conversation the thread holds, and where
    somebody has gone on in the thread since: LangGraph has dropped then what was unfinished.

    ``config`` names the thread; ``options`` are those of the execution.
    """
    # A snapshot has the values of the stream's channels; those of the output are wanted.
    view = copy(graph)
    view.stream_channels = options.get("output_keys", graph.output_channels)

    async def snapshot(at: RunnableConfig) -> StateSnapshot:
        return await view.aget_state(at)

    if configurable_of(graph, config).get("thread_id") is None:
        return None  # LangGraph will say what is missing
    end = _at(config, checkpoint_id=None, checkpoint_map=None)  # the run may have begun further back
    newest = await snapshot(end)
    about: Mapping[str, Any] = newest.metadata or {}
    if about.get(RUN_KEY) != run:
        return None
    waiting = sum(bool(task.interrupts) for task in newest.tasks)
    if waiting and waiting == len(newest.next):  # what ran beside them has finished
        values = newest.values if isinstance(newest.values, dict) else {}
        return Progress(True, {**values, INTERRUPT_KEY: list(newest.interrupts)}, end)
    if not newest.tasks:
        return Progress(True, newest.values, end)
    before = options.get("interrupt_before", graph.interrupt_before_nodes)
    after = options.get("interrupt_after", graph.interrupt_after_nodes)
    source = about.get("source")
    # An execution that begins further back forks there, and passes what it had stopped at.
    stopped = source != "fork" and _any_of(newest, before, graph)
    if not stopped and after and source == "loop" and newest.parent_config is not None:
        parent = _at(config, **newest.parent_config["configurable"])
        stopped = _any_of(await snapshot(parent), after, graph)
    return Progress(stopped, newest.values, end)


def _at(config: Mapping[str, Any], **coordinates: Any) -> RunnableConfig:
    configurable = {**(config.get("configurable") or {}), **coordinates}
    known = {name: value for name, value in configurable.items() if value is not None}
    return cast("RunnableConfig", {**config, "configurable": known})


def _any_of(step: StateSnapshot, names: Iterable[str], graph: Graph) -> bool:
    """Whether one of the step's tasks is of a node that the graph was told to stop at."""
    tasks = {task.name for task in step.tasks}
    if names == "*":
        return any(TAG_HIDDEN not in (graph.nodes[name].tags or ()) for name in tasks)
    return not tasks.isdisjoint(names)
