"""What models and tools say in an execution of a graph, as events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeAlias
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langgraph.pregel._messages import StreamMessagesHandler

from dockrion_events import ToolResultEvent

from ..langchain.speech import Answer, Sink, Speech, as_it_is_said, first_message

PathOf: TypeAlias = "Callable[[tuple[str, ...]], list[str] | None]"


def message_handler(wanted: Collection[str], sink: Sink, path_of: PathOf) -> BaseCallbackHandler:
    """Return the callback handler that makes the ``wanted`` ones of `MESSAGE_EVENTS`."""
    handler = _Messages(wanted, sink, path_of)
    return handler if as_it_is_said(wanted) else _Unstreamed(handler)


class _Messages(Speech, StreamMessagesHandler):
    """LangGraph's handler for the ``messages`` mode, as ``astream`` would attach it: within the run.

    What the handler itself would pass on, it passes to `stream`: messages that were not streamed, each
    id once. The chunks of those that were do not take that way.
    """

    def __init__(self, wanted: Collection[str], sink: Sink, path_of: PathOf) -> None:
        StreamMessagesHandler.__init__(self, self.stream, True)
        del self.stream  # the attribute: where it held a method of this, this would hold itself
        Speech.__init__(self, wanted, sink)
        self._path_of = path_of
        self._begun = False
        self._names: dict[str, str] = {}  # of tools, by the ids of their calls

    # -- callbacks -----------------------------------------------------------------------------

    def on_chain_start(self, *args: Any, **kwargs: Any) -> Any:
        if self._begun:
            return super().on_chain_start(*args, **kwargs)
        self._begun = True  # the run itself; to the handler it would look like the node around it
        return None

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        message = first_message(response)
        if self._results and isinstance(message, AIMessage):
            self._names.update((call["id"], call["name"]) for call in message.tool_calls if call["id"])
        if not self.finish(run_id, message):
            return super().on_llm_end(response, run_id=run_id, parent_run_id=parent_run_id, **kwargs)
        self.metadata.pop(run_id, None)
        return None

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        self.metadata.pop(run_id, None)
        self.fail(run_id)

    # -- what is said --------------------------------------------------------------------------

    def _heard(self, run_id: UUID, message_id: str) -> Answer | None:
        about = self.metadata.get(run_id)
        return None if about is None else self._answer(message_id, *about)

    def stream(self, part: tuple[tuple[str, ...], str, Any]) -> None:
        namespace, _, (message, metadata) = part
        if isinstance(message, AIMessage):
            self.say_whole(message, self._answer(message.id or "", namespace, metadata))
        elif self._results and isinstance(message, ToolMessage):
            identifier = message.tool_call_id
            name = message.name or self._names.get(identifier, "")
            self._sink(ToolResultEvent(identifier, name, message.content, message.status == "error"))

    def _answer(self, message_id: str, namespace: tuple[str, ...], about: Mapping[str, Any]) -> Answer:
        path = self._path_of(namespace) if namespace else None
        return Answer(message_id, about.get("langgraph_node"), path)


class _Unstreamed(BaseCallbackHandler):
    """Tells a handler what happens, but does not make models stream, as LangGraph's own handler does."""

    run_inline = True

    def __init__(self, handler: _Messages) -> None:
        for name in ("chat_model_start", "llm_end", "llm_error", "chain_start", "chain_end", "chain_error"):
            setattr(self, f"on_{name}", getattr(handler, f"on_{name}"))
