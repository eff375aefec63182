"""What a model says besides its text: thoughts, images, citations, tools of the provider, refusals.

Providers, and the packages that bring them to LangChain, have many forms for these. LangChain's
``content_blocks`` knows those of some providers; what it leaves as it is, is read by its shape here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from langchain_core.messages import AIMessage

REASONING: Final = "reasoning"


class Part(NamedTuple):
    """A thought, whose ``data`` is text, or a block of another ``kind`` with its fields."""

    kind: str
    data: Any


_CALLS: Final = frozenset(
    {"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use", "function_call", "input_json_delta",
     "custom_tool_call"}
)  # fmt: skip
"""Calls of the agent's own tools: told as such."""

_TEXTS: Final = frozenset({"text", "output_text"})
_THOUGHTS: Final = frozenset({"reasoning", "thinking", "reasoning_content", "reasoning_text", "thought"})
_KINDS: Final = {
    "image_url": "image",
    "input_image": "image",
    "output_image": "image",
    "image_generation_call": "image",
    "input_audio": "audio",
    "output_audio": "audio",
    "server_tool_use": "server_tool_call",
    "mcp_tool_use": "server_tool_call",
    "web_search_call": "server_tool_call",
    "file_search_call": "server_tool_call",
    "code_interpreter_call": "server_tool_call",
    "mcp_call": "server_tool_call",
    "executable_code": "server_tool_call",
    "code_execution_result": "server_tool_result",
    "reference": "citation",
    "non_standard_annotation": "citation",
}
"""Names that providers have for kinds that LangChain knows."""

_NOT_SHOWN: Final = ("type", "index", "signature", "encrypted_content")


def parts_of(message: AIMessage) -> list[Part]:
    """Return what a message or a chunk says besides its text, in its order; calls of tools are left out."""
    content, extra = message.content, message.additional_kwargs
    parts: list[Part] = []
    if isinstance(content, list) and not _plain(content):
        for block in _blocks(message):
            parts += _parts_in(block)
        if not any(part.kind == REASONING for part in parts):  # LangChain leaves some thoughts out
            parts += (part for block in content for part in _parts_in(block) if part.kind == REASONING)
    if extra:
        parts += _extras(extra, any(part.kind == REASONING for part in parts))
    return parts


def text_of(content: str | list[Any]) -> str:
    """Return the text of a message's content, without thoughts that are marked as such."""
    if isinstance(content, str):
        return str(content)
    return "".join(
        block
        if isinstance(block, str)
        else block["text"]
        if block.get("type") == "text" and isinstance(block.get("text"), str) and not block.get("thought")
        else ""
        for block in content
        if isinstance(block, str | dict)
    )


def _plain(content: list[Any]) -> bool:
    """Whether blocks hold nothing but text; looking at them as LangChain does costs far more."""
    for block in content:
        if isinstance(block, str):
            continue
        if not isinstance(block, dict) or block.get("type") != "text" or not block.keys() <= _OF_TEXT:
            return False
    return True


_OF_TEXT: Final = {"type", "text", "index", "id"}


def _blocks(message: AIMessage) -> Iterable[Any]:
    try:
        return [_unwrapped(block) for block in message.content_blocks]
    except Exception:  # noqa: BLE001 - the forms are the models' own; LangChain cannot read them all
        return message.content


def _unwrapped(block: Any) -> Any:
    """Return a block, or the provider's own where LangChain has no form for it."""
    if isinstance(block, dict) and block.get("type") == "non_standard":
        value = block.get("value")
        return value if isinstance(value, dict) else block
    return block


def _parts_in(block: Any) -> Iterator[Part]:
    if not isinstance(block, dict):
        return
    kind = block.get("type")
    if kind in _CALLS:
        return
    if kind in _THOUGHTS or block.get("thought") is True or "reasoningContent" in block:
        for thought in _thoughts(block):
            yield Part(REASONING, thought)
    elif kind in _TEXTS or kind is None:
        for citation in (*(block.get("annotations") or ()), *(block.get("citations") or ())):
            yield Part("citation", _shown(citation) if isinstance(citation, dict) else citation)
    elif kind == "redacted_thinking":
        yield Part("redacted_reasoning", {})  # what it holds is for the provider alone
    elif isinstance(kind, str):
        yield Part(_kind(kind), _shown(block))


def _kind(kind: str) -> str:
    if kind.endswith("_tool_result"):
        return "server_tool_result"
    return _KINDS.get(kind, kind)


def _shown(block: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of a block that say something to a reader."""
    return {name: value for name, value in block.items() if name not in _NOT_SHOWN}


def _thoughts(value: Any) -> Iterator[str]:
    """Yield the texts of a thought: a text, a block of any provider's, or a list of either."""
    if isinstance(value, str):
        if value:
            yield value
    elif isinstance(value, list):
        for item in value:
            yield from _thoughts(item)
    elif isinstance(value, dict):
        for name in ("reasoning", "thinking", "reasoning_content", "reasoningContent", "reasoning_text",
                     "reasoningText", "summary", "content", "text"):  # fmt: skip
            if value.get(name):
                yield from _thoughts(value[name])
                return


_THINKING: Final = ("reasoning_content", "reasoning", "thinking", "thinking_blocks", "reasoning_details")
"""Where packages put thoughts beside the content, the first that is there; some name them twice."""


_LISTS: Final = (
    ("images", "image"),
    ("citations", "citation"),
    ("annotations", "citation"),
    ("tool_outputs", "server_tool_call"),
    ("executed_tools", "server_tool_call"),
)
"""What else packages put beside the content, in lists, and what its items are."""


def _extras(extra: Mapping[str, Any], has_thoughts: bool) -> Iterator[Part]:
    if not has_thoughts:
        for name in _THINKING:
            thoughts = list(_thoughts(extra.get(name)))
            if thoughts:
                yield from (Part(REASONING, thought) for thought in thoughts)
                break
    if extra.get("refusal"):
        yield Part("refusal", {"refusal": extra["refusal"]})
    if isinstance(extra.get("audio"), dict):
        yield Part("audio", _shown(extra["audio"]))
    for name, kind in _LISTS:
        items = extra.get(name)
        for item in items if isinstance(items, list) else ():
            yield Part(kind, _shown(item) if isinstance(item, dict) else item)


class ServerCalls:
    """Calls of a provider's tools in a streamed message, put together from its chunks.

    A call is given whole, as soon as the model goes on to something else.
    """

    __slots__ = ("_open",)

    def __init__(self) -> None:
        self._open: dict[Any, dict[str, Any]] = {}

    def whole(self, parts: Iterable[Part]) -> Iterator[Part]:
        """Take a chunk's parts; yield them, with calls in place of the pieces of calls."""
        for part in parts:
            if part.kind != "server_tool_call_chunk":
                yield from self.rest()
                yield part
                continue
            piece = part.data
            if piece.get("id") or piece.get("name") or not self._open:
                yield from self.rest()
                self._open[0] = {**piece, "args": piece.get("args") or ""}
            else:
                self._open[0]["args"] += piece.get("args") or ""

    def rest(self) -> Iterator[Part]:
        """Yield the call that is open."""
        for call in self._open.values():
            yield Part("server_tool_call", {**call, "args": _arguments(call["args"])})
        self._open = {}


def _arguments(text: str) -> Any:
    try:
        return json.loads(text or "{}")
    except ValueError:
        return text
