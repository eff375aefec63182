"""What models say, as events: shared by the adapters whose models are LangChain's."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, Final, TypeAlias
from uuid import UUID, uuid4

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import UsageMetadata, add_usage
from langchain_core.outputs import ChatGenerationChunk, LLMResult

from dockrion_events import (
    AnyEvent,
    ContentBlockEvent,
    EventsFilter,
    MessageEvent,
    ReasoningEvent,
    TokenEvent,
    ToolCallEvent,
    UsageEvent,
)

from .blocks import REASONING, Part, ServerCalls, parts_of, text_of
from .callbacks import custom_event, is_control_flow
from .calls import StreamedCalls, made_id

Sink: TypeAlias = Callable[[AnyEvent], None]

MESSAGE_EVENTS: Final = (
    "token", "reasoning", "content_block", "tool_call", "tool_result", "usage", "message",
)  # fmt: skip
_SUMS: Final = ("input_tokens", "output_tokens", "total_tokens")
_AS_IT_IS_SAID: Final = {"token", "reasoning", "content_block", "tool_call", "message"}


def as_it_is_said(wanted: Collection[str]) -> bool:
    """Whether one of the ``wanted`` events is told while a model speaks, so that models have to stream.

    Models stream only for that: a model may say less about its usage then.
    """
    return not _AS_IT_IS_SAID.isdisjoint(wanted)


class Answer:
    """One message of a model, while it comes.

    ``id`` is that of its first chunk, whatever the others have: a model that names its message does it
    there, and LangChain gives the chunks without a name one of its own.
    """

    __slots__ = ("calls", "chunk_id", "id", "namespace", "node_name", "server_calls", "usage")

    def __init__(self, message_id: str, node_name: str | None, namespace: list[str] | None) -> None:
        self.id: str = message_id
        self.chunk_id: str = message_id
        self.node_name: str | None = node_name
        self.namespace: list[str] | None = namespace
        self.usage: UsageMetadata | None = None
        self.calls: StreamedCalls = StreamedCalls()
        self.server_calls: ServerCalls | None = None


class Speech:
    """The half of a callback handler that turns what models say into the ``wanted`` `MESSAGE_EVENTS`.

    The other half knows which calls of a model matter (`_heard`), and hands over what it finds besides:
    messages that were not streamed (`say_whole`), results of tools, and how a call of a model ended
    (`finish`, `fail`).
    """

    def __init__(self, wanted: Collection[str], sink: Sink, events_filter: EventsFilter) -> None:
        self._sink = sink
        self._filter = events_filter
        self._choosing = events_filter.chooses_sources
        self._withheld: set[str] = set()  # ids of calls of tools that the filter keeps back
        self._tokens = "token" in wanted
        self._reasoning = "reasoning" in wanted
        self._blocks = "content_block" in wanted
        self._beside_text = self._reasoning or self._blocks
        self._calls = "tool_call" in wanted
        self._results = "tool_result" in wanted
        self._usage = "usage" in wanted
        self._messages = "message" in wanted
        self._tokens_only = self._tokens and not set(wanted) - {"token"}
        self._answers: dict[UUID, Answer] = {}
        self.seen: set[int | str] = set()  # ids of messages that were told of

    def _heard(self, run_id: UUID, message_id: str) -> Answer | None:
        """Return the answer that the call ``run_id`` of a model begins; None where it is not to be told."""
        raise AssertionError("the other half says")

    def on_custom_event(self, name: str, data: Any, **about: Any) -> Any:
        event = custom_event(name, data, self._filter)
        if event is not None:
            self._sink(event)

    # -- a message that is streamed ------------------------------------------------------------

    def on_llm_new_token(
        self, token: Any, *, chunk: Any = None, run_id: UUID, parent_run_id: UUID | None = None, **kwargs: Any
    ) -> Any:
        if not isinstance(chunk, ChatGenerationChunk):
            return
        message = chunk.message
        answer = self._answers.get(run_id) or self._begin(run_id, message)
        if answer is None or not isinstance(message, AIMessageChunk):
            return
        if message.id != answer.chunk_id:
            self._identify(message, answer)
        if self._tokens_only:
            event = token_of(message, answer)
            if event is not None:
                self._sink(event)
        else:
            self._chunk(message, answer)

    def finish(self, run_id: UUID, message: BaseMessage | None) -> bool:
        """End the streamed message of a call; False where nothing of it was streamed."""
        answer = self._answers.pop(run_id, None)
        if answer is None:
            return False
        if message is not None and message.id is not None:
            self.seen.add(message.id)
        self._end(answer, message.usage_metadata if isinstance(message, AIMessage) else answer.usage)
        return True

    def fail(self, run_id: UUID, error: BaseException | None) -> None:
        """End the streamed message of a call that failed or was given up, where there is one."""
        answer = self._answers.pop(run_id, None)
        if answer is not None:
            self._end(answer, answer.usage, failed=not is_control_flow(error))

    def withhold(self, message: BaseMessage | None) -> None:
        """Note a message that the filter keeps back: the results of its calls are not told either."""
        if isinstance(message, AIMessage):
            if message.id is not None:
                self.seen.add(message.id)
            self._withheld.update(call["id"] for call in message.tool_calls if call["id"])

    def _begin(self, run_id: UUID, message: BaseMessage) -> Answer | None:
        if not isinstance(message, AIMessageChunk):
            return None
        identifier = message.id or str(uuid4())
        answer = self._heard(run_id, identifier)
        if answer is None:
            return None
        message.id = identifier
        self.seen.add(identifier)
        self._answers[run_id] = answer
        if self._messages:
            self._sink(MessageEvent(answer.id, "assistant", "start", answer.node_name))
        return answer

    def _identify(self, message: AIMessageChunk, answer: Answer) -> None:
        """Note another id of the same message: the whole one, which may come later, has one of them."""
        if message.id is None:
            message.id = answer.id
        answer.chunk_id = message.id
        self.seen.add(message.id)

    def _chunk(self, message: AIMessageChunk, answer: Answer) -> None:
        if message.usage_metadata:
            answer.usage = add_usage(answer.usage, message.usage_metadata)
        self._say(message, answer)
        if self._calls and message.tool_call_chunks:
            for piece in answer.calls.pieces(message.tool_call_chunks):
                self._sink(ToolCallEvent(piece.id, piece.name, None, piece.delta, answer.id))

    def _end(self, answer: Answer, usage: UsageMetadata | None, *, failed: bool = False) -> None:
        if self._tokens_only:
            return
        if answer.server_calls is not None:
            self._tell_blocks(answer.server_calls.rest(), answer)
        if self._calls:
            for piece in answer.calls.rest(answer.id):
                self._sink(ToolCallEvent(piece.id, piece.name, None, piece.delta, answer.id))
        if self._usage and usage:
            self._sink(usage_of(usage, answer.id))
        if self._messages:
            self._sink(MessageEvent(answer.id, "assistant", "end", answer.node_name, failed))

    # -- a message that is there at once -------------------------------------------------------

    def say_whole(self, message: AIMessage, answer: Answer) -> None:
        """Tell of a message that was not streamed."""
        if self._messages:
            self._sink(MessageEvent(answer.id, "assistant", "start", answer.node_name))
        self._say(message, answer)
        if self._calls:
            for call in calls_of(message, answer.id):
                self._sink(call)
        self._end(answer, message.usage_metadata)

    # -- both ----------------------------------------------------------------------------------

    def _say(self, message: AIMessage, answer: Answer) -> None:
        parts: list[Part] = []
        if self._beside_text and (message.additional_kwargs or type(message.content) is not str):
            parts = parts_of(message)
            if self._reasoning:
                for kind, thought in parts:
                    if kind == REASONING:
                        self._sink(ReasoningEvent(thought, answer.id))
        if self._tokens:
            event = token_of(message, answer)
            if event is not None:
                self._sink(event)
        if parts and self._blocks:
            if answer.server_calls is None:
                answer.server_calls = ServerCalls()
            self._tell_blocks(answer.server_calls.whole(parts), answer)

    def _tell_blocks(self, parts: Iterable[Part], answer: Answer) -> None:
        for kind, data in parts:
            if kind != REASONING:
                self._sink(ContentBlockEvent(kind, data, answer.id))


def token_of(message: AIMessage, answer: Answer) -> TokenEvent | None:
    """Return the text of a message or a chunk; None where it has neither text nor a reason to end."""
    content = message.content
    text = content if type(content) is str else text_of(content)
    response = message.response_metadata
    finish = (response.get("finish_reason") or response.get("stop_reason")) if response else None
    if not text and finish is None:
        return None
    return TokenEvent(text, finish, answer.node_name, answer.namespace, answer.id)


def calls_of(message: AIMessage, message_id: str) -> Iterator[ToolCallEvent]:
    """Yield the calls of a whole message; one whose arguments are no JSON object, as the text it is."""
    place = 0
    for call in message.tool_calls:
        yield ToolCallEvent(
            call["id"] or made_id(message_id, place), call["name"], call["args"], None, message_id
        )
        place += 1
    for broken in message.invalid_tool_calls:
        yield ToolCallEvent(
            broken["id"] or made_id(message_id, place),
            broken["name"] or "",
            None,
            broken["args"] or "",
            message_id,
        )
        place += 1


def usage_of(usage: UsageMetadata, message_id: str) -> UsageEvent:
    """Return what a model says it took; what LangChain counts besides the three sums are the details."""
    details: dict[str, Any] = dict(usage)
    read, written, both = (details.pop(name, 0) for name in _SUMS)
    return UsageEvent(read, written, both, details or None, message_id)


def first_message(response: LLMResult) -> BaseMessage | None:
    """Return the message that a call of a model gave."""
    for generations in response.generations[:1]:
        for generation in generations[:1]:
            return getattr(generation, "message", None)
    return None
