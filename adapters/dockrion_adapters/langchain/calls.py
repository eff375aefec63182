"""Calls of tools in a streamed message, told apart and put together from its chunks."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

from langchain_core.messages import ToolCallChunk


class Piece(NamedTuple):
    """A piece of the JSON text of a call's arguments; the first one of a call may be empty."""

    id: str
    name: str
    delta: str


class StreamedCalls:
    """The calls of one message.

    Models name a call once and then refer to it by its index, by its id or, if there is but one, not
    at all; some give every call the index 0. Every piece that comes out has its call's own id and name:
    what precedes them is held back. The pieces of one call, joined, are its arguments.
    """

    __slots__ = ("_at", "_calls", "_known")

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._at: dict[Hashable, _Call] = {}
        self._known: dict[str, _Call] = {}

    def pieces(self, chunks: Iterable[ToolCallChunk]) -> Iterator[Piece]:
        """Take the next chunks; yield what they tell."""
        for chunk in chunks:
            call = self._call_of(chunk)
            call.name = call.name or chunk["name"] or ""
            call.held += chunk["args"] or ""
            if call.id and call.name and (call.held or not call.told):
                yield call.tell(call.id)

    def rest(self, message_id: str) -> Iterator[Piece]:
        """Yield what was held back to the end; a call without id gets one from the message's."""
        for place, call in enumerate(self._calls):
            if not call.told and (call.id or call.name or call.held):
                yield call.tell(call.id or made_id(message_id, place))

    def _call_of(self, chunk: ToolCallChunk) -> _Call:
        identifier, index = chunk["id"], chunk["index"]
        call = self._referred(identifier, index, chunk["name"])
        if call is None:
            call = _Call()
            self._calls.append(call)
        if index is not None:
            self._at[index] = call
        if identifier and not call.id:
            call.id = identifier
            self._known[identifier] = call
        return call

    def _referred(self, identifier: str | None, index: int | None, name: str | None) -> _Call | None:
        """Return the call that a chunk goes on with; None where it begins one."""
        if identifier and identifier in self._known:
            return self._known[identifier]
        if index is not None:
            call = self._at.get(index)
            return None if call is not None and call.id and identifier else call
        if identifier or name or not self._calls:
            return None
        return self._calls[-1]


def made_id(message_id: str, place: int) -> str:
    """Return an id for the call at ``place`` in a message that has none of its own."""
    return f"{message_id}-call-{place}"


class _Call:
    __slots__ = ("held", "id", "name", "told")

    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.held = ""
        self.told = False

    def tell(self, identifier: str) -> Piece:
        held, self.held, self.told = self.held, "", True
        return Piece(identifier, self.name, held)
