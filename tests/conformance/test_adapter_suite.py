"""The suite of adapters finds what is wrong with one."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Callable
from typing import Any

import pytest

from dockrion_adapters import Adapter, HandlerAdapter
from dockrion_adapters.testing import AdapterSuite
from dockrion_events import TokenEvent, set_current_context


class Broken(HandlerAdapter):
    fault = ""

    def load(self, target: Any) -> None:
        if self.fault != "loads anything" or callable(target):
            super().load(target)

    async def ainvoke(self, payload: Any, **options: Any) -> Any:
        if self.fault == "deaf to a cancelled call":
            return await asyncio.shield(super().ainvoke(payload, **options))
        if self.fault == "another exception":
            try:
                return await super().ainvoke(payload, **options)
            except Exception as error:
                raise RuntimeError("failed") from error
        return await super().ainvoke(payload, **options)

    def invoke_stream(self, payload: Any, **options: Any) -> Any:
        if self.fault == "begins at once":
            self.invoke(payload)
        return super().invoke_stream(payload, **options)

    async def _execute(self, payload: Any, context: Any) -> Any:
        if self.fault == "says what nobody wants":
            context.queue.emit(TokenEvent("x"))
        if self.fault == "no context":
            set_current_context(None)
        if self.fault == "leaves a task":
            self.kept = asyncio.ensure_future(asyncio.sleep(60))
        if self.fault == "deaf to the end":
            return await asyncio.shield(super()._execute(payload, context))
        if self.fault == "swallows a failure":
            try:
                return await super()._execute(payload, context)
            except ArithmeticError:
                raise
            except Exception:  # noqa: BLE001 - the fault
                return None
        output = await super()._execute(payload, context)
        return copy.deepcopy([output]) if self.fault == "another output" else output


class Faulty(AdapterSuite):
    fault = ""

    def make(self, act: Callable[[Any], Any]) -> Adapter:
        adapter = Broken(act)
        adapter.fault = self.fault
        return adapter


@pytest.mark.parametrize(
    ("fault", "found_by"),
    [
        ("loads anything", "test_what_is_no_agent_cannot_be_loaded"),
        ("another exception", "test_ainvoke_does_what_invoke_does"),
        ("another output", "test_a_stream_is_the_whole_life_of_an_execution"),
        ("begins at once", "test_nothing_runs_before_the_first_iteration"),
        ("says what nobody wants", "test_what_is_not_allowed_is_not_produced"),
        ("no context", "test_the_agent_emits_through_the_current_context"),
        ("swallows a failure", "test_a_failure_comes_last_and_is_the_agents_own"),
        ("leaves a task", "test_a_stream_is_the_whole_life_of_an_execution"),
        ("deaf to the end", "test_cancelling_reaches_the_agent"),
        ("deaf to a cancelled call", "test_cancelling_a_call_reaches_the_agent"),
    ],
)
def test_a_fault_is_found(fault: str, found_by: str) -> None:
    suite = Faulty()
    getattr(suite, found_by)()
    suite.fault = fault
    with pytest.raises(AssertionError):
        getattr(suite, found_by)()
