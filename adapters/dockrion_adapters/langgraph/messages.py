"""What models and tools say in an execution of a graph, as events."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import LLMResult
from langgraph.errors import ParentCommand
from langgraph.pregel._messages import StreamMessagesHandler
from langgraph.types import Command
from pydantic import BaseModel

from dockrion_events import EventsFilter, ToolResultEvent

from ..langchain.callbacks import SILENT_TAGS, custom_event
from ..langchain.speech import Answer, Sink, Speech, as_it_is_said, first_message
from .said import Said

PathOf: TypeAlias = "Callable[[tuple[str, ...]], list[str] | None]"
_Meta: TypeAlias = "tuple[tuple[str, ...], dict[str, Any]]"  # as LangGraph has it: namespace and metadata

_CHECKPOINT_NS: Final = "langgraph_checkpoint_ns"  # names a task, and the tasks around it


def message_handler(
    wanted: Collection[str], sink: Sink, path_of: PathOf, events_filter: EventsFilter
) -> BaseCallbackHandler:
    """Return the callback handler that makes the ``wanted`` ones of `MESSAGE_EVENTS`, and custom events."""
    if not wanted:
        return _Customs(sink, events_filter)
    handler = _Messages(wanted, sink, path_of, events_filter)
    return handler if as_it_is_said(wanted) else _Unstreamed(handler)


class _Messages(Speech, StreamMessagesHandler):
    """LangGraph's handler for the ``messages`` mode, as ``astream`` would attach it: within the run.

    Messages that a node returns are told once each, unless they are known: from a former node, or because
    a model has just said them in the node's own task (see `Said`).
    """

    def __init__(
        self, wanted: Collection[str], sink: Sink, path_of: PathOf, events_filter: EventsFilter
    ) -> None:
        StreamMessagesHandler.__init__(self, self.stream, True)
        del self.stream  # the attribute: where it held a method of this, this would hold itself
        Speech.__init__(self, wanted, sink, events_filter)
        self._path_of = path_of
        self._begun = False
        self._names: dict[str, str] = {}  # of tools, by the ids of their calls
        self._answered: set[str] = set()  # calls whose result was told from a dict, which has no id
        self._tools: dict[UUID, dict[str, Any]] = {}  # what is known of tools that are under way
        self._said = Said()
        self._held_back: dict[UUID, str] = {}  # calls of models that the filter keeps back, and their tasks
        self._silent: set[UUID] = set()  # nodes whose models are not to be heard

    # -- callbacks -----------------------------------------------------------------------------

    def on_chat_model_start(
        self,
        serialized: dict[str, Any],
        messages: list[list[BaseMessage]],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        if self._choosing and metadata and not self._allows(metadata, tags or ()):
            self._held_back[run_id] = metadata[_CHECKPOINT_NS]
        elif not tags or SILENT_TAGS.isdisjoint(tags):
            super().on_chat_model_start(
                serialized, messages, run_id=run_id, parent_run_id=parent_run_id, tags=tags, metadata=metadata
            )

    def on_llm_end(
        self, response: LLMResult, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        message = first_message(response)
        if self._results and isinstance(message, AIMessage):
            self._names.update((call["id"], call["name"]) for call in message.tool_calls if call["id"])
        about = self.metadata.get(run_id)
        task = self._held_back.pop(run_id, None) if about is None else about[1][_CHECKPOINT_NS]
        if about is None and task is not None:
            self.withhold(message)
        if not self.finish(run_id, message):
            super().on_llm_end(response, run_id=run_id, parent_run_id=parent_run_id, **kwargs)
        self.metadata.pop(run_id, None)
        if task is not None and isinstance(message, AIMessage):
            self._said.add(task, message)

    def on_llm_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        self.metadata.pop(run_id, None)
        self._held_back.pop(run_id, None)
        self.fail(run_id, error)

    def on_chain_start(
        self,
        serialized: dict[str, Any],
        inputs: dict[str, Any],
        *,
        run_id: UUID,
        parent_run_id: UUID | None = None,
        tags: list[str] | None = None,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        if not self._begun:
            self._begun = True  # the run itself; to the handler it would look like the node around it
            return
        super().on_chain_start(
            serialized,
            inputs,
            run_id=run_id,
            parent_run_id=parent_run_id,
            tags=tags,
            metadata=metadata,
            **kwargs,
        )
        about = self.metadata.get(run_id)
        if about is not None:
            self._said.begin(about[1][_CHECKPOINT_NS])
            silent = tags and not SILENT_TAGS.isdisjoint(tags)
            if silent or (self._choosing and not self._allows(about[1], tags or ())):
                self._silent.add(run_id)

    def on_chain_end(  # type: ignore[override]  # LangChain and LangGraph name the first argument differently
        self, response: Any, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        about = self.metadata.pop(run_id, None)
        if about is not None:
            self._return(run_id, about, response)

    def on_chain_error(
        self, error: BaseException, *, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        about = self.metadata.pop(run_id, None)
        if about is not None:
            # A handoff leaves its node as an exception, with what it returns to the parent graph.
            self._return(run_id, about, error.args[0] if isinstance(error, ParentCommand) else None)

    def on_tool_start(
        self,
        serialized: Any,
        input_str: str,
        *,
        run_id: UUID,
        metadata: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> Any:
        if self._results and metadata and _CHECKPOINT_NS in metadata:
            self._tools[run_id] = metadata

    def on_tool_end(self, output: Any, *, run_id: UUID, **kwargs: Any) -> Any:
        metadata = self._tools.pop(run_id, None)
        if metadata is None or not isinstance(output, Command) or output.graph != Command.PARENT:
            return
        # Of several handoffs at once LangGraph follows one; the calls of the others have ended too.
        for message in _messages_in(output):
            if isinstance(message, ToolMessage) and (message.id is None or message.id not in self.seen):
                message.id = message.id or str(uuid4())
                self.seen.add(message.id)
                self._tell_result(message, ((), metadata))

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **kwargs: Any) -> Any:
        self._tools.pop(run_id, None)

    # -- what is said --------------------------------------------------------------------------

    def _heard(self, run_id: UUID, message_id: str) -> Answer | None:
        about = self.metadata.get(run_id)
        return None if about is None else self._answer(message_id, *about)

    def _return(self, run_id: UUID, about: _Meta, response: Any) -> None:
        """Tell what a node returned that is not known."""
        task = about[1][_CHECKPOINT_NS]
        silent = run_id in self._silent
        self._silent.discard(run_id)
        messages = list(_messages_in(response))
        self._said.drop(task, {one.id for one in messages if isinstance(one, AIMessage)})
        for message in messages:
            if not isinstance(message, BaseMessage):
                self._tell_answer(message, about)
            elif message.id is None or message.id not in self.seen:
                if message.id is None:
                    message.id = str(uuid4())
                self.seen.add(message.id)
                if isinstance(message, ToolMessage):
                    self._tell_result(message, about)
                elif isinstance(message, AIMessage) and not (self._said.take(task, message) or silent):
                    self.say_whole(message, self._answer(message.id, *about))
                    self._said.add(task, message, within=False)
        self._said.end(task)

    def stream(self, part: tuple[tuple[str, ...], str, Any]) -> None:
        """Take what LangGraph's handler passes on: the message of a model that was not streamed."""
        namespace, _, (message, metadata) = part
        if isinstance(message, AIMessage):
            self.say_whole(message, self._answer(message.id or "", namespace, metadata))

    def _tell_result(self, message: ToolMessage, about: _Meta) -> None:
        identifier = message.tool_call_id
        if self._results and identifier not in self._answered and self._allows_result(identifier, about):
            name = message.name or self._names.get(identifier, "")
            failed = message.status == "error"
            self._sink(ToolResultEvent(identifier, name, message.content, failed, message.artifact))

    def _tell_answer(self, message: Mapping[str, Any], about: _Meta) -> None:
        """Tell of a tool's result that is a dict, from which LangGraph makes the message later."""
        identifier = message["tool_call_id"]
        if self._results and identifier not in self._answered and self._allows_result(identifier, about):
            self._answered.add(identifier)
            name = str(message.get("name") or self._names.get(identifier, ""))
            failed = message.get("status") == "error"
            content, artifact = message.get("content"), message.get("artifact")
            self._sink(ToolResultEvent(identifier, name, content, failed, artifact))

    def _allows_result(self, identifier: str, about: _Meta) -> bool:
        return identifier not in self._withheld and (not self._choosing or self._allows(about[1], None))

    def _allows(self, metadata: Mapping[str, Any], tags: Collection[str] | None) -> bool:
        """Whether the filter allows what happens in a node, by the names of the nodes around it."""
        path = self._path_of(tuple(str(metadata.get(_CHECKPOINT_NS) or "").split("|")))
        return self._filter.allows_source([part.partition(":")[0] for part in path or ()], tags)

    def _answer(self, message_id: str, namespace: tuple[str, ...], about: Mapping[str, Any]) -> Answer:
        path = self._path_of(namespace) if namespace else None
        return Answer(message_id, about.get("langgraph_node"), path)


class _Unstreamed(BaseCallbackHandler):
    """Tells a handler what happens, but does not make models stream, as LangGraph's own handler does."""

    run_inline = True

    def __init__(self, handler: _Messages) -> None:
        for name in (
            "chat_model_start", "llm_end", "llm_error", "chain_start", "chain_end", "chain_error",
            "tool_start", "tool_end", "tool_error", "custom_event",
        ):  # fmt: skip
            setattr(self, f"on_{name}", getattr(handler, f"on_{name}"))


class _Customs(BaseCallbackHandler):
    """Hears nothing but the agent's own events."""

    run_inline = True
    ignore_llm = ignore_chain = ignore_agent = ignore_retriever = ignore_chat_model = ignore_retry = True

    def __init__(self, sink: Sink, events_filter: EventsFilter) -> None:
        self._sink = sink
        self._filter = events_filter

    def on_custom_event(self, name: str, data: Any, **about: Any) -> Any:
        event = custom_event(name, data, self._filter)
        if event is not None:
            self._sink(event)


def _messages_in(response: Any) -> Iterator[BaseMessage | Mapping[str, Any]]:
    """Yield the messages that a node returns, where LangGraph looks for them; dicts where a tool answers."""
    if isinstance(response, Command):
        response = response.update
    elif _is_list(response) and any(isinstance(item, Command) for item in response):
        for item in response:
            yield from _messages_in(item)
        return
    if isinstance(response, BaseMessage):
        yield response
    elif _is_list(response):
        yield from filter(_is_message, response)
    else:
        for value in _values_of(response):
            if isinstance(value, BaseMessage):
                yield value
            elif _is_list(value):
                yield from filter(_is_message, value)


def _is_list(value: Any) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str | bytes)


def _is_message(value: Any) -> bool:
    if isinstance(value, dict):
        answers = value.get("role") == "tool" or value.get("type") == "tool"
        return answers and isinstance(value.get("tool_call_id"), str)
    return isinstance(value, BaseMessage)


def _values_of(state: Any) -> list[Any]:
    if isinstance(state, dict):
        return list(state.values())
    if isinstance(state, BaseModel):
        return [getattr(state, name) for name in type(state).model_fields]
    if is_dataclass(state) and not isinstance(state, type):
        return [getattr(state, field.name) for field in fields(state)]
    return []
