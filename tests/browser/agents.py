"""Agents that wait for the test's word, and the way to the page that runs them."""

from __future__ import annotations

import asyncio
import operator
import threading
from collections.abc import Callable
from typing import Annotated, Any

from langgraph.graph import START, StateGraph
from playwright.async_api import Locator, Page
from typing_extensions import TypedDict

from .conftest import Live

SCHEMA = {
    "input": {
        "type": "object",
        "properties": {
            "query": {"type": "string", "minLength": 3, "description": "What to ask"},
            "limit": {"type": "integer", "minimum": 1},
            "mode": {"enum": ["quick", "deep"], "default": "deep"},
            "filter": {
                "type": "object",
                "properties": {"tags": {"type": "array", "items": {"type": "string", "minLength": 2}}},
            },
        },
        "required": ["query"],
    }
}


class Gate:
    """Holds agents until the test opens it; one that is cancelled is let go."""

    def __init__(self) -> None:
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()
        self._is_open = False

    def open(self) -> None:
        with self._lock:
            self._is_open = True
            for loop, event in self._waiting:
                loop.call_soon_threadsafe(event.set)

    async def passed(self) -> None:
        """Return when the test has opened it."""
        event = asyncio.Event()
        with self._lock:
            if self._is_open:
                return
            self._waiting.append((asyncio.get_running_loop(), event))
        await event.wait()


def talker(gate: Gate) -> Callable[..., Any]:
    """Return an agent that says three words, waits, and says three more."""

    async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
        for word in ("one ", "two ", "three "):
            await context.emit_token(word)
        await gate.passed()
        for word in ("four ", "five ", "six"):
            await context.emit_token(word)
        return {"payload": payload}

    return talk


async def counter(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    """Count quickly for as long as it is told to, in ``payload["tokens"]``."""
    for number in range(payload.get("tokens", 20)):
        await context.emit_token(f"{number} ")
        await asyncio.sleep(payload.get("pause", 0.002))
    return {"counted": payload.get("tokens", 20)}


class State(TypedDict):
    seen: Annotated[list[str], operator.add]


def branching(gate: Gate) -> Any:
    """Return a graph: ``plan``; ``left`` beside ``right``, a subgraph of ``dig`` and ``sift``; ``join``.

    ``left`` and ``dig`` wait for the gate.
    """

    def node(name: str, *, waits: bool = False) -> Callable[..., Any]:
        async def run(state: State) -> dict[str, Any]:
            if waits:
                await gate.passed()
            return {"seen": [name]}

        return run

    inner = StateGraph(State).add_node("dig", node("dig", waits=True)).add_node("sift", node("sift"))
    inner.add_edge(START, "dig").add_edge("dig", "sift")
    graph = StateGraph(State)
    graph.add_node("plan", node("plan")).add_node("left", node("left", waits=True))
    graph.add_node("right", inner.compile()).add_node("join", node("join"))
    graph.add_edge(START, "plan").add_edge("plan", "left").add_edge("plan", "right")
    graph.add_edge(["left", "right"], "join")
    return graph.compile()


async def visit(page: Page, live: Live) -> None:
    """Open the playground and wait until it can be used."""
    await page.goto(live.url)
    await page.locator("#page").wait_for()


async def run_json(page: Page, payload: str) -> None:
    """Run with a payload written as JSON."""
    way = page.get_by_role("radio", name="JSON")
    if await way.count():  # not where it is the only way
        await way.check()
    await page.get_by_label("Payload").fill(payload)
    await page.get_by_role("button", name="Run", exact=True).click()


async def fault_of(control: Locator) -> str:
    """Return what is told to be wrong with a control, as a screen reader finds it."""
    described = (await control.get_attribute("aria-describedby") or "").split()
    return await control.page.locator(f"#{described[-1]}").inner_text()
