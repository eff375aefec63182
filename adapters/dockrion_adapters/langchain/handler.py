"""One execution of a runnable as events: what its models and tools say, and the parts it goes through.

LangChain tells a callback handler of every run (of a chain, a model, a tool …) with the id of the run
around it. The first is the runnable's own; those directly within it are its steps.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import Any, Final, NamedTuple, TypeVar
from uuid import UUID

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, ToolMessage
from langchain_core.outputs import LLMResult

from dockrion_events import (
    EventsFilter,
    MessageEvent,
    StepEvent,
    StepStartedEvent,
    TokenEvent,
    ToolCallEvent,
    ToolResultEvent,
    get_current_context,
)
from dockrion_events.way_out import message_or_type

from .callbacks import HIDDEN_TAG, SILENT_TAGS, is_control_flow
from .speech import MESSAGE_EVENTS, Answer, Sink, Speech, as_it_is_said, first_message

T = TypeVar("T")

EVENTS: Final = (*MESSAGE_EVENTS, "step", "step_started")
_MAP_KEY: Final = "map:key:"  # begins the tag of a run that is one of several side by side


class _Part(NamedTuple):
    """A run that is under way: the step it belongs to, and of a step itself when it began, with what."""

    step: str | None
    own: bool = False
    began: float = 0.0
    keys: list[str] | None = None


class RunnableHandler(Speech, BaseCallbackHandler):
    """Makes the ``wanted`` ones of `EVENTS` of one execution.

    ``node_name`` is the step that a model belongs to, or its node where it runs in a graph.
    """

    run_inline: bool = True  # in the order of its happening

    def __init__(
        self, wanted: Collection[str], sink: Sink, events_filter: EventsFilter | None = None
    ) -> None:
        super().__init__(wanted, sink, events_filter or EventsFilter(wanted))
        self._steps = "step" in wanted
        self._starts = "step_started" in wanted
        self._begun = False
        self._root: UUID | None = None
        self._parts: dict[UUID, _Part] = {}
        self._models: dict[UUID, str | None] = {}
        self._text_only: set[UUID] = set()
        self._pending: list[tuple[str, Any, str]] = []  # name, arguments and id of calls without a result
        self._tools: dict[UUID, tuple[str, str]] = {}

    # -- the parts of the chain ----------------------------------------------------------------

    def on_chain_start(self, serialized: Any, inputs: Any, **about: Any) -> Any:
        self._enter(serialized, inputs, about)

    def on_chain_end(self, outputs: Any, *, run_id: UUID, **about: Any) -> Any:
        self._leave(run_id, outputs)

    def on_chain_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> Any:
        self._parts.pop(run_id, None)

    def on_retriever_start(self, serialized: Any, query: str, **about: Any) -> Any:
        self._enter(serialized, query, about)

    def on_retriever_end(self, documents: Any, *, run_id: UUID, **about: Any) -> Any:
        self._leave(run_id, documents)

    def on_retriever_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> Any:
        self._parts.pop(run_id, None)

    def _enter(self, serialized: Any, inputs: Any, about: Mapping[str, Any]) -> str:
        """Note that a run begins and return its name."""
        name = about.get("name") or _name_of(serialized)
        run_id, parent = about["run_id"], about.get("parent_run_id")
        if not self._begun:
            self._begun, self._root = True, run_id
            self._parts[run_id] = _Part(None)
        elif parent == self._root:
            tags = about.get("tags") or ()
            step = next((tag.removeprefix(_MAP_KEY) for tag in tags if tag.startswith(_MAP_KEY)), name)
            shown = HIDDEN_TAG not in tags and self._allows(step)
            self._parts[run_id] = _Part(step, shown, time.monotonic(), _keys(inputs))
            if self._starts and shown:
                self._sink(StepStartedEvent(step))
        else:
            around = self._parts.get(parent) if parent is not None else None
            self._parts[run_id] = _Part(around.step if around is not None else None)
        return name

    def _allows(self, step: str | None, tags: Collection[str] | None = None) -> bool:
        return not self._choosing or self._filter.allows_source(() if step is None else (step,), tags)

    def _leave(self, run_id: UUID, outputs: Any) -> None:
        part = self._parts.pop(run_id, None)
        if self._steps and part is not None and part.own and part.step is not None:
            duration = round((time.monotonic() - part.began) * 1000, 3)
            self._sink(StepEvent(part.step, duration, part.keys, _keys(outputs)))

    # -- models --------------------------------------------------------------------------------

    def on_chat_model_start(self, serialized: Any, messages: Any, **about: Any) -> Any:
        self._model(serialized, about)

    def on_llm_start(self, serialized: Any, prompts: Any, **about: Any) -> Any:
        self._model(serialized, about)
        self._text_only.add(about["run_id"])

    def on_llm_new_token(self, token: Any, *, chunk: Any = None, run_id: UUID, **about: Any) -> Any:
        if run_id in self._text_only:
            self._piece(run_id, str(token))
        elif run_id in self._models:
            super().on_llm_new_token(token, chunk=chunk, run_id=run_id, **about)

    def on_llm_end(self, response: LLMResult, *, run_id: UUID, **about: Any) -> Any:
        message = first_message(response)
        heard = run_id in self._models
        if heard and not self.finish(run_id, message):
            answer = self._heard(run_id, getattr(message, "id", None) or str(run_id))
            if answer is not None and isinstance(message, AIMessage):
                self.say_whole(message, answer)
            elif run_id in self._text_only:
                self._piece(run_id, "".join(one[0].text for one in response.generations[:1] if one))
                self.finish(run_id, None)
        if not heard and self._choosing:
            self.withhold(message)
        if heard and isinstance(message, AIMessage):
            self._pending += [(call["name"], call["args"], call["id"] or "") for call in message.tool_calls]
        self._models.pop(run_id, None)
        self._text_only.discard(run_id)
        self._leave(run_id, None)

    def on_llm_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> Any:
        self.fail(run_id, error)
        self._models.pop(run_id, None)
        self._text_only.discard(run_id)
        self._parts.pop(run_id, None)

    def _model(self, serialized: Any, about: Mapping[str, Any]) -> None:
        self._enter(serialized, None, about)
        tags = about.get("tags") or ()
        if SILENT_TAGS.isdisjoint(tags):
            run_id = about["run_id"]
            node = (about.get("metadata") or {}).get("langgraph_node") or self._parts[run_id].step
            if self._allows(node, tags):
                self._models[run_id] = node

    def _heard(self, run_id: UUID, message_id: str) -> Answer | None:
        return Answer(message_id, self._models[run_id], None) if run_id in self._models else None

    def _piece(self, run_id: UUID, text: str) -> None:
        """Tell what a model says that knows text only: all of it, or a piece where it streams by itself."""
        answer = self._answers.get(run_id)
        if answer is None:
            answer = self._heard(run_id, str(run_id))
            if answer is None:
                return
            self._answers[run_id] = answer
            if self._messages:
                self._sink(MessageEvent(answer.id, "assistant", "start", answer.node_name))
        if self._tokens and text:
            self._sink(TokenEvent(text, None, answer.node_name, None, answer.id))

    # -- tools ---------------------------------------------------------------------------------

    def on_tool_start(self, serialized: Any, input_str: str, *, inputs: Any = None, **about: Any) -> Any:
        name, run_id = self._enter(serialized, inputs, about), about["run_id"]
        identifier = self._called(name, inputs, about.get("tool_call_id"))
        if self._choosing and (identifier in self._withheld or not self._allows(self._parts[run_id].step)):
            return
        if identifier is None:  # by the chain's own code: no model has told of it
            identifier = str(run_id)
            if self._calls:
                arguments = dict(inputs) if isinstance(inputs, Mapping) else {"input": input_str}
                self._sink(ToolCallEvent(identifier, name, arguments))
        self._tools[run_id] = (identifier, name)

    def on_tool_end(self, output: Any, *, run_id: UUID, **about: Any) -> Any:
        called = self._tools.pop(run_id, None)
        if called is not None and self._results:
            self._sink(result_of(output, *called))
        self._leave(run_id, output)

    def on_tool_error(self, error: BaseException, *, run_id: UUID, **about: Any) -> Any:
        called = self._tools.pop(run_id, None)
        if called is not None and self._results and not is_control_flow(error):
            context = get_current_context()
            describe = message_or_type if context is None else context.describe_error
            self._sink(ToolResultEvent(*called, describe(error), True))
        self._parts.pop(run_id, None)

    def _called(self, name: str, inputs: Any, identifier: str | None) -> str | None:
        """Return the id of the call that a model made and this tool answers.

        A chain may hand on a call's arguments alone; then the oldest open call with the same ones is meant.
        """
        for place, (called, arguments, known) in enumerate(self._pending):
            if known == identifier if identifier else (called == name and arguments == inputs and known):
                del self._pending[place]
                return known
        return identifier


class StreamingHandler(RunnableHandler):
    """The same; models stream for it, also under ``ainvoke``.

    By these two methods LangChain knows a handler that wants a stream (``_StreamingCallbackHandler``).
    """

    def tap_output_aiter(self, run_id: UUID, output: AsyncIterator[T]) -> AsyncIterator[T]:
        return output

    def tap_output_iter(self, run_id: UUID, output: Iterator[T]) -> Iterator[T]:
        return output


def runnable_handler(wanted: Collection[str], sink: Sink, events_filter: EventsFilter) -> RunnableHandler:
    """Return the handler that makes the ``wanted`` ones of `EVENTS`, and custom events."""
    return (StreamingHandler if as_it_is_said(wanted) else RunnableHandler)(wanted, sink, events_filter)


def result_of(output: Any, identifier: str, name: str) -> ToolResultEvent:
    """Return the result of the call ``identifier`` of the tool ``name``, which returned ``output``."""
    message = _answer_in(output, identifier)
    if message is None:
        return ToolResultEvent(identifier, name, output)
    return ToolResultEvent(identifier, name, message.content, message.status == "error", message.artifact)


def _answer_in(output: Any, identifier: str) -> ToolMessage | None:
    """Return the message that answers a call: the output itself, or one in a command's update."""
    if isinstance(output, ToolMessage):
        return output
    update = getattr(output, "update", None)
    said = update.get("messages") if isinstance(update, Mapping) else None
    for message in said if isinstance(said, list) else ():
        if isinstance(message, ToolMessage) and message.tool_call_id == identifier:
            return message
    return None


def _name_of(serialized: Any) -> str:
    about = serialized or {}
    return str(about.get("name") or (about.get("id") or ["runnable"])[-1])


def _keys(value: Any) -> list[str] | None:
    return [str(key) for key in value] if isinstance(value, Mapping) else None
