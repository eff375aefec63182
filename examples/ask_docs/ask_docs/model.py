"""A chat model that needs no network: it answers by quoting.

It sees what any chat model sees, the messages, and nothing else. It cannot reason or paraphrase; it cannot
invent anything either.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Iterator, Sequence
from html import unescape
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun, CallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from .extract import Passage, compose_answer

_PASSAGE = re.compile(
    r'<passage n="(\d+)" path="([^"]*)" line="(\d+)" heading="([^"]*)">\n(.*?)\n</passage>', re.DOTALL
)
_QUESTION = re.compile(r"<question>\n(.*?)\n</question>", re.DOTALL)
_WORD_AND_SPACE = re.compile(r"\S+\s*|\s+")


class ExtractiveChatModel(BaseChatModel):
    """Answers the question in the last human message with the best sentences of the passages beside it.

    It expects ``<question>`` and ``<passage n= path= line= heading=>`` elements (``prompt.py`` writes them).
    It streams word by word; the finish reason and the usage, counted in words, come with the last word.
    """

    max_sentences: int = 4

    @property
    def _llm_type(self) -> str:
        return "extractive"

    def _generate(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> ChatResult:
        text = self._reply(messages, stop)
        reply = AIMessage(text, response_metadata=_FINISHED, usage_metadata=_usage(messages, text))
        return ChatResult(generations=[ChatGeneration(message=reply)])

    def _stream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: CallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> Iterator[ChatGenerationChunk]:
        text = self._reply(messages, stop)
        *words, last = _WORD_AND_SPACE.findall(text) or [""]
        for word in words:
            yield ChatGenerationChunk(message=AIMessageChunk(content=word))
        final = AIMessageChunk(
            content=last, response_metadata=_FINISHED, usage_metadata=_usage(messages, text)
        )
        yield ChatGenerationChunk(message=final)

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        for chunk in self._stream(messages, stop):
            yield chunk
            # A model behind a network waits between words. This one never would: let the word go out first.
            await asyncio.sleep(0)

    def _reply(self, messages: Sequence[BaseMessage], stop: Sequence[str] | None) -> str:
        prompt = next((str(m.text) for m in reversed(messages) if isinstance(m, HumanMessage)), "")
        question = _QUESTION.search(prompt)
        text = compose_answer(
            unescape(question[1]) if question else prompt, _read_passages(prompt), limit=self.max_sentences
        )
        for sequence in stop or ():
            text = text.partition(sequence)[0]
        return text


_FINISHED = {"finish_reason": "stop"}


def _read_passages(prompt: str) -> list[Passage]:
    return [
        Passage(int(number), unescape(path), int(line), unescape(heading), unescape(text))
        for number, path, line, heading, text in _PASSAGE.findall(prompt)
    ]


def _usage(messages: Sequence[BaseMessage], reply: str) -> UsageMetadata:
    read, written = sum(len(str(message.text).split()) for message in messages), len(reply.split())
    return UsageMetadata(input_tokens=read, output_tokens=written, total_tokens=read + written)
