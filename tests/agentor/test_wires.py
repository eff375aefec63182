"""What the wires bring of an Agentor's agent, against docs/wires.md; but for A2A, whose SDK it excludes."""

from __future__ import annotations

from typing import Any

from agentor.engine import ModelResponse

from dockrion_events import get_current_context

from ..adapters.table import CALLS
from ..pages import column
from ..servers.live import Serve, Store
from ..wires.carriers import CARRIERS
from ..wires.table import LIBRARY, NODES, PAGE, compared, everywhere
from .test_agentor import Scripted
from .test_table import make

FAILURE = "it went wrong"


class Failing(Scripted):
    """Fails instead of its last answer, where it is asked to."""

    async def _answer(self, messages: Any) -> ModelResponse:
        asked = any(message["content"] == "fail" for message in messages)
        if asked and sum(message["role"] == "tool" for message in messages) == len(CALLS):
            raise ValueError(FAILURE)
        return await super()._answer(messages)


async def told() -> None:
    context = get_current_context()
    if context is not None:
        await context.emit("told", {"by": "a tool"})


async def test_what_comes_through_is_what_the_page_says(serve: Serve, store: Store) -> None:
    adapter = make(told, Failing)
    live = everywhere(serve, store, adapter._agent, "agentor")
    given = await compared(adapter, live, CARRIERS.items(), {"input": "go"}, {"input": "fail"}, FAILURE)
    assert set(column(PAGE, LIBRARY)) - given == {NODES, "steps, those of subgraphs too"}
