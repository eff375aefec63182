"""The steps of an execution as a tree: those of a subgraph below the node that holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass
class Step:
    """A node; ``duration_ms`` is None while it runs. ``depth`` counts the subgraphs around it."""

    name: str
    depth: int
    place: tuple[str, ...]
    duration_ms: float | None = None
    done: bool = False


class StepTree:
    """Keeps steps in the order to show them in.

    A step is told of when it ends, so that the steps of a subgraph come before the node that holds
    them: that node is shown, running, from the first of them on.
    """

    def __init__(self) -> None:
        self.steps: list[Step] = []

    def add(self, name: str, duration_ms: float | None, namespace: Sequence[str] | None) -> Step:
        """Add a step that has ended, and return its entry. A namespace has ``node:task`` parts."""
        around = tuple(namespace or ())
        for depth in range(len(around)):
            place = around[: depth + 1]
            if not any(step.place == place for step in self.steps):
                self._insert(Step(place[-1].partition(":")[0], depth, place))
        for step in self.steps:
            if not step.done and step.name == name and step.place[:-1] == around and step.place:
                break
        else:
            step = Step(name, len(around), (*around, ""))
            self._insert(step)
        step.duration_ms, step.done = duration_ms, True
        return step

    def _insert(self, step: Step) -> None:
        around = step.place[:-1]
        inside = [index for index, other in enumerate(self.steps) if other.place[: len(around)] == around]
        self.steps.insert(inside[-1] + 1 if inside else len(self.steps), step)


def duration(milliseconds: float | None) -> str:
    """Write a duration as people read it; empty where it is not known."""
    if milliseconds is None:
        return ""
    return f"{milliseconds / 1000:.1f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"
