"""What belongs to an execution goes when it ends: nothing of ours waits for the garbage collector.

Objects in a circle stay until the collector looks, and looking costs every request.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from .conftest import Live, Serve, Store
from .test_langgraph import Scripted, graph_of

TIMES = 5


async def talk(payload: dict[str, Any], context: Any) -> dict[str, Any]:
    for word in ("one", "two"):
        await context.emit_token(word)
    await context.emit("mine", {"n": 1})
    return {}


def talk_in_a_thread(payload: dict[str, Any], context: Any) -> Iterator[str]:
    context.sync_emit_progress("half", 0.5)
    yield "one"
    time.sleep(0.01)  # what comes now comes alone
    yield "two"


def graph() -> Any:
    return graph_of(Scripted(words=["one", "two"]), Scripted(words=["three"]))


AGENTS: dict[str, tuple[Callable[[], Any], str | None, Any]] = {
    "async": (lambda: talk, None, {}),
    "thread": (lambda: talk_in_a_thread, None, {}),
    "graph": (graph, "langgraph", {"messages": []}),
}


def invoke(live: Live, payload: Any) -> None:
    assert live.post("/invoke", payload).status_code == 200


def stream(live: Live, payload: Any) -> None:
    assert live.events(payload)[-1]["type"] == "complete"


def run(live: Live, payload: Any) -> None:
    run_id = live.post("/runs", payload).json()["run_id"]
    assert "event: started" in live.get(f"/runs/{run_id}/events").text


@contextmanager
def collected() -> Iterator[list[Any]]:
    """Give what the collector has to free within the block, as a list that is filled at its end."""
    found: list[Any] = []
    gc.collect()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield found
        gc.collect()
    finally:
        gc.set_debug(0)
        found += [each for each in gc.garbage if type(each).__module__.startswith("dockrion")]
        gc.garbage.clear()


@pytest.mark.parametrize("ask", [invoke, stream, run])
@pytest.mark.parametrize("agent", AGENTS)
def test_nothing_waits_for_the_collector(
    serve: Serve, agent: str, ask: Callable[[Live, Any], None], store: Store
) -> None:
    make, framework, payload = AGENTS[agent]
    live = serve(make(), framework=framework, streaming={"async_runs": True, **store.streaming()})
    ask(live, payload)  # what is made once stays
    with collected() as found:
        for _ in range(TIMES):
            ask(live, payload)
        live.until(lambda: live.service.active == 0)
        time.sleep(0.1)  # what is under way is no garbage yet
    assert [type(each).__qualname__ for each in found] == []
