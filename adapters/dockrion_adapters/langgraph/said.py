"""What models have said in a task of a graph, to know it where the task's node returns it once more."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any, Final, NamedTuple

from langchain_core.messages import AIMessage

from ..langchain.blocks import text_of

_SEPARATOR: Final = "|"  # between the segments of the name of a task, which begin with those around it


class _Saying(NamedTuple):
    """A message that was told: its id, and its text (as a hash) with the ids of its calls."""

    id: str | None
    text: int
    calls: frozenset[str]


class Said:
    """Messages that were told, for each task that is under way, and for those around it.

    A node may return a *new* message with the text that its model has just streamed. Each message that
    was told stands for one that comes back so, in its task and in each task around that.
    """

    def __init__(self) -> None:
        self._tasks: dict[str, list[_Saying]] = {}
        self._open: dict[str, int] = {}

    def begin(self, task: str) -> None:
        """Note that a run of the task's node begins; a node may have several, one within the other."""
        self._open[task] = self._open.get(task, 0) + 1
        self._tasks.setdefault(task, [])

    def end(self, task: str) -> None:
        """Note that a run of the task's node has ended; nothing is kept of a task without any."""
        left = self._open.get(task, 0) - 1
        if left > 0:
            self._open[task] = left
        else:
            self._open.pop(task, None)
            self._tasks.pop(task, None)

    def add(self, task: str, message: AIMessage, *, within: bool = True) -> None:
        """Note a message that was told in a task; not in the task itself but around it without ``within``."""
        saying = _saying(message)
        for around in _around(task):
            told = self._tasks.get(around)
            if told is not None and (within or around != task):
                told.append(saying)

    def drop(self, task: str, ids: Collection[str | None]) -> None:
        """Note that messages that were told come back as they are."""
        told = self._tasks.get(task)
        if told:
            self._tasks[task] = [saying for saying in told if saying.id not in ids]

    def take(self, task: str, message: AIMessage) -> bool:
        """Say whether a message that comes back was told in the task, and did not come back before."""
        told = self._tasks.get(task)
        if not told:
            return False
        new = _saying(message)
        for place, saying in enumerate(told):
            if (new.text and saying.text == new.text and new.calls <= saying.calls) or (
                not new.text and new.calls and saying.calls == new.calls
            ):
                del told[place]
                return True
        return False


def _saying(message: AIMessage) -> _Saying:
    text = text_of(message.content).strip()
    calls: Any = (call["id"] for call in message.tool_calls if call["id"])
    return _Saying(message.id, hash(text) if text else 0, frozenset(calls))


def _around(task: str) -> Iterator[str]:
    """Yield the names of a task and of those around it."""
    while task:
        yield task
        task = task.rpartition(_SEPARATOR)[0]
