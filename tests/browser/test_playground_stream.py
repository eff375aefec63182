"""The playground runs an agent and shows its text as it comes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph
from playwright.async_api import Page, expect

from .agents import SCHEMA, Gate, fault_of, run_json, talker, visit
from .conftest import Serve

RUNS = {"async_runs": True}


@pytest.mark.parametrize("streaming", [{}, RUNS], ids=["direct", "run"])
async def test_tokens_arrive_before_the_end(page: Page, serve: Serve, streaming: dict[str, Any]) -> None:
    gate = Gate()
    await visit(page, serve(talker(gate), streaming=streaming))
    await run_json(page, '{"a": 1}')
    words = page.locator("text-view .words")
    await expect(words).to_have_text("one two three ")
    await expect(page.locator(".pill")).to_have_text("Running")
    await expect(page.get_by_role("status").filter(has_text="Running")).to_have_count(1)
    gate.open()
    await expect(words).to_have_text("one two three four five six")
    await expect(page.locator(".pill")).to_have_text("Completed")
    await expect(page.locator("#said")).to_have_text("Completed, 8 events")
    await page.get_by_text("Output", exact=True).click()
    await expect(page.locator(".output pre")).to_contain_text('"a": 1')


async def test_without_streaming_there_is_the_output(page: Page, serve: Serve) -> None:
    await visit(page, serve(lambda payload: {"said": payload}, expose={"streaming": "none"}))
    await run_json(page, '{"a": 1}')
    await expect(page.locator(".pill")).to_have_text("Completed")
    await expect(page.locator(".output pre")).to_contain_text('"said"')


async def test_faults_stand_at_their_fields(page: Page, serve: Serve, artefacts: Path) -> None:
    live = serve(lambda payload: payload, io_schema=SCHEMA)
    await visit(page, live)
    await page.get_by_role("radio", name="Form").check()
    query, limit = page.get_by_label("query"), page.get_by_label("limit")
    await query.fill("no")
    await limit.fill("0")
    await page.get_by_role("button", name="Add tags").click()
    await page.get_by_label("tags 1", exact=True).fill("x")
    await page.get_by_role("button", name="Run", exact=True).click()
    for path, fault in (
        ("query", '"no" is shorter than'),
        ("limit", "0 is less than"),
        ("filter.tags.0", '"x" is'),
    ):
        control = page.locator(f'[data-path="{path}"]')
        await expect(control).to_have_attribute("aria-invalid", "true")
        assert fault in await fault_of(control)
    await expect(query).to_be_focused()
    await page.screenshot(path=artefacts / "form-faults.png")
    await query.fill("yes")
    await limit.fill("3")
    await page.get_by_label("tags 1", exact=True).fill("xyz")
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.locator(".pill")).to_have_text("Completed")
    await expect(page.locator("[aria-invalid]")).to_have_count(0)
    output = json.loads(await page.locator(".output pre").inner_text())
    assert output == {"query": "yes", "limit": 3, "mode": "deep", "filter": {"tags": ["xyz"]}}


async def test_form_and_json_are_the_same_payload(page: Page, serve: Serve) -> None:
    await visit(page, serve(lambda payload: payload, io_schema=SCHEMA))
    await page.get_by_role("radio", name="Form").check()
    await page.get_by_label("query").fill("hello")
    await page.get_by_role("radio", name="JSON").check()
    raw = page.get_by_label("Payload")
    assert '"query": "hello"' in await raw.input_value()
    await raw.fill('{"query": "changed", "limit": 7, "mode": "quick"}')
    await page.get_by_role("radio", name="Form").check()
    assert await page.get_by_label("query").input_value() == "changed"
    assert await page.get_by_label("limit").input_value() == "7"
    await page.get_by_role("radio", name="JSON").check()
    await raw.fill("{nonsense")
    await page.get_by_role("button", name="Run", exact=True).click()
    await expect(page.get_by_text("no valid JSON")).to_be_visible()
    await expect(raw).to_be_focused()


def remembering() -> Any:
    def answer(state: MessagesState) -> dict[str, Any]:
        return {"messages": [AIMessage(f"message {len(state['messages'])}")]}

    graph = StateGraph(MessagesState).add_node("answer", answer).add_edge(START, "answer")
    return graph.compile(checkpointer=InMemorySaver())


async def test_a_chat_goes_on_turn_by_turn(page: Page, serve: Serve) -> None:
    live = serve(remembering(), framework="langgraph")
    await visit(page, live)
    message = page.get_by_role("textbox", name="Message")
    for turn, said in enumerate(("hello", "and again"), 1):
        await message.fill(said)
        await message.press("Enter")
        answer = page.locator(".turns li").nth(turn - 1).locator(".answer")
        await expect(answer).to_have_text(f"message {turn * 2 - 1}")
        await expect(page.get_by_role("button", name="Send")).to_be_enabled()
    await page.locator(".turns button").first.click()
    await expect(page.locator("text-view .words")).to_have_text("message 1")
    thread_id = (await page.locator("turns-list code").inner_text()).removeprefix("thread_id=")
    said = {"messages": [{"role": "user", "content": "from elsewhere"}]}
    answer = live.post("/invoke", said, params={"thread_id": thread_id}).json()
    assert len(answer["output"]["messages"]) == 6  # the conversation is the one of that name
    await page.get_by_role("button", name="New conversation").click()
    await message.fill("hello")
    await message.press("Enter")
    await expect(page.locator(".turns .answer")).to_have_text("message 1")
