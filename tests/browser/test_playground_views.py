"""The timeline, the graph and the events of an execution."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

from playwright.async_api import Page, expect

from .agents import Gate, branching, counter, run_json, visit
from .conftest import Serve

RUNS = {"async_runs": True}


def node(page: Page, name: str) -> Any:
    return page.locator(f'graph-view [data-node="{name}"]')


def bar(page: Page, name: str) -> Any:
    return page.locator(f'timeline-view .bar[data-node="{name}"]')


async def test_nodes_light_up_as_they_run(page: Page, serve: Serve, artefacts: Path) -> None:
    gate = Gate()
    await visit(page, serve(branching(gate), framework="langgraph", streaming=RUNS))
    for name in ("plan", "left", "right", "right:dig", "right:sift", "join"):
        await expect(node(page, name)).to_have_class(("group" if name == "right" else "node") + " idle")
    await run_json(page, '{"seen": []}')
    for name, state in {
        "plan": "node done",
        "left": "node running",
        "right": "group running",
        "right:dig": "node running",
        "right:sift": "node idle",
        "join": "node idle",
    }.items():
        await expect(node(page, name)).to_have_class(state)
    drawing = page.get_by_role("img", name="The agent's graph: plan done, left running, right dig running")
    await expect(drawing).to_be_visible()
    await page.screenshot(path=artefacts / "graph-running.png")
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")
    for name in ("plan", "left", "right:dig", "right:sift", "join"):
        await expect(node(page, name)).to_have_class("node done")


async def test_the_graph_is_a_drawing_without_overlaps(page: Page, serve: Serve) -> None:
    await visit(page, serve(branching(Gate()), framework="langgraph"))
    names = ("plan", "left", "right:dig", "right:sift", "join")
    boxes = {name: await node(page, name).locator("rect").bounding_box() for name in names}
    group = await node(page, "right").locator("rect").bounding_box()
    assert group is not None
    for name, box in boxes.items():
        inside = (
            box["x"] >= group["x"]
            and box["y"] >= group["y"]
            and box["x"] + box["width"] <= group["x"] + group["width"]
            and box["y"] + box["height"] <= group["y"] + group["height"]
        )
        assert inside == name.startswith("right:"), name
    assert boxes["plan"]["y"] < boxes["right:dig"]["y"] < boxes["right:sift"]["y"] < boxes["join"]["y"]
    left = boxes["left"]
    assert left["x"] + left["width"] <= group["x"] or group["x"] + group["width"] <= left["x"]


async def test_parallel_branches_are_side_by_side(page: Page, serve: Serve, artefacts: Path) -> None:
    gate = Gate()
    await visit(page, serve(branching(gate), framework="langgraph", streaming=RUNS))
    await run_json(page, '{"seen": []}')
    for name in ("left", "right", "right:dig"):
        await expect(bar(page, name)).to_have_class("bar running")
    early = await bar(page, "left").bounding_box()
    await asyncio.sleep(0.3)
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")
    assert early is not None
    boxes = {
        name: await bar(page, name).bounding_box()
        for name in ("plan", "left", "right", "right:dig", "right:sift", "join")
    }
    left, right = boxes["left"], boxes["right"]
    assert left["y"] != right["y"]
    overlap = min(left["x"] + left["width"], right["x"] + right["width"]) - max(left["x"], right["x"])
    assert overlap > 0.9 * left["width"]
    assert boxes["plan"]["x"] <= left["x"]  # they may have begun within one millisecond
    assert boxes["join"]["x"] >= left["x"] + left["width"] - 2
    assert right["y"] < boxes["right:dig"]["y"] < boxes["right:sift"]["y"]  # what is within follows below
    rows = await page.locator("timeline-view li .name").all_inner_texts()
    assert rows.index("dig") == rows.index("right") + 1
    await page.screenshot(path=artefacts / "timeline.png", full_page=True)


async def test_bars_are_as_long_as_the_steps_took(page: Page, serve: Serve) -> None:
    gate = Gate()
    live = serve(branching(gate), framework="langgraph", streaming=RUNS)
    run_id = live.post("/runs", {"seen": []}).json()["run_id"]
    await asyncio.sleep(0.25)
    gate.open()
    live.eventually(lambda: live.get(f"/runs/{run_id}").json()["status"] == "completed")
    steps = {}
    with live.client() as client:
        for line in client.get(f"/runs/{run_id}/events").text.splitlines():
            if '"type":"step"' in line:
                event = json.loads(line.removeprefix("data: "))
                steps[event["node_name"]] = event["duration_ms"]
    await visit(page, live)
    await page.locator(".runs button").click()
    await expect(page.locator(".pill")).to_have_text("Completed")
    widths = {name: (await bar(page, name).bounding_box())["width"] for name in ("left", "right")}
    assert abs(widths["left"] / widths["right"] - steps["left"] / steps["right"]) < 0.05
    assert f"{steps['left']:.0f} ms" in await bar(page, "left").inner_text()


async def test_scrubbing_shows_the_graph_and_the_timeline_as_they_were(page: Page, serve: Serve) -> None:
    gate = Gate()
    gate.open()
    await visit(page, serve(branching(gate), framework="langgraph", streaming=RUNS))
    await run_json(page, '{"seen": []}')
    await expect(page.locator(".pill")).to_have_text("Completed")
    types = await page.locator(".events summary .type").all_inner_texts()
    first_step = types.index("step")  # plan has ended, nothing else has begun
    await page.get_by_label("Sequence").fill(str(first_step + 1))
    await expect(node(page, "plan")).to_have_class("node done")
    await expect(node(page, "left")).to_have_class("node idle")
    await expect(bar(page, "join")).to_have_class("bar future")
    await page.get_by_label("Sequence").fill(str(first_step))
    await expect(node(page, "plan")).to_have_class("node running")
    await expect(page.locator(".playhead")).to_be_visible()


async def test_a_node_that_fails_is_red(page: Page, serve: Serve) -> None:
    from langgraph.graph import START, MessagesState, StateGraph

    def burst(state: MessagesState) -> dict[str, Any]:
        raise ValueError("no such thing")

    graph = StateGraph(MessagesState).add_node("burst", burst).add_edge(START, "burst").compile()
    await visit(page, serve(graph, framework="langgraph"))
    await page.get_by_role("textbox", name="Message").fill("hello")
    await page.keyboard.press("Enter")
    await expect(node(page, "burst")).to_have_class("node failed")
    await expect(bar(page, "burst")).to_have_class("bar cut")
    await expect(page.locator(".notice")).to_contain_text("AGENT_ERROR")


async def test_events_are_filtered_by_type(page: Page, serve: Serve) -> None:
    async def mixed(payload: dict[str, Any], context: Any) -> None:
        await context.emit_progress("half", 0.5, "halfway")
        await context.emit("fraud_check", {"passed": True})
        for number in range(3):
            await context.emit_token(str(number))

    await visit(page, serve(mixed))
    await run_json(page, "{}")
    await expect(page.locator(".pill")).to_have_text("Completed")
    types = page.locator(".events .type")
    all_of_them = ["started", "progress", "custom:fraud_check", "token", "token", "token", "complete"]
    await expect(types).to_have_text(all_of_them)
    await page.locator(".chip", has_text="token").click()
    await expect(types).to_have_text([kind for kind in all_of_them if kind != "token"])
    await page.locator(".events summary", has_text="fraud_check").click()
    await expect(page.locator(".events pre")).to_contain_text('"passed": true')
    await expect(page.locator(".chip", has_text="token")).to_contain_text("3")
    await expect(page.locator(".mark.custom")).to_have_count(1)
    await expect(page.locator(".mark.progress")).to_have_count(1)


async def test_ten_thousand_events_do_not_stall_the_page(page: Page, serve: Serve) -> None:
    await visit(page, serve(counter, streaming={**RUNS, "memory": {"max_events_per_run": 20_000}}))
    await run_json(page, '{"tokens": 9998, "pause": 0}')
    await expect(page.locator("#said")).to_have_text("Completed, 10000 events")
    await expect(page.locator("events-view .empty")).to_have_text("The last 300 of 10000.")
    await expect(page.locator(".events li")).to_have_count(300)
    await page.get_by_label("Sequence").fill("5000")
    await expect(page.locator(".where")).to_have_text("5000 / 10000")
    assert (await page.locator(".words").inner_text()).endswith("4998 ")


async def test_without_the_starts_of_steps_their_ends_tell(page: Page, serve: Serve) -> None:
    """The preset `chat` has no ``step_started``: a step is drawn from how long it took."""
    gate = Gate()
    live = serve(branching(gate), framework="langgraph", streaming={**RUNS, "events": {"allowed": "chat"}})
    await visit(page, live)
    await run_json(page, '{"seen": []}')
    await expect(node(page, "plan")).to_have_class("node done")
    await expect(node(page, "left")).to_have_class("node idle")
    gate.open()
    await expect(page.locator(".pill")).to_have_text("Completed")
    await expect(bar(page, "left")).to_have_class("bar done")
    left, plan = await bar(page, "left").bounding_box(), await bar(page, "plan").bounding_box()
    assert plan is not None
    assert left is not None
    assert left["width"] > plan["width"]
    assert left["x"] >= plan["x"] + plan["width"] - 5  # a short bar is drawn at least three pixels wide


async def test_how_long_bars_took_is_written_where_there_is_room(page: Page, serve: Serve) -> None:
    gate = Gate()
    gate.open()
    await visit(page, serve(branching(gate), framework="langgraph", streaming=RUNS))
    await run_json(page, '{"seen": []}')
    await expect(page.locator(".pill")).to_have_text("Completed")
    chart = await page.locator(".chart").bounding_box()
    assert chart is not None
    last = await page.locator(".events li").count()
    for sequence in range(1, last + 1):
        await page.get_by_label("Sequence").fill(str(sequence))
        await expect(page.locator(".where")).to_have_text(f"{sequence} / {last}")
        for label in await page.locator(".took:visible").all():
            box = await label.bounding_box()
            assert box is not None
            assert chart["x"] <= box["x"]
            assert box["x"] + box["width"] <= chart["x"] + chart["width"] + 1
            inside = "inside" in (await label.get_attribute("class") or "")
            around = await label.locator("..").bounding_box()
            assert around is not None
            assert not inside or box["width"] <= around["width"]
