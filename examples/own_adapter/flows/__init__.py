"""A framework of its own: steps one after the other, told of by hooks. It knows nothing of dockrion."""

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

Hook = Callable[[str, str], Awaitable[None]]


async def _nobody(what: str, text: str) -> None:
    """Listen to nothing."""


class Flow:
    """Steps, each given what the one before returned.

    A step is a function of any kind; the strings that an async generator yields are words, and what it
    gives is all of them. ``hook("begin" | "word" | "end", text)`` is awaited as it happens.
    """

    def __init__(self, *steps: Callable[[Any], Any]) -> None:
        self.steps = steps

    async def run(self, value: Any, hook: Hook = _nobody) -> Any:
        for step in self.steps:
            await hook("begin", step.__name__)
            result = step(value)
            if isinstance(result, AsyncIterator):
                words = []
                async for word in result:
                    await hook("word", word)
                    words.append(word)
                value = "".join(words)
            else:
                value = await result if inspect.isawaitable(result) else result
            await hook("end", step.__name__)
        return value
