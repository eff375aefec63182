"""Agentor's column of the table in docs/adapters.md."""

from __future__ import annotations

from typing import Any

from agentor.engine import ModelResponse, ToolCall, Usage

from agentor import Agentor, function_tool
from dockrion_adapters.agentor import AgentorAdapter

from ..adapters.table import ANSWER, CALLS, THOUGHT, Act, promised, seen
from .test_agentor import Scripted


def make(act: Act, model: type[Scripted] = Scripted) -> AgentorAdapter:
    @function_tool
    async def add(a: int, b: int) -> int:
        """Add."""
        await act()
        return a + b

    calls = [ToolCall(identifier, "add", arguments) for identifier, arguments in CALLS.items()]
    calling = ModelResponse(tool_calls=calls, reasoning="".join(THOUGHT), usage=Usage(7, 3, 10))
    answer = ModelResponse("|".join(ANSWER), usage=Usage(9, 2, 11))
    return AgentorAdapter(Agentor(name="Sums", model=model(calling, answer), tools=[add]))


def plain(result: Any) -> Any:
    return result.final_output, result.status, result.usage, result.messages


async def test_what_is_seen_is_what_the_page_says() -> None:
    assert await seen(make, "go", plain) == promised("agentor")
